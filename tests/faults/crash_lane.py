"""One lane of the crash tests: a process that forks others, each ended at one place.

It has a whole store ready but not connected. For each place it forks a process that connects, acts
and is ended there by `os._exit`; then it lets a second store, which never ends, do what a restarted
one does: asks with the same key, lets an hour pass, and looks at everything that is left.

Spoken to in lines of JSON: see `main`.
"""

import asyncio
import gc
import json
import logging
import os
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import msgspec
import structlog

from faults.crash_scenarios import AMOUNT, SCENARIOS, Answered, End, Run, Scenario
from faults.stillness import StillStore
from shop import SECRET, STAFF
from tradewind.compose import PACKAGES
from tradewind.platform.database import Address
from tradewind.platform.invariants import check_services
from tradewind.platform.migrate import address_of
from tradewind.users.service import add_staff

ENDED_HERE = 77
"""The exit code of a process that was ended where it should be."""
_KEPT = """
    SELECT coalesce(sum(captured_minor - coalesce((
        SELECT sum(amount_minor) FROM test_provider_refunds AS given
        WHERE given.attempt_id = book.attempt_id), 0)), 0)::bigint
    FROM test_provider_charges AS book WHERE order_id = ANY ($1::uuid[])
"""
Place = tuple[str, int]
"""What the probe was told, and for the how manyeth time."""
TIMELESS = {
    "TRADEWIND_ORDERS_CHARGE_SECONDS": "600",
    "TRADEWIND_USERS_SESSION_CACHE_SECONDS": "0",
}
"""How long something takes decides nothing: a process that was held up while its places were noted
would have asked once more, and no other one would ever come to that place."""


class Ending:
    """Ends this process at one place, or only notes what places there are."""

    def __init__(self) -> None:
        self.place: Place | None = None
        self.armed = False
        self.seen: Counter[str] = Counter()
        self.places: list[Place] = []

    def __call__(self, part: str, what: str) -> None:
        """The probe."""
        if not self.armed:
            return
        told = f"{part} {' '.join(what.split())}"
        self.seen[told] += 1
        place = (told, self.seen[told])
        self.places.append(place)
        if place == self.place:
            os._exit(ENDED_HERE)


