"""The two routes of the Express user service that Tradewind replaces; one rule: old clients go on.

They stand at the root, answer bare JSON as it did (`message`, and `error` beside it, which some of
its versions sent), and count failures where `/v1/login` counts them. They open no session.
"""

from typing import Any
from uuid import UUID

import msgspec
from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from tradewind.platform.errors import Invalid, StoreError
from tradewind.platform.idempotency import Once
from tradewind.platform.web.problems import BadRequest, status_of
from tradewind.users.actions import registering, signing_in
from tradewind.users.actions.context import UsersContext
from tradewind.users.contract import InvalidCredentials, UsernameTaken
from tradewind.users.model.shapes import Client, Registered
from tradewind.users.routes.bodies import OldBody
from tradewind.users.routes.sign_in import TAGS, WELCOME, keyed

_WORDS: dict[type[StoreError], str] = {
    InvalidCredentials: "Invalid credentials",
    UsernameTaken: "Username already taken",
}


class OldGreeting(msgspec.Struct, frozen=True, rename="camel"):
    """A password that was right."""

    message: str
    user_id: UUID


class OldRefusal(msgspec.Struct, frozen=True):
    """Why not; the same words twice."""

    message: str
    error: str


@post("/register", tags=TAGS)
async def old_register(
    data: JSONBody[OldBody],
    users: NamedDependency[UsersContext],
    once: NamedDependency[Once],
) -> Response[Registered | OldRefusal]:
    """Make an account by user name and password."""
    try:
        username, password = _both(data)
        made = await registering.register_old_client(users, username, password, keyed(once, users))
    except StoreError as error:
        return _refused(error)
    return Response(made, status_code=201)


@post("/login", tags=TAGS, status_code=200)
async def old_login(
    data: JSONBody[OldBody],
    users: NamedDependency[UsersContext],
    client: NamedDependency[Client],
) -> Response[OldGreeting | OldRefusal]:
    """Check user name and password."""
    try:
        username, password = _both(data)
        user_id = await signing_in.check_credentials(users, username, password, client)
    except StoreError as error:
        return _refused(error)
    return Response(OldGreeting(WELCOME, user_id), status_code=200)


def _both(data: OldBody) -> tuple[str, str]:
    if not data.username or not data.password:
        raise BadRequest("username and password are required")
    return data.username, data.password


def _refused(error: StoreError) -> Response[Any]:
    """The refusal in the old words; the old service knew no 422."""
    kind = BadRequest if isinstance(error, Invalid) else type(error)
    words = _WORDS.get(type(error), error.detail)
    if isinstance(error, Invalid) and error.errors:
        words = "; ".join(f"{fault.field} {fault.message}" for fault in error.errors)
    headers = (
        {} if error.retry_after_seconds is None else {"Retry-After": str(error.retry_after_seconds)}
    )
    return Response(OldRefusal(words, words), status_code=status_of(kind), headers=headers)


HANDLERS = [old_register, old_login]
