"""Registration, sign-in and sign-out over HTTP; one rule: a token leaves the store only here."""

import hmac
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import msgspec
from litestar import Request, Response, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.params import JSONBody

from tradewind.platform.idempotency import Once
from tradewind.platform.principals import Principal
from tradewind.platform.sessions import SESSIONS_STATE_KEY, Sessions, signed_in
from tradewind.users.actions import passwords, profile, registering, sessions, signing_in
from tradewind.users.actions.context import UsersContext
from tradewind.users.model.shapes import Client, Registered
from tradewind.users.routes.bodies import (
    LoginBody,
    RegisterBody,
    ResetBody,
    ResetConfirmBody,
    TokenBody,
)

TAGS = ["Users"]
WELCOME = "Login successful!"
_DAY_SECONDS = 86_400


class LoginAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """A new session."""

    message: str
    user_id: UUID
    token: str
    expires_at: datetime


def keyed(once: Once, users: UsersContext) -> Once:
    """A wish whose fingerprint is of a body with a password in it: kept as an HMAC.

    From a bare hash of the body the password could be guessed by whoever reads the table.
    """
    if once.key is not None:
        sealed = hmac.digest(users.pepper, once.key.fingerprint, "sha256")
        once.key = msgspec.structs.replace(once.key, fingerprint=sealed)
    return once


@post("/v1/register", tags=TAGS)
async def register(
    data: JSONBody[RegisterBody],
    users: NamedDependency[UsersContext],
    once: NamedDependency[Once],
) -> Registered:
    """Make an account. Where verified e-mail is required, a taken address is answered alike."""
    wish = registering.Wish(
        password=data.password, email=data.email, username=data.username, name=data.name
    )
    return await registering.register(users, wish, keyed(once, users))


@post("/v1/login", tags=TAGS, status_code=200)
async def log_in(
    request: Request[Any, Any, Any],
    data: JSONBody[LoginBody],
    users: NamedDependency[UsersContext],
    client: NamedDependency[Client],
) -> Response[LoginAnswer]:
    """Open a session: the token is in the answer and in a cookie. `Cart-Token` brings a cart along.

    An `Idempotency-Key` changes nothing here: a token is kept nowhere, so that each sign-in has
    its own.
    """
    opened = await signing_in.sign_in(users, data.username, data.password, client)
    await signing_in.adopt_cart(users, opened.user_id, request.headers.get("cart-token"))
    answer = LoginAnswer(WELCOME, opened.user_id, opened.token, opened.expires_at)
    cookies = _sessions(request).cookies(opened.token, users.settings.session_days * _DAY_SECONDS)
    return Response(answer, cookies=[_cookie(text) for text in cookies])


@post("/v1/logout", guards=[signed_in], tags=TAGS, status_code=204)
async def log_out(
    request: Request[Any, Any, Any],
    principal: NamedDependency[Principal],
    users: NamedDependency[UsersContext],
) -> Response[None]:
    """End this session, everywhere and at once."""
    await sessions.end_session(users, principal, principal.session_id)
    cookies = [_cookie(text) for text in _sessions(request).clearing()]
    return Response(None, cookies=cookies, status_code=204)


@post("/v1/password-resets", tags=TAGS, status_code=202)
async def request_reset(
    data: JSONBody[ResetBody],
    users: NamedDependency[UsersContext],
    once: NamedDependency[Once],
) -> None:
    """Ask for a link by mail; the answer is the same whether or not there is such an account."""
    await passwords.request_reset(users, data.email, once)


@post("/v1/password-resets/confirm", tags=TAGS, status_code=204)
async def confirm_reset(
    data: JSONBody[ResetConfirmBody],
    users: NamedDependency[UsersContext],
    once: NamedDependency[Once],
) -> None:
    """Choose a new password with the token of a link; all sessions of the account end."""
    await passwords.reset_password(users, data.token, data.new_password, keyed(once, users))


@post("/v1/email-verifications/confirm", tags=TAGS, status_code=204)
async def confirm_email(
    data: JSONBody[TokenBody],
    users: NamedDependency[UsersContext],
    once: NamedDependency[Once],
) -> None:
    """Prove with the token of a link who reads the address."""
    await profile.verify_email(users, data.token, once)


def _sessions(request: Request[Any, Any, Any]) -> Sessions:
    return request.app.state[SESSIONS_STATE_KEY]


def _cookie(text: str) -> Cookie:
    """A `Set-Cookie` value as the framework wants it."""
    pair, *attributes = text.split("; ")
    key, _, value = pair.partition("=")
    parted = [attribute.partition("=") for attribute in attributes]
    named = {name: given for name, _, given in parted}
    return Cookie(
        key=key,
        value=value,
        path=named["Path"],
        max_age=int(named["Max-Age"]),
        samesite=cast("Any", named["SameSite"]),  # the framework knows it in lower case only
        httponly="HttpOnly" in named,
        secure="Secure" in named,
    )


HANDLERS = [register, log_in, log_out, request_reset, confirm_reset, confirm_email]
