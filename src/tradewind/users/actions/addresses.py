"""My address book; one rule: another's address is not there."""

from uuid import UUID

import msgspec

from tradewind.platform.idempotency import Once
from tradewind.platform.ids import new_id
from tradewind.platform.principals import Principal
from tradewind.users.actions.context import UsersContext
from tradewind.users.contract import AddressNotFound, TooManyAddresses
from tradewind.users.model.shapes import ADDRESSES_MOST, AddressBody, AddressChange, AddressView
from tradewind.users.store import accounts, addresses


async def list_addresses(
    ctx: UsersContext, principal: Principal, after: UUID | None, limit: int
) -> list[AddressView]:
    """A page of my addresses, oldest first."""
    async with ctx.database.reading() as reading:
        return await addresses.list_addresses(reading, principal.user_id, after, limit)


async def add_address(
    ctx: UsersContext, principal: Principal, body: AddressBody, once: Once
) -> AddressView:
    """Saves a new address. Raises TooManyAddresses."""
    address = AddressView(id=new_id(), **msgspec.structs.asdict(body))
    async with ctx.database.transaction(once) as tx:
        # Two at once wait for each other here, so that the limit holds.
        await accounts.lock_account(tx, principal.user_id)
        if await addresses.get_address_count(tx, principal.user_id) >= ADDRESSES_MOST:
            raise TooManyAddresses(f"the address book holds {ADDRESSES_MOST} addresses at most")
        await addresses.insert_address(tx, principal.user_id, address)
        return once.answer(address)


async def change_address(
    ctx: UsersContext, principal: Principal, address_id: UUID, change: AddressChange
) -> AddressView:
    """Changes what is given. Raises AddressNotFound."""
    given = {
        field: value
        for field, value in msgspec.structs.asdict(change).items()
        if value is not msgspec.UNSET
    }
    async with ctx.database.transaction() as tx:
        address = await addresses.lock_address(tx, principal.user_id, address_id)
        if address is None:
            raise AddressNotFound("you have no such address")
        changed = msgspec.structs.replace(address, **given)
        await addresses.update_address(tx, principal.user_id, changed)
    return changed


async def remove_address(ctx: UsersContext, principal: Principal, address_id: UUID) -> None:
    """Removes an address. Raises AddressNotFound."""
    async with ctx.database.transaction() as tx:
        if not await addresses.delete_address(tx, principal.user_id, address_id):
            raise AddressNotFound("you have no such address")
