"""The demo catalogue's pictures over HTTP; one rule: drawn from their name, so cached for long."""

from litestar import Response, get
from litestar.params import FromPath

from tradewind.platform.errors import NotFound
from tradewind.platform.web.answers import etag_of_body
from tradewind.products.model.pictures import drawn

TAGS = ["Products"]


@get("/v1/pictures/{name:str}", tags=TAGS, media_type="image/svg+xml")
async def get_picture(name: FromPath[str]) -> Response[bytes]:
    """Show a picture of the demo catalogue."""
    svg = drawn(name)
    if svg is None:
        message = "There is no such picture."
        raise NotFound(message)
    body = svg.encode()
    headers = {
        "Cache-Control": "public, max-age=86400",
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
        "ETag": etag_of_body(body),
    }
    return Response(body, media_type="image/svg+xml", headers=headers)


HANDLERS = (get_picture,)
