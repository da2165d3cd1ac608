"""Amounts of money on the wire; one rule: integer minor units and a currency, never a float."""

from typing import Annotated

import msgspec

# ISO 4217 codes in use; from the standard's table A.1 (2024), without funds, metals and test codes.
CURRENCIES = frozenset(
    (
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP "
        "BYN BZD CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP "
        "GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES "
        "KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU "
        "MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON "
        "RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND "
        "TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW "
        "ZWG"
    ).split()
)
# Digits after the point where they are not two.
EXPONENTS: dict[str, int] = {
    **dict.fromkeys("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF".split(), 0),
    **dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3),
}

AMOUNT_MOST = 10**12
Currency = Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$", examples=["EUR"])]
Amount = Annotated[int, msgspec.Meta(ge=0, le=AMOUNT_MOST, examples=[3999])]


class Money(msgspec.Struct, frozen=True):
    """An amount that is not negative: minor units (ISO 4217 exponent) and a currency code."""

    amount: Amount
    currency: Currency

    def __post_init__(self) -> None:
        """Refuses codes that are no currency."""
        if self.currency not in CURRENCIES:
            raise ValueError(f"`{self.currency}` is not an ISO 4217 currency code")


def formatted(amount_minor: int, currency: str) -> str:
    """For people: `EUR 39.99`."""
    digits = EXPONENTS.get(currency, 2)
    whole, rest = divmod(abs(amount_minor), 10**digits)
    sign = "-" if amount_minor < 0 else ""
    return f"{currency} {sign}{whole:,}" + (f".{rest:0{digits}d}" if digits else "")
