"""Sessions: who asks, forged requests, cookies, the client's address."""

from typing import Any
from uuid import UUID

import httpx
import pytest
from litestar import Response, get, post
from litestar.di import NamedDependency

from tradewind.platform.principals import Principal
from tradewind.platform.sessions import (
    Sessions,
    admin,
    client_address,
    csrf_token,
    parse_networks,
    read_cookie,
    signed_in,
    staff,
)
from tradewind.platform.web.application import build_application
from tradewind.platform.web.front import Front
from tradewind.platform.web.settings import WebSettings

USER = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
ORIGIN = "http://shop.example"


class Known:
    """An authenticator that knows one living token a role, and counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def authenticate(self, token: str) -> Principal | None:
        """Look a token up."""
        self.asked.append(token)
        if token in ("customer", "staff", "admin"):
            return Principal(USER, token, USER)
        return None


@get("/who")
async def who(principal: NamedDependency[Principal | None]) -> dict[str, str | None]:
    """Say who asks."""
    return {"role": principal.role if principal else None}


@get("/seen")
async def seen(viewer: NamedDependency[Principal | None]) -> dict[str, str | None]:
    """Something for everybody."""
    return {"role": viewer.role if viewer else None}


@get("/mine", guards=[signed_in])
async def mine(principal: NamedDependency[Principal]) -> dict[str, str]:
    """Only for those with a session."""
    return {"role": principal.role}


@post("/mine", guards=[signed_in])
async def change(principal: NamedDependency[Principal]) -> dict[str, str]:
    """Change something of one's own."""
    return {"role": principal.role}


@get("/staff", guards=[staff])
async def for_staff() -> str:
    """Only for staff."""
    return "ok"


@get("/admin", guards=[admin])
async def for_admin() -> str:
    """Only for administrators."""
    return "ok"


@post("/login")
async def login() -> Response[None]:
    """Open to anybody, whatever cookie they carry."""
    return Response(None)


def build(known: Known, settings: WebSettings) -> Front:
    """The routes above with their sessions."""
    routes = [who, seen, mine, change, for_staff, for_admin, login]
    sessions = Sessions(known, settings)
    app: Any = build_application(
        routes, settings=settings, title="Test", version="1", sessions=sessions
    )
    return Front(app, settings)


def bearer(token: str) -> dict[str, str]:
    """The header of a token."""
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.asyncio
async def test_guards_let_in_by_role(served: Any) -> None:
    """Nobody is 401, too little is 403, enough is let in."""
    one = await served(build(Known(), WebSettings()))
    expected = {
        None: {"/who": 200, "/mine": 401, "/staff": 401, "/admin": 401},
        "customer": {"/who": 200, "/mine": 200, "/staff": 403, "/admin": 403},
        "staff": {"/who": 200, "/mine": 200, "/staff": 200, "/admin": 403},
        "admin": {"/who": 200, "/mine": 200, "/staff": 200, "/admin": 200},
    }
    for role, routes in expected.items():
        for path, status in routes.items():
            answer = await one.client.get(path, headers=bearer(role) if role else {})
            assert answer.status_code == status, (role, path)
            if status == 401:
                assert answer.headers["www-authenticate"] == "Bearer"
                assert answer.json()["code"] == "unauthenticated"
    assert (await one.client.get("/who")).json() == {"role": None}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "value", ["Bearer dead", "Bearer", "Basic YTpi", "customer", "Bearer " + "x" * 600]
)
async def test_a_dead_token_is_401_where_guests_are_welcome(served: Any, value: str) -> None:
    """Whoever shows a token means to be known; a dead one is no guest."""
    one = await served(build(Known(), WebSettings()))
    answer = await one.client.get("/who", headers={"Authorization": value})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


@pytest.mark.asyncio
async def test_a_dead_cookie_is_401_and_cleared(served: Any) -> None:
    """The browser forgets it; a route that asks for nobody answers all the same."""
    one = await served(build(Known(), WebSettings()))
    answer = await one.client.get("/who", headers={"Cookie": "session=dead"})
    assert answer.status_code == 401
    cleared = answer.headers.get_list("set-cookie")
    assert [line.split(";")[0] for line in cleared] == ["session=", "csrf="]
    assert all("Max-Age=0" in line for line in cleared)
    assert (await one.client.post("/login", headers={"Cookie": "session=dead"})).is_success


@pytest.mark.asyncio
async def test_browsing_goes_on_where_a_session_ended(served: Any) -> None:
    """A dead cookie sees what everybody sees; the answer, which may be kept for all, clears none.

    Whoever lives is known, and a dead bearer token is still told so.
    """
    one = await served(build(Known(), WebSettings()))
    answer = await one.client.get("/seen", headers={"Cookie": "session=dead"})
    assert (answer.status_code, answer.json()) == (200, {"role": None})
    assert "set-cookie" not in answer.headers
    alive = await one.client.get("/seen", headers={"Cookie": "session=staff"})
    assert alive.json() == {"role": "staff"}
    for dead in ({"Authorization": "Bearer dead"}, bearer("dead") | {"Cookie": "session=staff"}):
        assert (await one.client.get("/seen", headers=dead)).status_code == 401


