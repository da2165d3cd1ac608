"""What people are told about what happened elsewhere; one rule: written for many, once a cause.

Each reaction runs in the inbox's transaction and saves facts; words are found later. The inbox sees
to it that an event is handled once; the cause, unique for each kind in the tables, has the last
word.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import NAMESPACE_OID, UUID, uuid5

from tradewind.notifications.actions.context import NotificationsContext
from tradewind.notifications.actions.erasure import forget_people
from tradewind.notifications.actions.telling import tell
from tradewind.notifications.model.drafts import Draft
from tradewind.notifications.model.facts import LINES_SHOWN, Facts, Line, decode, encode
from tradewind.notifications.model.kinds import Kind
from tradewind.notifications.store import messages as message_store
from tradewind.orders.contract import (
    CheckoutDeclined,
    OrderCancelled,
    OrderDelivered,
    OrderPlaced,
    OrderRefunded,
    OrderShipped,
    PaymentFailed,
    PaymentSettled,
    SoldLine,
)
from tradewind.platform.database import Transaction
from tradewind.platform.events import Event
from tradewind.users.contract import (
    AddressAlreadyRegistered,
    EmailChanged,
    PasswordResetRequested,
    UserErased,
    UserRegistered,
)

_TOLD_AGAIN_SECONDS = 3600
"""An address that is registered over and over hears of it once in so long."""


async def welcome(
    context: NotificationsContext, tx: Transaction, events: Sequence[UserRegistered]
) -> None:
    """A new account: welcome, and the link that verifies the address."""
    drafts = [
        Draft(
            kind="welcome",
            cause=_cause("welcome", str(event.user_id)),
            user_id=event.user_id,
            email=_reachable(event.email),
            order_id=None,
            mail_data=encode(Facts(name=event.name, verification_token=event.verification_token)),
            entry_data=encode(Facts()),
        )
        for event in events
    ]
    await tell(context, tx, drafts)


async def send_password_reset(
    context: NotificationsContext, tx: Transaction, events: Sequence[PasswordResetRequested]
) -> None:
    """Somebody asked for a new password: only whoever reads the mail may choose it."""
    drafts = [
        Draft(
            kind="password_reset",
            cause=_cause("password_reset", event.reset_token),
            user_id=event.user_id,
            email=_reachable(event.email),
            order_id=None,
            mail_data=encode(
                Facts(name=event.name, reset_token=event.reset_token, expires_at=event.expires_at)
            ),
        )
        for event in events
    ]
    await tell(context, tx, drafts)


async def tell_address_owner(
    context: NotificationsContext, tx: Transaction, events: Sequence[AddressAlreadyRegistered]
) -> None:
    """Somebody tried to register an address that is taken: its owner hears of it.

    Once an hour, whoever tries how often: nobody can flood a mailbox through us.
    """
    hour = int(tx.now.timestamp()) // _TOLD_AGAIN_SECONDS
    drafts = [
        Draft(
            kind="address_already_registered",
            cause=_cause("address_already_registered", f"{event.user_id} {hour}"),
            user_id=event.user_id,
            email=_reachable(event.email),
            order_id=None,
            mail_data=encode(Facts(name=event.name)),
        )
        for event in events
    ]
    await tell(context, tx, drafts)


async def tell_email_changed(
    context: NotificationsContext, tx: Transaction, events: Sequence[EmailChanged]
) -> None:
    """A new address: it is verified, and the old one hears of it in case it was a thief."""
    drafts: list[Draft] = []
    for event in events:
        cause = _cause("email_changed", event.verification_token)
        drafts += [
            Draft(
                kind="email_changed",
                cause=cause,
                user_id=event.user_id,
                email=_reachable(event.old_email),
                order_id=None,
                mail_data=encode(Facts(name=event.name)),
                entry_data=encode(Facts()),
            ),
            Draft(
                kind="verify_email",
                cause=cause,
                user_id=event.user_id,
                email=_reachable(event.email),
                order_id=None,
                mail_data=encode(
                    Facts(name=event.name, verification_token=event.verification_token)
                ),
            ),
        ]
    await tell(context, tx, drafts)


async def forget(
    context: NotificationsContext, tx: Transaction, events: Sequence[UserErased]
) -> None:
    """An account is gone: so is everything that says whose it was."""
    emails = [event.email for event in events if event.email is not None]
    await forget_people(context, tx, [event.user_id for event in events], emails)


async def tell_order_placed(
    context: NotificationsContext, tx: Transaction, events: Sequence[OrderPlaced]
) -> None:
    """An order stands: confirmed, or waiting for its payment."""
    await tell(context, tx, [_placed(event) for event in events])


async def tell_payment_settled(
    context: NotificationsContext, tx: Transaction, events: Sequence[PaymentSettled]
) -> None:
    """A pending payment came through: the order is confirmed."""
    await tell(context, tx, [_confirmed(event) for event in events])


async def tell_payment_failed(
    context: NotificationsContext, tx: Transaction, events: Sequence[PaymentFailed]
) -> None:
    """A pending payment failed: the order is cancelled."""
    drafts = [
        Draft(
            kind="payment_failed",
            cause=event.order_id,
            user_id=event.user_id,
            email=_reachable(event.email),
            order_id=event.order_id,
            mail_data=(facts := encode(_about(event, reason=_spoken(event.reason)))),
            entry_data=facts,
        )
        for event in events
    ]
    await tell(context, tx, drafts)


async def tell_checkout_declined(
    context: NotificationsContext, tx: Transaction, events: Sequence[CheckoutDeclined]
) -> None:
    """A payment was refused: no order came of it, so none is named.

    Each try has a reservation of its own, which tells two refusals apart.
    """
    drafts = [
        Draft(
            kind="payment_failed",
            cause=event.reservation_id,
            user_id=event.user_id,
            email=_reachable(event.email),
            order_id=None,
            mail_data=(
                facts := encode(
                    Facts(
                        currency=event.currency,
                        total_minor=event.total_minor,
                        reason=_spoken(event.reason),
                    )
                )
            ),
            entry_data=facts,
        )
        for event in events
    ]
    await tell(context, tx, drafts)


async def tell_order_shipped(
    context: NotificationsContext, tx: Transaction, events: Sequence[OrderShipped]
) -> None:
    """A parcel is on its way."""
    tokens = await _guests_tokens(tx, events)
    drafts = [
        _later(
            "order_shipped",
            one,
            one.fulfillment_id,
            tokens,
            lines=one.lines,
            carrier=one.carrier or None,
            tracking=one.tracking or None,
        )
        for one in events
    ]
    await tell(context, tx, drafts)


async def tell_order_delivered(
    context: NotificationsContext, tx: Transaction, events: Sequence[OrderDelivered]
) -> None:
    """A parcel has arrived."""
    tokens = await _guests_tokens(tx, events)
    drafts = [_later("order_delivered", one, one.fulfillment_id, tokens) for one in events]
    await tell(context, tx, drafts)


async def tell_order_cancelled(
    context: NotificationsContext, tx: Transaction, events: Sequence[OrderCancelled]
) -> None:
    """An order is off, and the money on its way back."""
    tokens = await _guests_tokens(tx, events)
    drafts = [
        _later("order_cancelled", one, one.order_id, tokens, amount_minor=one.refunded_minor)
        for one in events
    ]
    await tell(context, tx, drafts)


async def tell_order_refunded(
    context: NotificationsContext, tx: Transaction, events: Sequence[OrderRefunded]
) -> None:
    """Money is on its way back."""
    tokens = await _guests_tokens(tx, events)
    drafts = [
        _later(
            "order_refunded",
            one,
            one.refund_id,
            tokens,
            lines=one.lines,
            reason=one.reason or None,
            amount_minor=one.amount_minor,
        )
        for one in events
    ]
    await tell(context, tx, drafts)


Reaction = Callable[[NotificationsContext, Transaction, Sequence[Any]], Awaitable[None]]
_OrderEvent = (
    OrderPlaced
    | PaymentSettled
    | PaymentFailed
    | OrderShipped
    | OrderDelivered
    | OrderCancelled
    | OrderRefunded
)


def _placed(event: OrderPlaced) -> Draft:
    if event.payment_status != "pending":
        return _confirmed(event)
    return Draft(
        kind="payment_pending",
        cause=event.order_id,
        user_id=event.user_id,
        email=None,
        order_id=event.order_id,
        entry_data=encode(_about(event)),
    )


def _confirmed(event: OrderPlaced | PaymentSettled) -> Draft:
    token = event.token if event.user_id is None else None
    return Draft(
        kind="order_confirmed",
        cause=event.order_id,
        user_id=event.user_id,
        email=_reachable(event.email),
        order_id=event.order_id,
        mail_data=encode(_about(event, lines=event.lines, order_token=token)),
        entry_data=encode(_about(event)) if event.user_id is not None else b"",
    )


def _later(
    kind: Kind,
    event: _OrderEvent,
    cause: UUID,
    tokens: Mapping[UUID, str],
    *,
    lines: Sequence[SoldLine] = (),
    **more: Any,
) -> Draft:
    """What comes after the confirmation: mail and entry say the same."""
    data = encode(_about(event, lines=lines, order_token=tokens.get(event.order_id), **more))
    return Draft(
        kind=kind,
        cause=cause,
        user_id=event.user_id,
        email=_reachable(event.email),
        order_id=event.order_id,
        mail_data=data,
        entry_data=data,
    )


def _about(event: _OrderEvent, *, lines: Sequence[SoldLine] = (), **more: Any) -> Facts:
    """The facts of an order and `more`; of a long one only the lines that a mail shows."""
    shown = [
        Line(one.title, one.quantity, one.unit_price_minor, one.total_minor)
        for one in lines[:LINES_SHOWN]
    ]
    return Facts(
        order_id=event.order_id,
        number=event.number,
        currency=event.currency,
        total_minor=event.total_minor,
        lines=tuple(shown),
        lines_more=max(0, len(lines) - LINES_SHOWN),
        **more,
    )


async def _guests_tokens(tx: Transaction, events: Iterable[_OrderEvent]) -> dict[UUID, str]:
    """The tokens with which guests read their orders; only their confirmations were told them."""
    guests = [event.order_id for event in events if event.user_id is None]
    if not guests:
        return {}
    confirmations = await message_store.list_confirmations(tx, guests)
    tokens = {one: decode(data).order_token for one, data in confirmations.items()}
    return {one: token for one, token in tokens.items() if token is not None}


def _cause(kind: str, secret: str) -> UUID:
    """The id of something that has none of its own; it outlives an erasure, so it tells nothing."""
    return uuid5(NAMESPACE_OID, f"tradewind {kind} {secret}")


def _reachable(email: str | None) -> str | None:
    """The address, unless it is none: what was erased elsewhere comes as `…@invalid` (RFC 2606)."""
    if not email or email.lower().endswith(("@invalid", ".invalid")):
        return None
    return email


def _spoken(reason: str) -> str | None:
    """A provider's reason in words: `insufficient_funds` is one of its codes."""
    return reason.replace("_", " ").strip() or None


REACTIONS: Final[Mapping[type[Event], Sequence[Reaction]]] = {
    UserRegistered: (welcome,),
    PasswordResetRequested: (send_password_reset,),
    AddressAlreadyRegistered: (tell_address_owner,),
    EmailChanged: (tell_email_changed,),
    UserErased: (forget,),
    OrderPlaced: (tell_order_placed,),
    PaymentSettled: (tell_payment_settled,),
    PaymentFailed: (tell_payment_failed,),
    CheckoutDeclined: (tell_checkout_declined,),
    OrderShipped: (tell_order_shipped,),
    OrderDelivered: (tell_order_delivered,),
    OrderCancelled: (tell_order_cancelled,),
    OrderRefunded: (tell_order_refunded,),
}
