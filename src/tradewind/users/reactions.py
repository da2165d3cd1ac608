"""What users does about what happened elsewhere; one rule: one table, REACTIONS."""

from collections.abc import Sequence
from typing import Any

from tradewind.platform.events import Event

# Nothing yet: accounts are changed by their owners and by staff, not by orders or mails.
REACTIONS: dict[type[Event], Sequence[Any]] = {}
