"""My account, devices and addresses over HTTP; one rule: everybody sees their own only."""

from typing import Any
from uuid import UUID

from litestar import Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from tradewind.platform.idempotency import Once
from tradewind.platform.principals import Principal
from tradewind.platform.sessions import signed_in
from tradewind.platform.web.answers import etag_of_version, require_match
from tradewind.platform.web.pages import (
    DEFAULT_LIMIT,
    Cursor,
    Limit,
    Page,
    read_cursor,
    write_cursor,
)
from tradewind.users.actions import addresses, passwords, profile, sessions
from tradewind.users.actions.context import UsersContext
from tradewind.users.model.shapes import (
    Account,
    AddressBody,
    AddressChange,
    AddressView,
    Client,
    Everything,
    Profile,
    SessionView,
    profile_of,
)
from tradewind.users.routes.bodies import EraseBody, PasswordBody, ProfileBody
from tradewind.users.routes.sign_in import TAGS, keyed


@get("/v1/me", guards=[signed_in], tags=TAGS)
async def get_me(
    principal: NamedDependency[Principal], users: NamedDependency[UsersContext]
) -> Response[Profile]:
    """My profile."""
    return _shown(await profile.get_account(users, principal))


@patch("/v1/me", guards=[signed_in], tags=TAGS)
async def change_me(
    request: Request[Any, Any, Any],
    data: JSONBody[ProfileBody],
    principal: NamedDependency[Principal],
    users: NamedDependency[UsersContext],
    client: NamedDependency[Client],
) -> Response[Profile]:
    """Change my profile; a new e-mail address needs `currentPassword`, and is verified by mail."""
    change = profile.ProfileChange(
        name=data.name,
        username=data.username,
        email=data.email,
        current_password=data.current_password or data.password,
    )
    if_match = request.headers.get("if-match")

    def check_version(version: int) -> None:
        require_match(if_match, etag_of_version(version))

    return _shown(await profile.change_profile(users, principal, change, client, check_version))


@delete("/v1/me", guards=[signed_in], tags=TAGS, status_code=204)
async def erase_me(
    data: JSONBody[EraseBody],
    principal: NamedDependency[Principal],
    users: NamedDependency[UsersContext],
    client: NamedDependency[Client],
) -> None:
    """Erase my account and everything that says whose it was."""
    await profile.erase_account(users, principal, data.shown or "", client)


@get("/v1/me/export", guards=[signed_in], tags=TAGS)
async def export_me(
    principal: NamedDependency[Principal], users: NamedDependency[UsersContext]
) -> Everything:
    """Everything held about me."""
    return await profile.export_everything(users, principal)


@post("/v1/me/password", guards=[signed_in], tags=TAGS, status_code=204)
async def change_password(
    data: JSONBody[PasswordBody],
    principal: NamedDependency[Principal],
    users: NamedDependency[UsersContext],
    client: NamedDependency[Client],
    once: NamedDependency[Once],
) -> None:
    """Change my password; all other sessions end."""
    await passwords.change_password(
        users, principal, data.current_password, data.new_password, client, keyed(once, users)
    )


@get("/v1/sessions", guards=[signed_in], tags=TAGS)
async def list_sessions(
    principal: NamedDependency[Principal],
    users: NamedDependency[UsersContext],
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[SessionView]:
    """My devices, newest first."""
    before = read_cursor(cursor, UUID)
    found = await sessions.list_sessions(users, principal, before, limit + 1)
    return Page(found[:limit], write_cursor(found[limit - 1].id) if len(found) > limit else None)


@delete("/v1/sessions/{session_id:uuid}", guards=[signed_in], tags=TAGS, status_code=204)
async def end_session(
    session_id: FromPath[UUID],
    principal: NamedDependency[Principal],
    users: NamedDependency[UsersContext],
) -> None:
    """Sign one of my devices out."""
    await sessions.end_session(users, principal, session_id)


@delete("/v1/sessions", guards=[signed_in], tags=TAGS, status_code=204)
async def end_other_sessions(
    principal: NamedDependency[Principal], users: NamedDependency[UsersContext]
) -> None:
    """Sign all my other devices out."""
    await sessions.end_other_sessions(users, principal)


@get("/v1/me/addresses", guards=[signed_in], tags=TAGS)
async def list_addresses(
    principal: NamedDependency[Principal],
    users: NamedDependency[UsersContext],
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[AddressView]:
    """My address book, oldest first."""
    after = read_cursor(cursor, UUID)
    found = await addresses.list_addresses(users, principal, after, limit + 1)
    return Page(found[:limit], write_cursor(found[limit - 1].id) if len(found) > limit else None)


@post("/v1/me/addresses", guards=[signed_in], tags=TAGS)
async def add_address(
    data: JSONBody[AddressBody],
    principal: NamedDependency[Principal],
    users: NamedDependency[UsersContext],
    once: NamedDependency[Once],
) -> AddressView:
    """Add an address; up to a hundred."""
    return await addresses.add_address(users, principal, data, once)


@patch("/v1/me/addresses/{address_id:uuid}", guards=[signed_in], tags=TAGS)
async def change_address(
    address_id: FromPath[UUID],
    data: JSONBody[AddressChange],
    principal: NamedDependency[Principal],
    users: NamedDependency[UsersContext],
) -> AddressView:
    """Change what is given of an address."""
    return await addresses.change_address(users, principal, address_id, data)


@delete("/v1/me/addresses/{address_id:uuid}", guards=[signed_in], tags=TAGS, status_code=204)
async def remove_address(
    address_id: FromPath[UUID],
    principal: NamedDependency[Principal],
    users: NamedDependency[UsersContext],
) -> None:
    """Remove an address."""
    await addresses.remove_address(users, principal, address_id)


def _shown(account: Account) -> Response[Profile]:
    return Response(profile_of(account), headers={"ETag": etag_of_version(account.version)})


HANDLERS = [
    get_me,
    change_me,
    erase_me,
    export_me,
    change_password,
    list_sessions,
    end_session,
    end_other_sessions,
    list_addresses,
    add_address,
    change_address,
    remove_address,
]
