"""What can be set about notifications; one rule: a wrong value is refused at start, by name."""

from email.headerregistry import Address
from email.utils import getaddresses
from typing import Annotated, Final, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from tradewind.notifications.model.addresses import address_fault
from tradewind.platform.config import Positive, Seconds

Tls = Literal["implicit", "required", "offered", "never"]
"""`implicit`: from the first byte (smtps). The others are STARTTLS: insisted on, taken where the
server offers it, not used."""

_SCHEMES: Final = ("smtp", "smtps")


class SmtpServer(msgspec.Struct, frozen=True):
    """Where mails are handed over."""

    host: str
    port: int
    user: str | None
    password: str | None
    tls: Tls

    def __repr__(self) -> str:
        """Without the password, so that no log can hold it."""
        return f"SmtpServer({self.host!r}, {self.port}, tls={self.tls!r})"


class NotificationsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings `TRADEWIND_NOTIFICATIONS_…`."""

    smtp_url: str | None = None
    """`smtp://user:password@host:587` or `smtps://…`; None keeps mails in the store, for staff to
    read. STARTTLS is required with a password and taken where offered without;
    `?starttls=required|offered|never` says otherwise."""
    smtp_ca_file: str | None = None
    """A certificate authority of your own for the mail server (PEM)."""
    smtp_connections: Annotated[int, msgspec.Meta(ge=1, le=20)] = 2
    """How many mails a process sends at a time."""
    smtp_connect_seconds: Seconds = 10.0
    """How long the mail server may take to answer at all."""
    smtp_send_seconds: Seconds = 20.0
    """How long one mail may take altogether."""
    give_up_hours: Positive = 24
    """How long a mail is tried again."""
    mail_from: str = "Tradewind <no-reply@localhost>"
    """The sender of every mail."""
    shop_name: Annotated[str, msgspec.Meta(min_length=1, max_length=80)] = "Tradewind"
    """As mails name the shop."""
    streams_most: Positive = 1000
    """Open event streams a process takes."""
    streams_per_user_most: Positive = 10
    """And of one user."""
    heartbeat_seconds: Seconds = 15.0
    """A quiet stream says so often that it lives, and looks for what it may have missed."""
    keep_read_days: Positive | None = None
    """Entries of the inbox that were read so long ago are deleted; None keeps them."""

    def __post_init__(self) -> None:
        """Refuses what could only fail later."""
        if self.smtp_url is not None:
            parse_smtp_url(self.smtp_url)
        parse_sender(self.mail_from)
        if not self.shop_name.isprintable():
            raise ValueError("shop_name must be one line of printable characters")


def parse_smtp_url(url: str) -> SmtpServer:
    """The server in a `smtp://` or `smtps://` URL; raises ValueError without repeating secrets."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError("smtp_url: the port is not a number up to 65535") from error
    if parts.scheme not in _SCHEMES or not parts.hostname or parts.path not in ("", "/"):
        raise ValueError("smtp_url must look like smtp://user:password@host:587 or smtps://host")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    wanted = options.pop("starttls", None)
    if options:
        raise ValueError(f"smtp_url: unknown option {min(options)!r}")
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    if (user is None) != (password is None):
        raise ValueError("smtp_url: give both a user and a password, or neither")
    tls = _tls(parts.scheme, wanted, has_password=password is not None)
    usual = 465 if tls == "implicit" else (587 if user else 25)
    return SmtpServer(parts.hostname, port or usual, user, password, tls)


def _tls(scheme: str, wanted: str | None, *, has_password: bool) -> Tls:
    if scheme == "smtps":
        if wanted is not None:
            raise ValueError("smtp_url: smtps is encrypted from the start and takes no starttls")
        return "implicit"
    match wanted:
        case "required" | "offered" | "never":
            return wanted
        case None:
            return "required" if has_password else "offered"
        case _:
            raise ValueError("smtp_url: starttls must be required, offered or never")


def parse_sender(mail_from: str) -> Address:
    """The `Name <address>` that mails come from; raises ValueError."""
    found = getaddresses([mail_from])
    name, address = found[0] if len(found) == 1 else ("", "")
    if address_fault(address) is not None or not mail_from.isprintable():
        raise ValueError("mail_from must be an address like `Tradewind <shop@example.com>`")
    return Address(display_name=name, addr_spec=address)