class Lane:
    """The two stores of a lane, on a database of its own."""

    def __init__(self, owner: Address) -> None:
        self.owner = owner
        self.ending = Ending()
        self.loop = asyncio.new_event_loop()
        make = StillStore.make
        self.doomed = asyncio.run(make(owner, TIMELESS, probe=self.ending))
        self.lasting = asyncio.run(make(owner, TIMELESS))
        self.bearer = self.staff = self.sku = self.scarce = ""
        self.told: list[Answered] = []

    def begin(self) -> None:
        """Goods and people. A child hashes the passwords: threads do not survive a fork."""
        self.loop.run_until_complete(self.lasting.connect())
        tokens = json.loads(self._in_a_child(self._sign_in))
        self.bearer, self.staff = tokens["customer"], tokens["staff"]
        self.sku = self.loop.run_until_complete(self._make_product(80_000))
        gc.collect()
        gc.freeze()  # what is here stays: a forked process need not look at it, nor copy it

    async def _sign_in(self) -> dict[str, str]:
        await self.doomed.connect()
        ask, tokens = self.doomed.ask, dict[str, str]()
        await add_staff(self.doomed.context("users"), *STAFF, "admin")
        person = {"email": f"{uuid4().hex}@example.com", "password": STAFF[1]}
        assert (await ask("POST", "/v1/register", person))[0] == 201
        for role, name in (("customer", person["email"]), ("staff", STAFF[0])):
            login = {"username": name, "password": STAFF[1]}
            status, answer = await ask("POST", "/v1/login", login)
            assert status == 200, answer
            tokens[role] = json.loads(answer)["token"]
        return tokens

    async def _make_product(self, on_hand: int) -> str:
        sku = uuid4().hex[:12]
        body = {
            "title": f"Kettle {sku}",
            "price": {"amount": AMOUNT, "currency": "EUR"},
            "sku": sku,
            "status": "active",
            "onHand": on_hand,
        }
        headers = {"authorization": f"Bearer {self.staff}"}
        status, answer = await self.lasting.ask("POST", "/v1/products", body, **headers)
        assert status == 201, answer
        await self.lasting.drain()
        return sku

    def _in_a_child(self, act: Any) -> bytes:
        """Runs it in a process of its own; what it gives, as JSON, or what it said till its end."""
        reads, writes = os.pipe()
        child = os.fork()
        if not child:
            os.close(reads)
            try:
                outcome = asyncio.new_event_loop().run_until_complete(act())
                os.write(writes, json.dumps(outcome).encode())
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        os.close(writes)
        with os.fdopen(reads, "rb") as pipe:
            said = pipe.read()
        self.exit_code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return said

    def act(
        self, scenario: Scenario, run: Run, place: Place | None
    ) -> tuple[list[Place], Answered | None]:
        """A process that acts and is ended at the place; its places, and what it had answered."""
        reads, writes = os.pipe()

        async def act() -> list[Place]:
            os.close(reads)
            await self.doomed.connect(*scenario.services)
            self.ending.place, self.ending.armed = place, True
            status, body = await scenario.ask(self.doomed, run)
            os.write(writes, json.dumps([status, body.decode()]).encode())
            await scenario.after(self.doomed, run)
            return self.ending.places

        said = self._in_a_child(act)
        os.close(writes)
        with os.fdopen(reads, "rb") as pipe:
            told = pipe.read()
        places = [(one[0], one[1]) for one in json.loads(said)] if said else []
        if not told:
            return places, None
        status, body = json.loads(told)
        return places, (status, body.encode())

    def new_run(self, scenario: Scenario) -> tuple[Run, dict[str, int]]:
        """A run that is prepared, and what was on hand before it."""
        wait = self.loop.run_until_complete
        scarce = wait(self._make_product(1)) if scenario.scarce else ""
        run = Run(self.sku, scarce, self.bearer, self.staff)
        before = wait(self._on_hand(run))
        wait(scenario.prepare(self.lasting, run))
        if scenario.half_done is not None:
            half = Scenario(SCENARIOS["a purchase in one request"].ask, scenario.end)
            self.act(half, run, (scenario.half_done, 1))
            assert self.exit_code == ENDED_HERE
        return run, before

    def places(self, name: str) -> list[Place]:
        """Every place at which the scenario's process can be ended."""
        scenario = SCENARIOS[name]
        run, before = self.new_run(scenario)
        places, answered = self.act(scenario, run, None)
        assert self.exit_code == 0, "it did not come to its end"
        assert len(set(places)) == len(places) > 0
        self.loop.run_until_complete(self._verify(scenario, run, answered, before, "retry"))
        return places

    def crash(self, name: str, place: Place, order: str) -> str:
        """One process ended at one place; what is wrong afterwards, or nothing."""
        scenario = SCENARIOS[name]
        run, before = self.new_run(scenario)
        _, answered = self.act(scenario, run, place)
        if self.exit_code != ENDED_HERE:
            return f"it was not ended there: exit code {self.exit_code}"
        try:
            self.loop.run_until_complete(self._verify(scenario, run, answered, before, order))
        except AssertionError as error:
            return str(error) or repr(error)
        return ""

    async def _on_hand(self, run: Run) -> dict[str, int]:
        rows = await self.lasting.quietly(
            "products",
            "SELECT sku, on_hand, reserved FROM stock WHERE sku = ANY ($1::text[])",
            [run.sku, run.scarce],
        )
        return {row["sku"]: row["on_hand"] for row in rows}

    async def _verify(
        self,
        scenario: Scenario,
        run: Run,
        answered: Answered | None,
        before: dict[str, int],
        order: str,
    ) -> None:
        """What a restarted store does, and what must be true then."""
        answers = [answered] if answered is not None else []
        if order == "retry":
            at_once = await scenario.ask(self.lasting, run)
            if not _comes_later(at_once):
                answers.append(at_once)
        await self.lasting.settle()
        for _ in range(2):
            answers.append(await scenario.ask(self.lasting, run))
            await self.lasting.settle()
        assert len(set(answers)) == 1, f"the same key had several answers: {answers}"
        assert answers[0][0] == scenario.end.status, answers[0]
        found, expected = await self._found(run, before), _expected(scenario.end)
        wrong = {name: found[name] for name in expected if found[name] != expected[name]}
        assert not wrong, f"{wrong} instead of {expected}"

    async def _found(self, run: Run, before: dict[str, int]) -> dict[str, Any]:
        ask = self.lasting.quietly
        orders = await ask(
            "orders",
            "SELECT id, status, payment_status, fulfillment_status FROM orders WHERE email = $1",
            run.email,
        )
        ids = [row["id"] for row in orders]
        attempts = await ask(
            "orders",
            "SELECT DISTINCT order_id FROM test_provider_charges WHERE created_at > "
            "now() - interval '1 day' AND NOT EXISTS (SELECT FROM orders WHERE id = order_id)",
        )
        mails = await ask(
            "notifications", "SELECT kind FROM messages WHERE recipient = $1", run.email
        )
        entries = await ask(
            "notifications", "SELECT kind FROM entries WHERE order_id = ANY ($1::uuid[])", ids
        )
        levels = await ask(
            "products",
            "SELECT sku, on_hand, reserved FROM stock WHERE sku = ANY ($1::text[])",
            [run.sku, run.scarce],
        )
        return {
            "orders": tuple(tuple(row)[1:] for row in orders),
            "kept": (await ask("orders", _KEPT, ids))[0][0],
            "kept for no order": (await ask("orders", _KEPT, [row[0] for row in attempts]))[0][0],
            "mails": dict(Counter(row[0] for row in mails)),
            "entries": dict(Counter(row[0] for row in entries)),
            "on hand": sum(row["on_hand"] - before[row["sku"]] for row in levels),
            "reserved": sum(row["reserved"] for row in levels),
            "left undone": await self.lasting.undone(),
        }

    async def broken(self) -> list[str]:
        """The invariants that do not hold now."""
        addresses = {name: address_of(self.owner, SECRET, name) for name in PACKAGES}
        _, broken = await check_services(addresses, PACKAGES)
        return [f"{one.service}: {one.name} {one.rows}" for one in broken]


