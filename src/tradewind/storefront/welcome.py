"""The page at `/`; one rule: it works without a script and says where to go next."""

import re
from typing import Any

from litestar import Request, get
from litestar.enums import MediaType

_HOST = re.compile(r"[A-Za-z0-9.\-\[\]:]{1,255}")
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tradewind</title>
<style>
body { font: 16px/1.6 system-ui, sans-serif; max-width: 44rem; margin: 4rem auto; padding: 0 1rem;
  color: #1b2733; background: #fbfaf7; }
h1 { font-size: 2.2rem; margin-bottom: 0; color: #0b4f6c; }
p.lead { font-size: 1.15rem; margin-top: .3rem; }
ul { padding-left: 1.2rem; }
code, pre { font: 14px/1.5 ui-monospace, monospace; background: #eef1f0; border-radius: 4px; }
code { padding: .1rem .3rem; }
pre { padding: .8rem 1rem; overflow-x: auto; }
a { color: #0b4f6c; }
</style>
</head>
<body>
<h1>Tradewind</h1>
<p class="lead">A headless commerce backend. This store is running; its shop window is yours to
build.</p>
<h2>Where to go next</h2>
<ul>
<li><a href="/docs">The API</a>, every route with what it takes and answers
(<a href="/openapi.json">OpenAPI 3.1</a>)</li>
<li><a href="/v1/products">The products</a> of this store,
<a href="/v1/products?q=kettle&amp;facets=true">searched</a>, and its
<a href="/v1/categories">categories</a></li>
<li><a href="/readyz">Whether it may have traffic</a></li>
</ul>
<h2>Buy something</h2>
<pre>SKU=$(curl -s __BASE__/v1/products?inStock=true | python3 -c \\
 'import json,sys; print(json.load(sys.stdin)["items"][0]["slug"])' | xargs -I{} \\
 curl -s __BASE__/v1/products/{} | python3 -c \\
 'import json,sys; print(json.load(sys.stdin)["variants"][0]["sku"])')
curl -s __BASE__/v1/checkout -H 'Content-Type: application/json' \\
 -H "Idempotency-Key: my-first-purchase" -d '{
  "lines": [{"sku": "'"$SKU"'", "quantity": 1}], "email": "you@example.com",
  "shippingAddress": {"name": "You", "line1": "1 Main St", "city": "Berlin",
   "postalCode": "10115", "country": "DE"},
  "payment": {"token": "tok_approved"}}'</pre>
<p>Send it again: the same order comes back, and nothing is charged twice.</p>
</body>
</html>
"""


@get("/", media_type=MediaType.HTML, include_in_schema=False)
async def show_welcome(request: Request[Any, Any, Any]) -> str:
    """What this is, and where to go next."""
    host = request.headers.get("host", "")
    # The commands are to be pasted as they stand, so the address in them is the one in use; what
    # is no host name is not repeated.
    shown = host if _HOST.fullmatch(host) else "127.0.0.1:8000"
    return _PAGE.replace("__BASE__", f"{request.url.scheme}://{shown}")


HANDLERS = [show_welcome]
