"""Logs; one rule: one structured line an occurrence, with its request id, and no secret in it.

Of what happens to everybody while something is down, one line in a while (`Seldom`).
"""

import logging
import sys
import time
from typing import Any, TextIO

import structlog

SELDOM_SECONDS = 5.0


class Seldom:
    """One line in a while, with how many there were: an outage is no reason to fill a disk."""

    def __init__(self) -> None:
        self._said_at = float("-inf")
        self._unsaid = 0

    def due(self) -> int:
        """How many to tell of now, this one among them; 0 where it is too soon for a line."""
        self._unsaid += 1
        now = time.monotonic()
        if now - self._said_at < SELDOM_SECONDS:
            return 0
        self._said_at, many, self._unsaid = now, self._unsaid, 0
        return many


def configure_logging(level: str, stream: TextIO | None = None) -> None:
    """JSON lines to a stream (standard error if not given), or coloured text to a terminal."""
    target = stream or sys.stderr
    chosen = logging.getLevelNamesMapping().get(level.upper())
    if chosen is None:
        raise ValueError(f"unknown log level {level!r}; use debug, info, warning or error")
    # Plain tracebacks: the richer ones show local variables, and with them tokens and addresses.
    renderer: Any = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if target.isatty()
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if target.isatty() else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(chosen),
        logger_factory=structlog.PrintLoggerFactory(target),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=max(chosen, logging.WARNING), stream=target, force=True)
    # Its pools heal by themselves and tell of every try with a traceback; we tell once, in a line.
    logging.getLogger("asyncpg").setLevel(logging.ERROR)
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # the same, of the broker
    logging.getLogger("aio_pika").setLevel(logging.CRITICAL)
