"""The whole run; one rule: nothing is held to be right that the store did not show at the end."""

import asyncio
import resource
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp

from bench.real_year.audit_messages import audit_messages
from bench.real_year.audit_orders import audit_orders
from bench.real_year.audit_stock import audit_stock
from bench.real_year.client import Api
from bench.real_year.customers import Customers, sign_in
from bench.real_year.deviations import Deviations
from bench.real_year.figures import Figures
from bench.real_year.mornings import Mornings
from bench.real_year.plan import Plan
from bench.real_year.store_process import StoreFailed, StoreProcess
from bench.real_year.trading import Book, Trading

STAFF = "staff@real-year.example"
STAFF_PASSWORD = "seven lamps along the harbour wall"
HEALING_SECONDS = 60.0
"""After the last request the store has so long to finish by itself (promise P16)."""
TOLD_EVERY_SECONDS = 10.0
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DaySpeed:
    """How long a day's customers took, and what they bought."""

    date: str
    seconds: float
    purchases: int
    lines: int


@dataclass(slots=True)
class Outcome:
    """What a run came to."""

    book: Book = field(default_factory=Book)
    months: dict[str, Figures] = field(default_factory=dict[str, Figures])
    deviations: Deviations = field(default_factory=Deviations)
    retries: Counter[str] = field(default_factory=Counter[str])
    requests: int = 0
    days: list[DaySpeed] = field(default_factory=list[DaySpeed])
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Wall time by phase."""
    client_cpu_seconds: float = 0.0
    store_cpu_seconds: float = 0.0


async def run(plan: Plan, store: StoreProcess, at_once: int, tell: Tell) -> Outcome:
    """Starts the store, replays the plan, looks at everything, ends the store."""
    outcome = Outcome()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        await store.start()
        living = asyncio.create_task(_live(plan, store, at_once, tell, outcome))
        watching = asyncio.create_task(store.watch())
        done, _ = await asyncio.wait({living, watching}, return_when=asyncio.FIRST_COMPLETED)
        for task in {living, watching} - done:
            task.cancel()
        await asyncio.gather(*({living, watching} - done), return_exceptions=True)
        for task in done:
            task.result()
    finally:
        await store.end()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - children.ru_utime - children.ru_stime
        outcome.store_cpu_seconds = used
    return outcome


async def _live(
    plan: Plan, store: StoreProcess, at_once: int, tell: Tell, outcome: Outcome
) -> None:
    await store.command("staff", "add", STAFF, "--role", "admin", given=f"{STAFF_PASSWORD}\n")
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(store.base, connector=connector, timeout=timeout) as http:
        api = Api(http, outcome.deviations)
        staff_token = await sign_in(api, STAFF, STAFF_PASSWORD)
        customers = Customers(api)
        mornings = Mornings(store, api, staff_token, at_once)
        trading = Trading(api, customers, outcome.book, staff_token, at_once)
        began = time.monotonic()
        tell(await mornings.import_catalogue(plan))
        outcome.seconds["catalogue"] = time.monotonic() - began
        cpu = time.process_time()
        await _replay(plan, mornings, trading, customers, tell, outcome)
        outcome.client_cpu_seconds = time.process_time() - cpu
        await _audit(plan, api, customers, staff_token, tell, outcome)
        outcome.retries, outcome.requests = api.retries, api.requests
        began = time.monotonic()
        try:
            tell(await store.command("check"))
        except StoreFailed as failure:
            outcome.deviations.note(str(failure))
        outcome.seconds["check"] = time.monotonic() - began


async def _replay(
    plan: Plan,
    mornings: Mornings,
    trading: Trading,
    customers: Customers,
    tell: Tell,
    outcome: Outcome,
) -> None:
    started = told = time.monotonic()
    for number, day in enumerate(plan.days, 1):
        began = time.monotonic()
        async with asyncio.TaskGroup() as morning:
            for work in (
                _timed(outcome, "registering", customers.welcome(day.sales)),
                _timed(outcome, "price lists", mornings.import_prices(day)),
                _timed(outcome, "deliveries", mornings.receive(day)),
            ):
                morning.create_task(work)
        opened, before = time.monotonic(), len(outcome.book.purchases)
        await trading.trade(day)
        now, bought = time.monotonic(), outcome.book.purchases[before:]
        lines = sum(one.lines for one in bought)
        outcome.days.append(DaySpeed(day.date, now - opened, len(bought), lines))
        outcome.seconds["mornings"] += opened - began
        outcome.seconds["trading"] += now - opened
        if now - told >= TOLD_EVERY_SECONDS or number == len(plan.days):
            told = now
            placed = len(outcome.book.purchases)
            found = len(outcome.deviations.found)
            tell(
                f"{day.date}, day {number} of {len(plan.days)}: {placed:,} orders, "
                f"{now - started:.0f} s" + (f", {found} deviations" if found else "")
            )


async def _timed(outcome: Outcome, name: str, work: Awaitable[None]) -> None:
    began = time.monotonic()
    await work
    outcome.seconds[name] += time.monotonic() - began


async def _audit(
    plan: Plan,
    api: Api,
    customers: Customers,
    staff_token: str,
    tell: Tell,
    outcome: Outcome,
) -> None:
    """Looks at all there is; what is not settled yet has HEALING_SECONDS to become so."""
    book, ended = outcome.book, time.monotonic()
    for name in ("mails", "stock", "orders"):
        began = time.monotonic()
        while True:
            looked = time.monotonic()
            if name == "orders":
                orders = await audit_orders(api, book, staff_token)
                differences, outcome.months = orders.differences, dict(orders.months)
            elif name == "mails":
                differences = await audit_messages(api, book, customers, staff_token)
            else:
                differences = await audit_stock(api, plan, book, staff_token)
            if not differences or looked - ended > HEALING_SECONDS:
                break
            await asyncio.sleep(1)
        outcome.seconds[f"audit of {name}"] = time.monotonic() - began
        tell(f"{name}: {len(differences) or 'no'} differences after {looked - ended:.0f} s")
        for one in differences:
            outcome.deviations.note(one)
