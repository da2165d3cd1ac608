"""Accounts as staff see them, over HTTP; one rule: guards say who looks, actions who changes."""

from typing import Annotated
from uuid import UUID

from litestar import get, patch
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from tradewind.platform.principals import Principal, Role
from tradewind.platform.sessions import staff
from tradewind.platform.web.pages import (
    DEFAULT_LIMIT,
    Cursor,
    Limit,
    Page,
    read_cursor,
    write_cursor,
)
from tradewind.users.actions import staffing
from tradewind.users.actions.context import UsersContext
from tradewind.users.model.shapes import UserView
from tradewind.users.routes.bodies import UserBody
from tradewind.users.routes.sign_in import TAGS

Sought = Annotated[
    str | None,
    QueryParameter(
        name="q",
        max_length=254,
        pattern=r"^[^\x00]*$",
        description="A part of the e-mail address, user name or name, in any case.",
    ),
]
OfRole = Annotated[Role | None, QueryParameter(name="role")]


@get("/v1/users", guards=[staff], tags=TAGS)
async def list_users(
    users: NamedDependency[UsersContext],
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    q: Sought = None,
    role: OfRole = None,
) -> Page[UserView]:
    """Every account, newest first."""
    before = read_cursor(cursor, UUID)
    found = await staffing.list_users(users, q, role, before, limit + 1)
    return Page(found[:limit], write_cursor(found[limit - 1].id) if len(found) > limit else None)


@get("/v1/users/{user_id:uuid}", guards=[staff], tags=TAGS)
async def get_user(user_id: FromPath[UUID], users: NamedDependency[UsersContext]) -> UserView:
    """One account."""
    return await staffing.get_user(users, user_id)


@patch("/v1/users/{user_id:uuid}", guards=[staff], tags=TAGS)
async def change_user(
    user_id: FromPath[UUID],
    data: JSONBody[UserBody],
    principal: NamedDependency[Principal],
    users: NamedDependency[UsersContext],
) -> UserView:
    """Change role and standing; only an administrator changes roles, and disables staff."""
    change = staffing.UserChange(role=data.role, disabled=data.disabled)
    return await staffing.change_user(users, principal, user_id, change)


HANDLERS = [list_users, get_user, change_user]
