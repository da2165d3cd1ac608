"""Orders as a model has them: sums and states, and nothing of how the store keeps them."""

from collections import Counter as Count
from collections.abc import Mapping
from typing import Any

AFTER = {"tok_authorize_only": "authorized", "tok_pending": "pending", "tok_timeout": "pending"}
"""How a payment stands after the checkout, by token; `paid` after every other that is taken."""


class Modelled:
    """An order as the model has it."""

    def __init__(
        self, id_: str, email: str, lines: dict[str, int], prices: Mapping[str, int]
    ) -> None:
        self.id, self.email = id_, email
        self.lines, self.prices = lines, prices
        self.total = sum(prices[sku] * n for sku, n in lines.items())
        self.status, self.payment = "placed", "paid"
        self.attempt = ""
        self.captured = self.refunded = 0
        self.shipped: dict[str, int] = {}
        self.returned: dict[str, int] = {}
        self.parcels: dict[str, bool] = {}
        self.mails: Count[str] = Count()
        self.erased = False

    @property
    def fulfillment(self) -> str:
        """The third axis."""
        if not self.shipped:
            return "unfulfilled"
        if self.shipped != self.lines:
            return "partially_fulfilled"
        return "delivered" if all(self.parcels.values()) else "fulfilled"

    def left(self, used: dict[str, int]) -> dict[str, int]:
        """Units that are not used yet."""
        return {sku: n - used.get(sku, 0) for sku, n in self.lines.items() if n > used.get(sku, 0)}

    def units_away(self) -> dict[str, int]:
        """What is not on hand because of it."""
        return {} if self.status == "cancelled" else self.left(self.returned)

    def paid(self) -> None:
        """The money came in; that of a cancelled order goes back at once."""
        self.captured = self.total
        if self.status == "cancelled":
            self.payment, self.refunded = "refunded", self.total
            self.mails["order_refunded"] += 1
        else:
            self.payment = "paid"
            self.mails["order_confirmed"] += 1

    @property
    def may_be_refunded(self) -> bool:
        """Money came in, and the order stands."""
        refundable = ("paid", "partially_refunded", "refunded")
        return self.status == "placed" and self.payment in refundable

    def give_back(self, worth: int, lines: Mapping[str, int]) -> None:
        """Money went back, and these units."""
        self.refunded += worth
        whole = self.refunded == self.captured
        self.payment = "refunded" if whole else "partially_refunded"
        for sku, n in lines.items():
            self.returned[sku] = self.returned.get(sku, 0) + n
        self.mails["order_refunded"] += 1

    def check(self, seen: Mapping[str, Any]) -> None:
        """The store shows the same three axes and the same sums."""
        axes = (seen["status"], seen["paymentStatus"], seen["fulfillmentStatus"])
        assert axes == (self.status, self.payment, self.fulfillment)
        payment = seen["payment"]
        assert payment["captured"]["amount"] == self.captured
        assert payment["refunded"]["amount"] == self.refunded
        assert seen["total"]["amount"] == self.total
