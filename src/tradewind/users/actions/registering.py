"""New accounts; one rule: whether a name is taken is decided by the database, once, at the end."""

from datetime import datetime, timedelta

import msgspec

from tradewind.platform.database import Transaction
from tradewind.platform.idempotency import Once
from tradewind.platform.ids import digest, new_id, new_token
from tradewind.platform.principals import Role
from tradewind.users.actions.context import UsersContext
from tradewind.users.contract import AddressAlreadyRegistered, UsernameTaken, UserRegistered
from tradewind.users.model.faults import Faults, invalid
from tradewind.users.model.names import (
    Email,
    Username,
    names_email,
    read_email,
    read_username,
)
from tradewind.users.model.passwords import password_fault
from tradewind.users.model.shapes import Account, Registered
from tradewind.users.store import accounts, tokens


class Wish(msgspec.Struct, frozen=True):
    """What somebody wants to register; unchecked."""

    password: str
    email: str | None = None
    username: str | None = None
    name: str | None = None


async def register(ctx: UsersContext, wish: Wish, once: Once) -> Registered:
    """Makes a customer's account. Raises Invalid, or UsernameTaken.

    Where verified e-mail is required, a taken address is answered like a free one, with an id that
    leads nowhere, and its owner is told, once an hour at most.
    """
    email, username = _checked(ctx, wish)
    hashed = await ctx.hashing.hash(wish.password)
    account = _account(email, username, wish.name, "customer", hashed, ctx.database.clock.now())
    async with ctx.database.transaction(once) as tx:
        if await accounts.insert_account(tx, account):
            await _welcome(ctx, tx, account)
        else:
            await _turn_away(ctx, tx, account)
        return once.answer(Registered(user_id=account.id))


async def register_old_client(
    ctx: UsersContext, username: str, password: str, once: Once
) -> Registered:
    """As the Express service did: by user name alone, which may be an e-mail address there."""
    if names_email(username):
        return await register(ctx, Wish(password=password, email=username), once)
    return await register(ctx, Wish(password=password, username=username), once)


async def add_staff(ctx: UsersContext, email: str, password: str, role: Role) -> Registered:
    """Makes a staff account, its address trusted, without any mail. Raises Invalid, UsernameTaken.

    An account that is there already is never promoted: whoever made it knows its password.
    """
    if role == "customer":
        raise invalid("role", "must be staff or admin")
    address, _ = _checked(ctx, Wish(password=password, email=email))
    hashed = await ctx.hashing.hash(password)
    now = ctx.database.clock.now()
    account = msgspec.structs.replace(
        _account(address, None, None, role, hashed, now), email_verified_at=now
    )
    async with ctx.database.transaction() as tx:
        if not await accounts.insert_account(tx, account):
            raise UsernameTaken(f"there is an account with the address {account.email} already")
    return Registered(user_id=account.id)


async def add_first_staff(ctx: UsersContext, email: str, password: str) -> bool:
    """Makes an administrator in a store that has none yet; False where there is one already."""
    async with ctx.database.reading() as reading:
        if await accounts.list_accounts(reading, pattern=None, role="admin", before=None, limit=1):
            return False
    try:
        await add_staff(ctx, email, password, "admin")
    except UsernameTaken:  # two processes of the same store began at once
        return False
    return True


async def new_verification(ctx: UsersContext, tx: Transaction, account: Account) -> str:
    """A token that proves who reads the account's address; older ones die."""
    token = new_token()
    await tokens.delete_tokens_of(tx, account.id, ["email_verification"])
    lifetime = timedelta(hours=ctx.settings.verification_hours)
    await tokens.insert_tokens(tx, "email_verification", [(account.id, digest(token))], lifetime)
    return token


def _checked(ctx: UsersContext, wish: Wish) -> tuple[Email | None, Username | None]:
    faults = Faults()
    email = faults.read("email", read_email, wish.email)
    username = faults.read("username", read_username, wish.username)
    if wish.email is None and wish.username is None:
        faults.add("email", "give an e-mail address, or a user name")
    names = [name for name in (wish.username, wish.email) if name]
    fault = password_fault(wish.password, names, ctx.common_passwords)
    if fault is not None:
        faults.add("password", fault)
    faults.settle()
    return email, username


def _account(
    email: Email | None,
    username: Username | None,
    name: str | None,
    role: Role,
    password_hash: str,
    now: datetime,
) -> Account:
    return Account(
        id=new_id(),
        username=username.text if username else None,
        username_key=username.key if username else None,
        email=email.address if email else None,
        email_key=email.key if email else None,
        email_verified_at=None,
        name=(name or "").strip() or None,
        role=role,
        password_hash=password_hash,
        disabled_at=None,
        imported_id=None,
        version=1,
        created_at=now,
    )


async def _welcome(ctx: UsersContext, tx: Transaction, account: Account) -> None:
    token = None if account.email is None else await new_verification(ctx, tx, account)
    event = UserRegistered(
        user_id=account.id, email=account.email, name=account.name, verification_token=token
    )
    await ctx.outbox.add(tx, [event])


async def _turn_away(ctx: UsersContext, tx: Transaction, account: Account) -> None:
    taken = UsernameTaken("this user name or e-mail address is taken")
    if not ctx.settings.verify_email_required or account.email_key is None:
        raise taken
    # A user name is no secret, and is looked at first, so that this refusal tells nothing else.
    if account.username_key is not None and await accounts.find_username(tx, account.username_key):
        raise taken
    owner = await accounts.update_told(tx, account.email_key)
    if owner is not None and owner.email is not None:
        told = AddressAlreadyRegistered(user_id=owner.id, email=owner.email, name=owner.name)
        await ctx.outbox.add(tx, [told])
