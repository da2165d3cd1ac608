"""The two routes of the Express user service that Tradewind replaces; one rule: old clients go on.

They stand at the root and count failures where `/v1/login` counts them, but open no session. A
refusal is a problem document that also has the members which the old service answered with:
`message`, and `error`, as some of its versions called it.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import UUID

import msgspec
from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from tradewind.platform.errors import Invalid, StoreError
from tradewind.platform.idempotency import Once
from tradewind.platform.web.problems import BadRequest
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


@post("/register", tags=TAGS)
async def old_register(
    data: JSONBody[OldBody],
    users: NamedDependency[UsersContext],
    once: NamedDependency[Once],
) -> Registered:
    """Make an account by user name and password."""
    async with _in_old_words():
        username, password = _both(data)
        return await registering.register_old_client(users, username, password, keyed(once, users))


@post("/login", tags=TAGS, status_code=200)
async def old_login(
    data: JSONBody[OldBody],
    users: NamedDependency[UsersContext],
    client: NamedDependency[Client],
) -> OldGreeting:
    """Check user name and password."""
    async with _in_old_words():
        username, password = _both(data)
        user_id = await signing_in.check_credentials(users, username, password, client)
    return OldGreeting(WELCOME, user_id)


def _both(data: OldBody) -> tuple[str, str]:
    if not data.username or not data.password:
        raise BadRequest("username and password are required")
    return data.username, data.password


@asynccontextmanager
async def _in_old_words() -> AsyncGenerator[None]:
    """Adds the old members to a refusal; the old service knew no 422."""
    try:
        yield
    except StoreError as error:
        words = _WORDS.get(type(error), error.detail)
        kind = type(error)
        if type(error) is Invalid:
            kind = BadRequest
            words = "; ".join(f"{one.field} {one.message}" for one in error.errors) or words
        elif isinstance(error, Invalid):
            raise  # about the Idempotency-Key, which the old service did not have
        raise kind(
            error.detail,
            extra={**error.extra, "message": words, "error": words},
            retry_after_seconds=error.retry_after_seconds,
        ) from error


HANDLERS = [old_register, old_login]
