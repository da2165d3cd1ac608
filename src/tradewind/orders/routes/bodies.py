"""What clients may send to orders; one rule: every field has its bounds, nothing else counts."""

import re
from typing import Annotated

import msgspec
from msgspec import Meta

from tradewind.orders.model.order import TOTAL_MOST_MINOR
from tradewind.platform.money import CURRENCIES, Currency, Money
from tradewind.platform.web.bodies import FieldFault

Text = Annotated[str, Meta(min_length=1, max_length=200)]
Sku = Annotated[str, Meta(min_length=1, max_length=64, examples=["KETTLE-RED"])]
Email = Annotated[
    str,
    Meta(
        min_length=3,
        max_length=254,
        pattern=(
            # The domain: letters and digits of ASCII and all beyond it, dots and dashes within.
            r"^[^@\s<>\"'(),:;\\\x00-\x1f\x7f]+@[^\x00-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]"
            r"(?:[^\x00-\x2c\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]*"
            r"[^\x00-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f])?"
            r"$(?!\n)"
        ),
        examples=["ann@example.com"],
    ),
]
Quantity = Annotated[int, Meta(ge=1, le=100_000, examples=[1])]
_DIGIT_GROUPS = re.compile(r"\d+")
_BETWEEN_GROUPS = re.compile(r"[\s._/\\\-\u2010-\u2015\u2212\u00b7]{0,3}")
_CARD_STARTS = (2, 3, 4, 5, 6)
_CARD_DIGITS_LEAST, _CARD_DIGITS_MOST = 13, 19
_PHONE_DIGITS_MOST = 15  # ITU-T E.164: what is longer is no telephone number


def refuse_card_numbers(
    field: str, text: str | None, digits_least: int = _CARD_DIGITS_LEAST
) -> None:
    """Raises FieldFault where a text holds what looks like a payment card's number (P20).

    13 to 19 digits that pass the Luhn check and begin as card schemes do (ISO/IEC 7812), in one
    piece or in groups, whatever stands before or after them (an expiry date, a house number).
    """
    for groups in _neighbours(text or ""):
        for start in range(len(groups)):
            digits: list[int] = []
            for group in groups[start:]:
                digits += group
                if len(digits) > _CARD_DIGITS_MOST:
                    break
                if len(digits) >= digits_least and _is_card(digits):
                    message = "looks like a card number; send the provider's token instead"
                    raise FieldFault(field, message)


def _neighbours(text: str) -> list[list[list[int]]]:
    """Runs of groups of digits that have no more between them than people put into a number."""
    runs: list[list[list[int]]] = []
    end = -1
    for found in _DIGIT_GROUPS.finditer(text):
        group = [int(one) for one in found[0]]
        if runs and _BETWEEN_GROUPS.fullmatch(text, end, found.start()):
            runs[-1].append(group)
        else:
            runs.append([group])
        end = found.end()
    return runs


def _is_card(digits: list[int]) -> bool:
    doubled = [sum(divmod(2 * one, 10)) for one in digits[-2::-2]]
    return digits[0] in _CARD_STARTS and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


class LineBody(msgspec.Struct, frozen=True):
    """So many units of a SKU."""

    sku: Sku
    quantity: Quantity


class AddressBody(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A postal address; `country` after ISO 3166-1 alpha-2."""

    name: Text
    line1: Text
    city: Text
    postal_code: Annotated[str, Meta(min_length=1, max_length=20)]
    country: Annotated[str, Meta(pattern=r"^[A-Z]{2}$(?!\n)", examples=["DE"])]
    line2: Annotated[str, Meta(max_length=200)] | None = None
    region: Annotated[str, Meta(max_length=100)] | None = None
    phone: Annotated[str, Meta(max_length=30)] | None = None

    def __post_init__(self) -> None:
        """No card numbers."""
        refuse_card_numbers("name", self.name)
        refuse_card_numbers("line1", self.line1)
        refuse_card_numbers("line2", self.line2)
        refuse_card_numbers("city", self.city)
        refuse_card_numbers("region", self.region)
        refuse_card_numbers("postalCode", self.postal_code)
        refuse_card_numbers("phone", self.phone, _PHONE_DIGITS_MOST + 1)


class PaymentBody(msgspec.Struct, frozen=True):
    """The provider's token for the customer's means of payment; never a card number."""

    token: Annotated[
        str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,255}$(?!\n)", examples=["tok_approved"])
    ]
    provider: Annotated[str, Meta(min_length=1, max_length=50)] | None = None

    def __post_init__(self) -> None:
        """No card numbers."""
        refuse_card_numbers("token", self.token)


def refuse_unknown_currency(currency: str | None) -> None:
    """Raises FieldFault where a code is of no currency."""
    if currency is not None and currency not in CURRENCIES:
        raise FieldFault("currency", f"`{currency}` is not an ISO 4217 currency code")


class SumBody(msgspec.Struct, frozen=True):
    """A sum of money, up to what an order may come to; a price may be much less."""

    amount: Annotated[int, Meta(ge=0, le=TOTAL_MOST_MINOR, examples=[3999])]
    currency: Currency

    def __post_init__(self) -> None:
        """Only real currencies."""
        refuse_unknown_currency(self.currency)

    def money(self) -> Money:
        """For the actions."""
        return Money(self.amount, self.currency)


class CartBody(msgspec.Struct, frozen=True):
    """A new cart."""

    lines: list[LineBody] = []
    currency: Currency | None = None

    def __post_init__(self) -> None:
        """Only real currencies."""
        refuse_unknown_currency(self.currency)


class QuantityBody(msgspec.Struct, frozen=True):
    """A line's new quantity; 0 removes it."""

    quantity: Annotated[int, Meta(ge=0, le=100_000)]


class CartCheckoutBody(msgspec.Struct, frozen=True, rename="camel"):
    """What it takes to buy a cart."""

    email: Email
    shipping_address: AddressBody
    payment: PaymentBody
    billing_address: AddressBody | None = None
    expected_total: SumBody | None = None


class CheckoutBody(msgspec.Struct, frozen=True, rename="camel"):
    """A whole purchase in one request."""

    lines: Annotated[list[LineBody], Meta(min_length=1)]
    email: Email
    shipping_address: AddressBody
    payment: PaymentBody
    billing_address: AddressBody | None = None
    expected_total: SumBody | None = None
    currency: Currency | None = None

    def __post_init__(self) -> None:
        """Only real currencies."""
        refuse_unknown_currency(self.currency)


class ReasonBody(msgspec.Struct, frozen=True):
    """Why."""

    reason: Annotated[str, Meta(max_length=500)] = "cancelled on request"

    def __post_init__(self) -> None:
        """No card numbers."""
        refuse_card_numbers("reason", self.reason)


class RefundBody(msgspec.Struct, frozen=True):
    """Money back: an amount in minor units, or lines (their units go back to stock), or all."""

    reason: Annotated[str, Meta(min_length=1, max_length=500)]
    amount: Annotated[int, Meta(ge=1, le=TOTAL_MOST_MINOR)] | SumBody | None = None
    lines: Annotated[list[LineBody], Meta(min_length=1)] | None = None

    def __post_init__(self) -> None:
        """No card numbers."""
        refuse_card_numbers("reason", self.reason)


class FulfillmentBody(msgspec.Struct, frozen=True):
    """A parcel; without lines, all that was not shipped yet."""

    lines: Annotated[list[LineBody], Meta(min_length=1)] | None = None
    carrier: Annotated[str, Meta(max_length=100)] | None = None
    tracking: Annotated[str, Meta(max_length=100)] | None = None
