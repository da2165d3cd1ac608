"""Routes become an application; one rule: what is true of every route is said here, once.

How a handler is written:

- `data: JSONBody[SomeStruct]` is the JSON body, read strictly (`bodies`);
  `data: JSONBody[SomeStruct | None] = None` where it may be left out.
- Path ids are `{product_id:uuid}` and `product_id: FromPath[UUID]`; query parameters are
  `FromQuery[...]`, or `Annotated[..., QueryParameter(name=...)]` for camelCase.
- Lists take `limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None` and answer a `Page`.
- `principal: NamedDependency[Principal | None]` is who asks; behind a guard of `sessions` it is
  `NamedDependency[Principal]`. `viewer` is the same where all may look: a dead cookie is a guest's.
- It returns a struct (or `Response[Struct]` for headers), and raises the errors of `errors`.
- Its docstring is its description in the schema.
- No `from __future__ import annotations`: Litestar reads the types at run time.
"""

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
from litestar import Litestar, Request, Response, get
from litestar.di import Provide
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Tag
from litestar.routes import HTTPRoute
from litestar.types import ControllerRouterHandler

from tradewind.platform.sessions import SESSIONS_STATE_KEY, Sessions, principal, viewer
from tradewind.platform.web.answers import etag_of_body
from tradewind.platform.web.bodies import StrictRequest
from tradewind.platform.web.docs_page import draw
from tradewind.platform.web.openapi import build_schema, operation_id
from tradewind.platform.web.problems import answer_problem
from tradewind.platform.web.settings import WebSettings

ExceptionHandler = Callable[[Request[Any, Any, Any], Any], Response[Any]]
"""Answers a request whose handler raised."""

OPENAPI_MEDIA_TYPE = "application/json"


def build_application(  # noqa: PLR0913  every one named, most with a default
    routes: Sequence[ControllerRouterHandler],
    *,
    settings: WebSettings,
    title: str,
    version: str,
    sessions: Sessions | None = None,
    tags: Mapping[str, str] | None = None,
    dependencies: Mapping[str, Provide] | None = None,
    exception_handlers: Mapping[type[Exception], ExceptionHandler] | None = None,
    state: Mapping[str, Any] | None = None,
    documented: Sequence[ControllerRouterHandler] | None = None,
) -> Litestar:
    """The framework's application for these routes; put a `Front` around it to serve it.

    It serves `/openapi.json` and `/docs` besides. `tags` are the schema's groups with a sentence
    each. `exception_handlers` are for exceptions that are answers of their own kind; everything
    else becomes a problem document. `sessions` is needed by guards and `principal`. `documented`
    are the routes that the schema tells of, where it is of more than this process serves.
    """
    config = OpenAPIConfig(
        title=title,
        version=version,
        use_handler_docstrings=True,
        operation_id_creator=operation_id,
        tags=[Tag(name=name, description=text) for name, text in (tags or {}).items()],
        # Litestar insists on routes of its own for the schema; no public listener shows these.
        path="/internal/openapi",
        render_plugins=[JsonRenderPlugin()],
    )

    def documented_app() -> Litestar | None:
        if documented is None:
            return None
        given = dict(dependencies or {}) | {"principal": Provide(principal)}
        return Litestar(
            documented,
            request_class=StrictRequest,
            dependencies=given | {"viewer": Provide(viewer)},
            openapi_config=config,
            logging_config=None,
        )

    handlers: dict[Any, ExceptionHandler] = {Exception: answer_problem}
    handlers.update(exception_handlers or {})
    app = Litestar(
        [*routes, *_documentation(documented_app, https=settings.https)],
        request_class=StrictRequest,
        dependencies={
            "principal": Provide(principal),
            "viewer": Provide(viewer),
            **(dependencies or {}),
        },
        exception_handlers=handlers,
        openapi_config=config,
        logging_config=None,
        request_max_body_size=None,  # the front layer bounds bodies, route by route
        debug=False,
    )
    _complete_options(app)
    app.state.update({**(state or {}), SESSIONS_STATE_KEY: sessions})
    return app


def _complete_options(app: Litestar) -> None:
    """Make OPTIONS name every method of its path.

    Litestar's handler for it names those of the first handler that was registered for the path:
    it holds on to a route that was replaced when the next handler came. Here it gets those of the
    last; whatever answers GET answers HEAD.
    """
    for route in app.routes:
        if isinstance(route, HTTPRoute) and "OPTIONS" in route.route_handler_map:
            answering: Any = route.route_handler_map["OPTIONS"][0].fn
            if answering.__name__ == "options_handler":
                more = {"HEAD"} if "GET" in route.methods else set[str]()
                methods = {str(method) for method in route.methods} | more
                answering.__closure__[0].cell_contents = SimpleNamespace(methods=methods)


def _documentation(
    documented_app: Callable[[], Litestar | None], *, https: bool
) -> list[ControllerRouterHandler]:
    """`/openapi.json` and `/docs`, made at the first request and kept."""
    drawn: dict[str, bytes] = {}

    def make(app: Litestar) -> None:
        schema = build_schema(documented_app() or app, https=https)
        drawn["schema"] = msgspec.json.encode(schema)
        drawn["page"] = draw(schema).encode()

    def answer(request: Request[Any, Any, Any], name: str, media_type: str) -> Response[bytes]:
        if not drawn:
            make(request.app)
        caching = {"Cache-Control": "public, max-age=60", "ETag": etag_of_body(drawn[name])}
        return Response(drawn[name], media_type=media_type, headers=caching)

    @get("/openapi.json", include_in_schema=False, sync_to_thread=False)
    def get_schema(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Answer the OpenAPI document."""
        return answer(request, "schema", OPENAPI_MEDIA_TYPE)

    @get("/docs", include_in_schema=False, sync_to_thread=False)
    def get_docs(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Answer the documentation page."""
        return answer(request, "page", "text/html")

    return [get_schema, get_docs]
