"""A letter as a MIME message; one rule: no header holds anything but what `email` has checked.

The Message-ID is made from the message's own id, so that a mail that had to be sent twice (the
process died between the server's yes and our note of it) can be recognised as the same.
"""

from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime

from tradewind.notifications.model.addresses import on_the_wire
from tradewind.notifications.model.delivery import Claimed, Mail
from tradewind.notifications.model.letters import Letter


def message_id(claimed: Claimed, domain: str) -> str:
    """The same for every try of one sending; a new one where staff send it again."""
    return f"<{claimed.id}.{claimed.resends}@{domain}>"


def build_mail(claimed: Claimed, letter: Letter, sender: Address) -> Mail:
    """The mail of a message whose address was found good."""
    recipient = on_the_wire(claimed.recipient)
    is_utf8 = not recipient.isascii()
    message = EmailMessage(policy=SMTPUTF8 if is_utf8 else SMTP)
    message["From"] = sender
    local, _, domain = recipient.rpartition("@")
    message["To"] = Address(username=local, domain=domain)
    message["Subject"] = letter.subject
    message["Date"] = format_datetime(claimed.queued_at)
    message["Message-ID"] = message_id(claimed, sender.domain)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.text, cte="quoted-printable")
    message.add_alternative(letter.html, subtype="html", cte="quoted-printable")
    return Mail(sender.addr_spec, recipient, is_utf8, message.as_bytes())
