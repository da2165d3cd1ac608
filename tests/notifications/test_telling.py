"""Who is told what: each event once, by the channels that its person wants."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any

import msgspec
import pytest

from notifications.parts import Service, message_of
from notifications.samples import (
    address_already_registered,
    checkout_declined,
    email_changed,
    one_of_each,
    order_delivered,
    order_placed,
    order_shipped,
    password_reset_requested,
    payment_settled,
    user_erased,
    user_registered,
)
from tradewind.notifications.actions.preferences import set_preferences
from tradewind.notifications.contract import CannotBeSwitchedOff
from tradewind.notifications.model.kinds import KINDS, MAILED, SHOWN, Switches
from tradewind.notifications.reactions import REACTIONS
from tradewind.orders.contract import SoldLine
from tradewind.platform.ids import new_id

pytestmark = pytest.mark.asyncio

Make = Callable[..., Awaitable[Service]]


async def kinds(service: Service, table: str = "messages") -> list[str]:
    """The kinds in a table, sorted."""
    rows = await service.rows(f"SELECT kind FROM {table} ORDER BY kind")
    return [row["kind"] for row in rows]


async def test_a_customers_order(service: Service) -> None:
    """A customer's order is confirmed by a mail and an entry in the inbox."""
    event = order_placed(user_id=new_id())
    await service.handle(event)
    [mail] = await service.mails()
    assert (mail["kind"], mail["recipient"]) == ("order_confirmed", event.email)
    assert (mail["order_id"], mail["status"], mail["attempts"]) == (event.order_id, "sent", 1)
    [entry] = await service.rows("SELECT * FROM entries")
    assert (entry["user_id"], entry["order_id"]) == (event.user_id, event.order_id)
    assert event.token.encode() not in mail["data"] + entry["data"]


async def test_a_guests_order(service: Service) -> None:
    """A guest gets a mail whose facts hold the order's token, and has no inbox."""
    event = order_placed()
    await service.handle(event)
    [mail] = await service.mails()
    assert event.token.encode() in mail["data"]
    assert await kinds(service, "entries") == []


async def test_every_kind(service: Service) -> None:
    """One event of each type makes every kind of mail and every kind of entry but the pending."""
    await service.handle(*one_of_each(new_id(), "ann@example.com"))
    await service.handle(order_placed(user_id=new_id(), payment_status="pending"))
    assert set(await kinds(service)) == MAILED
    assert set(await kinds(service, "entries")) == SHOWN
    assert set(KINDS) == MAILED | SHOWN


async def test_the_same_event_twice(service: Service) -> None:
    """An event that is delivered again tells nobody anything again."""
    messages = [message_of(event) for event in one_of_each(new_id(), "ann@example.com")]
    await service.take(messages)
    before = await kinds(service), await kinds(service, "entries")
    await service.take(messages)
    assert (await kinds(service), await kinds(service, "entries")) == before


async def test_two_processes_at_once(make: Make) -> None:
    """Events that two processes handle at the same time are told once."""
    one, other = await make(), await make()
    messages = [message_of(order_placed(user_id=new_id())) for _ in range(40)]
    await asyncio.gather(
        *(each.take(messages[start:]) for each in (one, other) for start in (0, 20))
    )
    assert await kinds(one) == ["order_confirmed"] * 40
    assert await kinds(one, "entries") == ["order_confirmed"] * 40


async def test_the_tables_have_the_last_word(service: Service) -> None:
    """Even past the inbox, one cause makes one mail and one entry of a kind."""
    service.stop_time()
    for event in one_of_each(new_id(), "ann@example.com"):
        for reaction in REACTIONS[type(event)]:
            for _ in range(2):
                async with service.database.transaction() as tx:
                    await reaction(service.context, tx, [event])
    # A changed address is two mails; two of the events confirm an order, two tell of a failure.
    assert len(await service.mails()) == 13
    assert len(await kinds(service, "entries")) == 10


async def test_a_batch_is_a_statement_a_table(make: Make) -> None:
    """Three hundred orders are written by one statement for each table."""
    service = await make()
    asked: list[str] = []
    service.database._probe = asked.append
    events = [order_placed(user_id=new_id()) for _ in range(300)]
    await service.take([message_of(event) for event in events])
    inserts = [" ".join(one.split()) for one in asked if one.split()[:2] == ["before", "INSERT"]]
    assert [one.split()[3] for one in inserts] == ["inbox", "people", "entries", "messages"]
    assert len(await service.mails()) == 300


async def test_positions_of_many_at_once(make: Make) -> None:
    """One person's entries have positions without gap, whoever writes them at the same time."""
    services = [await make(), await make()]
    user_id = new_id()
    batches = [[message_of(order_placed(user_id=user_id)) for _ in range(7)] for _ in range(10)]
    await asyncio.gather(
        *(services[number % 2].take(batch) for number, batch in enumerate(batches))
    )
    rows = await services[0].rows("SELECT position FROM entries ORDER BY position")
    assert [row["position"] for row in rows] == list(range(1, 71))


async def test_pending_then_settled(service: Service) -> None:
    """A pending order is confirmed once its payment came through; until then the inbox says so."""
    placed = order_placed(user_id=new_id(), payment_status="pending")
    await service.handle(placed)
    assert await service.mails() == [] and await kinds(service, "entries") == ["payment_pending"]
    again = {"user_id": placed.user_id, "order_id": placed.order_id, "email": placed.email}
    await service.handle(payment_settled(**again))
    assert await kinds(service) == ["order_confirmed"]
    assert await kinds(service, "entries") == ["order_confirmed", "payment_pending"]