def _comes_later(answer: Answered) -> bool:
    """Whether an answer says that the same request may be sent again."""
    status, body = answer
    return status == 503 or (
        status == 409 and json.loads(body)["code"] == "idempotency_key_in_progress"
    )


def _expected(end: End) -> dict[str, Any]:
    return {
        "orders": end.orders,
        "kept": end.kept,
        "kept for no order": 0,
        "mails": dict(end.mails),
        "entries": dict(end.entries),
        "on hand": end.on_hand,
        "reserved": 0,
        "left undone": {},
    }


def _commands() -> Iterator[dict[str, Any]]:
    for line in sys.stdin:
        yield json.loads(line)


def main() -> None:
    """Reads commands, one a line: `begin` with an address, `places`, `crash`, `broken`."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable()
    lane: Lane | None = None
    for command in _commands():
        answer: Any
        try:
            if command["do"] == "begin":
                lane = Lane(msgspec.convert(command["owner"], Address))
                lane.begin()
                answer = "ready"
            elif lane is None:
                raise RuntimeError("begin first")
            elif command["do"] == "places":
                answer = lane.places(command["scenario"])
            elif command["do"] == "broken":
                answer = lane.loop.run_until_complete(lane.broken())
            else:
                told, count = command["place"]
                answer = lane.crash(command["scenario"], (told, count), command["order"])
        except Exception:
            answer = {"failed": traceback.format_exc()}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
