"""The table of addresses; one rule: every statement names whose address it is about."""

from uuid import UUID

from tradewind.platform.database import Reading, Transaction
from tradewind.users.model.shapes import AddressView


async def insert_address(tx: Transaction, user_id: UUID, address: AddressView) -> None:
    """Saves a new address."""
    await tx.execute(
        """
        INSERT INTO addresses (id, user_id, name, line1, line2, city, region, postal_code, country,
            phone)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        """,
        address.id, user_id, address.name, address.line1, address.line2, address.city,
        address.region, address.postal_code, address.country, address.phone,
    )  # fmt: skip


async def get_address_count(tx: Transaction, user_id: UUID) -> int:
    """How many addresses this user has."""
    return await tx.fetch_value("SELECT count(*) FROM addresses WHERE user_id = $1", user_id)


async def list_addresses(
    reading: Reading, user_id: UUID, after: UUID | None, limit: int
) -> list[AddressView]:
    """A page of somebody's addresses, oldest first."""
    rows = await reading.fetch(
        """
        SELECT id, name, line1, line2, city, region, postal_code, country, phone FROM addresses
        WHERE user_id = $1 AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3
        """,
        user_id,
        after,
        limit,
    )
    return [AddressView(*row) for row in rows]


async def lock_address(tx: Transaction, user_id: UUID, address_id: UUID) -> AddressView | None:
    """One address of this user, held against change."""
    row = await tx.fetch_row(
        """
        SELECT id, name, line1, line2, city, region, postal_code, country, phone FROM addresses
        WHERE id = $1 AND user_id = $2 FOR UPDATE
        """,
        address_id,
        user_id,
    )
    return None if row is None else AddressView(*row)


async def update_address(tx: Transaction, user_id: UUID, address: AddressView) -> None:
    """Saves a changed address."""
    await tx.execute(
        """
        UPDATE addresses SET name = $3, line1 = $4, line2 = $5, city = $6, region = $7,
            postal_code = $8, country = $9, phone = $10
        WHERE id = $1 AND user_id = $2
        """,
        address.id, user_id, address.name, address.line1, address.line2, address.city,
        address.region, address.postal_code, address.country, address.phone,
    )  # fmt: skip


async def delete_address(tx: Transaction, user_id: UUID, address_id: UUID) -> bool:
    """Removes an address of this user; False where there is none."""
    tag = await tx.execute(
        "DELETE FROM addresses WHERE id = $1 AND user_id = $2", address_id, user_id
    )
    return tag == "DELETE 1"