async def test_two_declined_cards(service: Service) -> None:
    """Two refused cards are two mails, and name no order, since there is none."""
    user_id, order_id = new_id(), new_id()
    await service.handle(checkout_declined(user_id=user_id, order_id=order_id))
    await service.handle(checkout_declined(user_id=user_id, order_id=order_id))
    assert [mail["order_id"] for mail in await service.mails()] == [None, None]


async def test_a_guests_parcel(service: Service) -> None:
    """What a guest hears later about an order still opens it."""
    placed = order_placed()
    same = {"order_id": placed.order_id, "email": placed.email}
    await service.handle(placed)
    await service.handle(order_shipped(**same), order_delivered(**same))
    assert len(await service.mails()) == 3
    assert all(placed.token.encode() in mail["data"] for mail in await service.mails())


async def test_a_customers_parcel_holds_no_token(service: Service) -> None:
    """A customer signs in to see an order: no mail carries its token."""
    placed = order_placed(user_id=new_id())
    await service.handle(placed)
    await service.handle(order_shipped(order_id=placed.order_id, user_id=placed.user_id))
    assert not any(placed.token.encode() in mail["data"] for mail in await service.mails())


async def test_a_long_order(service: Service) -> None:
    """Of an order of 2,000 lines a mail keeps the first 50 and says how many more there are."""
    lines = tuple(SoldLine(f"S{n}", f"Thing {n}", 1, 100, 100) for n in range(2000))
    await service.handle(order_placed(lines=lines, total_minor=200_000))
    [mail] = await service.mails()
    assert len(mail["data"]) < 10_000
    facts = msgspec.json.decode(mail["data"])
    assert len(facts["lines"]) == 50 and facts["lines_more"] == 1950


async def test_nobody_to_write_to(service: Service) -> None:
    """No mail goes to an account without an address or one that was erased elsewhere."""
    await service.handle(
        user_registered(email=None), order_placed(email="erased@invalid"), order_placed(email="")
    )
    assert await service.mails() == []


async def test_an_address_registered_again_and_again(service: Service) -> None:
    """Whoever registers a taken address over and over cannot flood its owner's mailbox."""
    service.stop_time()
    event = address_already_registered()
    await service.handle(*[event] * 5)
    await service.handle(event)
    assert len(await service.mails()) == 1


async def test_a_changed_address(service: Service) -> None:
    """The old address is warned and never sees the new one's link; the new one is verified."""
    event = email_changed()
    await service.handle(event)
    mails = {mail["recipient"]: mail for mail in await service.mails()}
    assert mails[event.old_email]["kind"] == "email_changed"
    assert mails[event.email]["kind"] == "verify_email"
    assert event.verification_token.encode() not in mails[event.old_email]["data"]
    assert event.email.encode() not in mails[event.old_email]["data"]


async def test_preferences_hold(service: Service) -> None:
    """What was switched off is not told; what happened before stays."""
    user_id = new_id()
    await service.handle(order_shipped(user_id=user_id))
    wishes = {
        "order_shipped": Switches(email=False),
        "order_confirmed": Switches(inbox=False),
        "order_delivered": Switches(email=False, inbox=False),
    }
    await set_preferences(service.context, user_id, wishes)
    await service.handle(*one_of_each(user_id, "ann@example.com"))
    mailed, shown = await kinds(service), await kinds(service, "entries")
    assert (mailed.count("order_shipped"), shown.count("order_shipped")) == (1, 2)
    assert (mailed.count("order_confirmed"), shown.count("order_confirmed")) == (2, 0)
    assert (mailed.count("order_delivered"), shown.count("order_delivered")) == (0, 0)
    assert "order_refunded" in mailed and "order_refunded" in shown


@pytest.mark.parametrize("kind", ["password_reset", "welcome", "verify_email", "email_changed"])
async def test_essentials_stay_on(service: Service, kind: str) -> None:
    """What keeps an account in its owner's hands cannot be switched off, nor by the back door."""
    user_id = new_id()
    with pytest.raises(CannotBeSwitchedOff):
        await set_preferences(service.context, user_id, {kind: Switches(email=False)})
    await service.do(
        "INSERT INTO people (user_id, muted) VALUES ($1, $2)", user_id, [f"{kind}:email"]
    )
    await service.handle(*one_of_each(user_id, "ann@example.com"))
    assert kind in await kinds(service)


async def test_two_resets(service: Service) -> None:
    """Each request for a new password is a mail of its own."""
    event = password_reset_requested()
    await service.handle(event, msgspec.structs.replace(event, reset_token="another"))
    assert await kinds(service) == ["password_reset", "password_reset"]


async def test_a_late_event_about_the_erased(service: Service) -> None:
    """An event that comes after the erasure of its customer is told to nobody."""
    event = order_placed(user_id=new_id())
    await service.handle(user_erased(user_id=event.user_id, email=event.email))
    await service.handle(event)
    assert await service.mails() == [] and await kinds(service, "entries") == []


async def test_an_erasure_in_the_middle(make: Make) -> None:
    """An event that is being written while its customer is erased leaves nothing behind."""
    service, other = await make(), await make()
    placed = order_placed(user_id=new_id())
    erased = user_erased(user_id=placed.user_id, email=None)
    [reaction] = REACTIONS[type(placed)]
    async with service.database.transaction() as tx:
        await reaction(service.context, tx, [placed])
        erasing = asyncio.create_task(other.handle(erased), context=Context())
        while not await _locks_waited_for(service):
            assert not erasing.done()
            await asyncio.sleep(0.01)
    await erasing
    [mail] = await service.mails()
    assert (mail["recipient"], mail["user_id"], mail["data"]) == (None, None, None)
    assert await kinds(service, "entries") == []


async def _locks_waited_for(service: Service) -> Any:
    [row] = await service.rows(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock'"
    )
    return row["count"]
