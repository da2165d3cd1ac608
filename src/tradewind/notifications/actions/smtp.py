"""Mail servers by aiosmtplib; one rule: every wait has an end, and every answer a meaning.

A refused recipient or content (5xx) is for ever. What the server says of itself, or leaves unsaid
(sign-in, sender, a time-out, a lost connection), is its own trouble and may pass.
"""

import asyncio
import ssl
from typing import Final

import aiosmtplib

from tradewind.notifications.model.delivery import (
    CarrierDown,
    Deferred,
    Delivered,
    Mail,
    Outcome,
    Refused,
)
from tradewind.notifications.model.facts import plain
from tradewind.notifications.model.settings import NotificationsSettings, SmtpServer

_REASON_LONGEST: Final = 300
_PERMANENT: Final = 500
_CLOSING: Final = 421
_GOODBYE_SECONDS: Final = 2.0
_START_TLS: Final = {"implicit": False, "required": True, "offered": None, "never": False}


class SmtpConnection:
    """One connection, for one mail after another."""

    def __init__(self, client: aiosmtplib.SMTP, send_seconds: float) -> None:
        self._client = client
        self._send_seconds = send_seconds

    async def send(self, mail: Mail) -> Outcome:
        """Hands one mail over, within the time for one."""
        try:
            async with asyncio.timeout(self._send_seconds):
                await self._client.sendmail(
                    mail.sender,
                    [mail.recipient],
                    mail.content,
                    mail_options=["SMTPUTF8"] if mail.is_utf8 else [],
                )
        except aiosmtplib.SMTPRecipientsRefused as error:
            return _answered(error.recipients[0].code, error.recipients[0].message)
        except aiosmtplib.SMTPDataError as error:
            return _answered(error.code, error.message)
        except (aiosmtplib.SMTPNotSupported, ValueError) as error:
            return Refused(_reason(error))  # this server or protocol cannot carry it
        except (aiosmtplib.SMTPException, OSError) as error:
            # Whatever it still says, we would take it for the answer to something else.
            self._client.close()
            return Deferred(_reason(error), is_server=True)
        return Delivered()

    async def close(self) -> None:
        """Says goodbye, or just goes where nobody listens."""
        try:
            async with asyncio.timeout(_GOODBYE_SECONDS):
                if self._client.is_connected:
                    await self._client.quit()
        except (aiosmtplib.SMTPException, OSError):
            self._client.close()


class SmtpCarrier:
    """The way to one mail server."""

    def __init__(
        self, server: SmtpServer, settings: NotificationsSettings, *, hostname: str
    ) -> None:
        """`hostname` is how we greet. Raises OSError where `smtp_ca_file` cannot be read."""
        self._server = server
        self._hostname = hostname
        self._connect_seconds = settings.smtp_connect_seconds
        self._send_seconds = settings.smtp_send_seconds
        self._tls: ssl.SSLContext | None = None
        if server.tls != "never":
            self._tls = ssl.create_default_context()
            if settings.smtp_ca_file is not None:
                self._tls.load_verify_locations(cafile=settings.smtp_ca_file)

    async def connect(self) -> SmtpConnection:
        """Connects, secures the connection and signs in; raises CarrierDown."""
        server = self._server
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.user,
            password=server.password,
            local_hostname=self._hostname,
            use_tls=server.tls == "implicit",
            start_tls=_START_TLS[server.tls],
            tls_context=self._tls,
            timeout=self._connect_seconds,
        )
        try:
            async with asyncio.timeout(self._connect_seconds):
                await client.connect()
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise CarrierDown(_reason(error)) from error
        return SmtpConnection(client, self._send_seconds)


def _answered(code: int, text: str) -> Outcome:
    reason = plain(f"{code} {text}")[:_REASON_LONGEST]
    if code == _CLOSING:
        return Deferred(reason, is_server=True)
    if code >= _PERMANENT:
        return Refused(reason)
    return Deferred(reason, is_server=False)


def _reason(error: Exception) -> str:
    """What to tell staff; an SMTP answer says more than its exception's name."""
    if isinstance(error, aiosmtplib.SMTPResponseException):
        text = f"{error.code} {error.message}"
    else:
        text = str(error) or ("timed out" if isinstance(error, TimeoutError) else repr(error))
    return plain(text)[:_REASON_LONGEST]