@pytest.mark.asyncio
async def test_a_token_is_looked_up_once_a_request(served: Any) -> None:
    """Guard and dependency share one look-up."""
    known = Known()
    one = await served(build(known, WebSettings()))
    await one.client.get("/mine", headers=bearer("customer"))
    assert known.asked == ["customer"]


def riding(token: str = "customer", **changed: str | None) -> dict[str, str]:
    """The headers of an honest change on a cookie, some changed or (None) left out."""
    csrf = csrf_token(token)
    headers: dict[str, str | None] = {
        "Cookie": f"session={token}; csrf={csrf}",
        "X-CSRF-Token": csrf,
        "Origin": ORIGIN,
    }
    headers.update({name.replace("_", "-"): value for name, value in changed.items()})
    return {name: value for name, value in headers.items() if value is not None}


@pytest.mark.asyncio
async def test_a_change_on_the_cookie_must_come_from_our_pages(served: Any) -> None:
    """Token, cookie and origin must all be right; a bearer token needs none of it."""
    one = await served(build(Known(), WebSettings(origins=(ORIGIN,))))
    client: httpx.AsyncClient = one.client
    assert (await client.post("/mine", headers=riding())).is_success
    other = csrf_token("staff")
    forged: list[dict[str, str]] = [
        riding(X_CSRF_Token=None),
        riding(X_CSRF_Token=""),
        riding(X_CSRF_Token="wrong"),
        riding(X_CSRF_Token=other),
        riding(Cookie="session=customer"),
        riding(Cookie=f"session=customer; csrf={other}", X_CSRF_Token=other),
        riding(Cookie="session=customer; csrf=a", X_CSRF_Token="a"),
        riding(Origin=None),
        riding(Origin="null"),
        riding(Origin="http://evil.example"),
        riding(Origin=ORIGIN + ".evil.example"),
        riding(Origin="https://shop.example"),
    ]
    for headers in forged:
        answer = await client.post("/mine", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed"), headers
    reading = await client.get("/mine", headers={"Cookie": "session=customer"})
    assert reading.is_success
    assert (await client.post("/mine", headers=bearer("customer"))).is_success


@pytest.mark.asyncio
async def test_without_configured_origins_only_the_same_host_is_ours(served: Any) -> None:
    """A development store works under whatever name it is reached by."""
    one = await served(build(Known(), WebSettings()))
    assert (await one.client.post("/mine", headers=riding(Origin=one.base))).is_success
    assert (await one.client.post("/mine", headers=riding())).status_code == 403


def test_cookies_are_as_safe_as_the_transport_allows() -> None:
    """Over https the `__Host-` prefix and Secure; the session is never readable by scripts."""
    plain = Sessions(Known(), WebSettings()).cookies("t", 60)
    assert plain[0] == "session=t; Path=/; Max-Age=60; SameSite=Lax; HttpOnly"
    assert plain[1] == f"csrf={csrf_token('t')}; Path=/; Max-Age=60; SameSite=Lax"
    secure = Sessions(Known(), WebSettings(https=True)).cookies("t", 60)
    assert secure[0] == "__Host-session=t; Path=/; Max-Age=60; SameSite=Lax; HttpOnly; Secure"
    assert secure[1].endswith("; Secure")


def test_cookies_are_read_by_their_whole_name() -> None:
    """A cookie whose name merely ends alike is another."""
    headers = {b"cookie": b'xsession=a; session="b"; other'}
    assert read_cookie(headers, "session") == "b"
    assert read_cookie(headers, "missing") == ""
    assert read_cookie({}, "session") == ""


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "expected"),
    [
        ("127.0.0.1", "1.2.3.4", (), "127.0.0.1"),
        ("9.9.9.9", "1.2.3.4", ("10.0.0.0/8",), "9.9.9.9"),
        ("10.0.0.1", "1.2.3.4", ("10.0.0.0/8",), "1.2.3.4"),
        ("10.0.0.1", "6.6.6.6, 1.2.3.4", ("10.0.0.0/8",), "1.2.3.4"),
        ("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.2", ("10.0.0.0/8",), "1.2.3.4"),
        ("10.0.0.1", "1.2.3.4:555", ("10.0.0.0/8",), "1.2.3.4"),
        ("10.0.0.1", "[2001:db8::1]:80", ("10.0.0.0/8",), "2001:db8::1"),
        ("10.0.0.1", "garbage", ("10.0.0.0/8",), "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4, garbage", ("10.0.0.0/8",), "10.0.0.1"),
        ("10.0.0.1", "", ("10.0.0.0/8",), "10.0.0.1"),
        ("::ffff:10.0.0.1", "1.2.3.4", ("10.0.0.0/8",), "1.2.3.4"),
        ("10.0.0.1", "10.0.0.3", ("10.0.0.0/8",), "10.0.0.3"),
    ],
)
def test_only_our_own_proxies_are_believed(
    peer: str, forwarded: str, trusted: tuple[str, ...], expected: str
) -> None:
    """`X-Forwarded-For` counts from its right end, as far as trust reaches."""
    headers = [(b"x-forwarded-for", forwarded.encode())] if forwarded else []
    scope: dict[str, Any] = {"client": (peer, 1), "headers": headers}
    assert client_address(scope, parse_networks(trusted)) == expected
