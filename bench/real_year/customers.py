"""Who buys; one rule: a customer is registered on first sight, and signs in once."""

from collections.abc import Iterable

import msgspec

from bench.real_year.client import Api
from bench.real_year.deviations import Deviated
from bench.real_year.matching import Sale
from bench.real_year.working import work_off

HASHING_AT_ONCE = 8
"""A registration and a sign-in each cost a password hash: more at once would only wait."""

COUNTRIES = {
    "Australia": "AU",
    "Austria": "AT",
    "Bahrain": "BH",
    "Belgium": "BE",
    "Brazil": "BR",
    "Canada": "CA",
    "Channel Islands": "JE",
    "Cyprus": "CY",
    "Czech Republic": "CZ",
    "Denmark": "DK",
    "EIRE": "IE",
    "Finland": "FI",
    "France": "FR",
    "Germany": "DE",
    "Greece": "GR",
    "Hong Kong": "HK",
    "Iceland": "IS",
    "Israel": "IL",
    "Italy": "IT",
    "Japan": "JP",
    "Lebanon": "LB",
    "Lithuania": "LT",
    "Malta": "MT",
    "Netherlands": "NL",
    "Norway": "NO",
    "Poland": "PL",
    "Portugal": "PT",
    "RSA": "ZA",
    "Saudi Arabia": "SA",
    "Singapore": "SG",
    "Spain": "ES",
    "Sweden": "SE",
    "Switzerland": "CH",
    "USA": "US",
    "United Arab Emirates": "AE",
}
"""ISO 3166-1; what is no country ("Unspecified", "European Community") is the shop's own."""


class Session(msgspec.Struct):
    """What a sign-in answers."""

    token: str


def email_of(sale: Sale) -> str:
    """The customer's address, or the guest's, who is another one each time."""
    name = f"customer-{sale.customer}" if sale.customer else f"guest-{sale.invoice}"
    return f"{name}@real-year.example"


def address_of(sale: Sale) -> dict[str, str]:
    """Where the goods go; the invoice's number stands in it, to be found again by people."""
    return {
        "name": f"Customer {sale.customer}" if sale.customer else "A guest",
        "line1": f"Invoice {sale.invoice}, {sale.at[:10]}",
        "city": sale.country,
        "postalCode": "00000",
        "country": COUNTRIES.get(sale.country, "GB"),
    }


class Customers:
    """Those who are known by now, with their sessions."""

    def __init__(self, api: Api) -> None:
        self.tokens: dict[str, str] = {}
        self._api = api

    async def welcome(self, sales: Iterable[Sale]) -> None:
        """Registers and signs in everybody who is new among these buyers."""
        new = {one.customer: one for one in sales if one.customer not in self.tokens}
        new.pop("", None)
        await work_off(new.values(), self._register, HASHING_AT_ONCE)

    async def _register(self, sale: Sale) -> None:
        email = email_of(sale)
        password = f"the orchard gate of {sale.customer}"
        account = {"email": email, "password": password, "name": f"Customer {sale.customer}"}
        key = f"real-year-register-{sale.customer}"
        try:
            await self._api.send("POST", "/v1/register", account, key=key, expect=201)
            self.tokens[sale.customer] = await sign_in(self._api, email, password)
        except Deviated:
            return  # it is noted; what the customer would have bought will be noted too


async def sign_in(api: Api, email: str, password: str) -> str:
    """A session's token."""
    answer = await api.send("POST", "/v1/login", {"username": email, "password": password})
    return msgspec.json.decode(answer, type=Session).token
