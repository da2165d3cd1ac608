"""Mails in words; one rule: templates see facts through `plain`, and HTML escapes all of them.

Every kind has `<kind>.txt` (with the subject as its block `subject`) and `<kind>.html`. Links start
with the configured public URL, never with what a request said of itself.
"""

from typing import Any, Final
from urllib.parse import quote

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from tradewind.notifications.model.facts import Facts, greeting_name, plain
from tradewind.notifications.model.kinds import MAILED
from tradewind.platform.money import formatted

_SUBJECT_LONGEST: Final = 200


class Letter(msgspec.Struct, frozen=True):
    """A mail's subject, its text and its HTML."""

    subject: str
    text: str
    html: str


class Letters:
    """All templates, compiled once."""

    def __init__(self, *, shop_name: str, public_url: str) -> None:
        self._shop_name = shop_name
        self._public_url = public_url.rstrip("/")
        loader = PackageLoader("tradewind.notifications")
        text = _environment(loader, is_html=False)
        html = _environment(loader, is_html=True)
        self._texts = {kind: text.get_template(f"{kind}.txt") for kind in MAILED}
        self._htmls = {kind: html.get_template(f"{kind}.html") for kind in MAILED}

    def write(self, kind: str, facts: Facts) -> Letter:
        """The letter of this kind about these facts."""
        text, html = self._texts[kind], self._htmls[kind]
        values = self._values(facts)
        subject = " ".join(_block(text, "subject", values).split())
        # The plain text escapes nothing: it is no HTML, and nobody may treat it as such.
        return Letter(
            subject[:_SUBJECT_LONGEST], text.render(values).strip() + "\n", html.render(values)
        )

    def _values(self, facts: Facts) -> dict[str, Any]:
        url = self._public_url
        values = msgspec.structs.asdict(facts)
        values["name"] = greeting_name(facts.name)
        if facts.order_id is not None:
            values["order_url"] = f"{url}/orders/{facts.order_id}{_token(facts.order_token)}"
        if facts.verification_token is not None:
            values["verify_url"] = f"{url}/verify-email{_token(facts.verification_token)}"
        if facts.reset_token is not None:
            values["reset_url"] = f"{url}/reset-password{_token(facts.reset_token)}"
        return {
            **{name: value for name, value in values.items() if value is not None},
            "forgot_url": f"{url}/forgot-password",
            "shop_name": self._shop_name,
            "shop_url": url,
        }


def _environment(loader: PackageLoader, *, is_html: bool) -> Environment:
    environment = Environment(
        loader=loader,
        autoescape=is_html,  # noqa: S701  a plain text is no HTML; escaping would spoil it
        undefined=StrictUndefined,
        finalize=_finalized,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: Any = environment.filters  # typed by jinja2 as only its own
    filters["amount"] = formatted
    return environment


def _finalized(value: Any) -> Any:
    """Every value that a template shows goes through here, so that none can be forgotten."""
    if value is None:
        raise ValueError("a template shows a value that is not there")
    return plain(value) if type(value) is str else value


def _block(template: Template, name: str, values: dict[str, Any]) -> str:
    return "".join(template.blocks[name](template.new_context(values)))


def _token(token: str | None) -> str:
    return f"?token={quote(token, safe='*')}" if token else ""
