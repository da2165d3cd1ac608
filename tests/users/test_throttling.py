"""Failed sign-ins are counted in the database, whatever comes at once and from wherever."""

import asyncio
from collections import Counter
from uuid import UUID

import pytest

from tradewind.users.actions.tidying import tidy_up
from tradewind.users.contract import PasswordResetRequested
from users.conftest import PASSWORD, Instance, NewInstance, mark

pytestmark = pytest.mark.asyncio
FEW = {
    "TRADEWIND_USERS_ACCOUNT_FAILURES_MOST": "10",
    "TRADEWIND_USERS_CLIENT_FAILURES_MOST": "25",
    "TRADEWIND_USERS_DELAY_MOST_SECONDS": "0.01",
}


async def _guess(
    users: Instance, name: str, times: int, path: str = "/v1/login", address: str | None = None
) -> Counter[int]:
    client = users.client(address)
    body = {"username": name, "password": "a wrong guess"}
    answers = await asyncio.gather(*(client.post(path, json=body) for _ in range(times)))
    return Counter(answer.status_code for answer in answers)


async def test_thirty_guesses_at_once_stay_within_the_limit(new_instance: NewInstance) -> None:
    """Two processes, thirty guesses at one account at once: as many are answered as may be."""
    one, two = await new_instance(FEW), await new_instance(FEW)
    account = await one.register()
    first, second = await asyncio.gather(
        _guess(one, account["email"], 15), _guess(two, account["email"], 15)
    )
    assert first + second == {401: 9, 429: 21}


async def test_two_processes_count_one_after_the_other(new_instance: NewInstance) -> None:
    """Two that decide on the same counter in the same moment do not lose each other's count."""
    one, two = await new_instance(FEW), await new_instance(FEW)
    account = await one.register()
    await _guess(one, account["email"], 1)
    subject = one.context.attempts.account_subject(UUID(account["id"]), "")
    hold = "SELECT FROM attempts WHERE subject = $1 FOR UPDATE"
    async with one.held(hold, subject, waiting=2):
        both = [asyncio.create_task(_guess(which, account["email"], 15)) for which in (one, two)]
    first, second = await asyncio.gather(*both)
    assert first + second == {401: 8, 429: 22}


async def test_beyond_the_limit_the_right_password_is_refused_too(
    new_instance: NewInstance,
) -> None:
    """429 with the time to come back, for right and wrong alike, by either name and route."""
    users = await new_instance(FEW)
    account = await users.register(username=f"Emil-{mark()}")
    await _guess(users, account["email"], 4)
    await _guess(users, account["username"], 20, "/login")
    for path in ("/v1/login", "/login"):
        answer = await users.client().post(
            path, json={"username": account["email"], "password": PASSWORD}
        )
        assert answer.status_code == 429
        assert 800 < int(answer.headers["retry-after"]) <= 901
    answer = await users.client().post(
        "/v1/login", json={"username": account["email"], "password": PASSWORD}
    )
    assert answer.json()["code"] == "too_many_attempts"


async def test_the_owner_is_not_locked_out_from_home(new_instance: NewInstance) -> None:
    """Who has a session from an address still gets in from there while strangers are stopped."""
    users = await new_instance(FEW)
    account = await users.register()
    await users.sign_in(account["email"], address="203.0.113.5")
    assert await _guess(users, account["email"], 30) == {401: 9, 429: 21}
    await users.sign_in(account["email"], address="203.0.113.5")


async def test_a_success_gives_the_account_back(new_instance: NewInstance) -> None:
    """Slips before the right password are forgotten."""
    users = await new_instance(FEW)
    account = await users.register()
    for _ in range(3):
        assert await _guess(users, account["email"], 5) == {401: 5}
        await users.sign_in(account["email"])


async def test_one_client_guesses_at_many_accounts(new_instance: NewInstance) -> None:
    """A client is stopped however many names it tries, known or not; others are not. A success of
    its own does not wash it clean.
    """
    users = await new_instance(FEW)
    account = await users.register()
    address = "198.51.100.7"
    for _ in range(2):
        assert await _guess(users, f"nobody-{mark()}-{_}", 9, address=address) == {401: 9}
    await users.sign_in(account["email"], address=address)
    results = await asyncio.gather(
        *(_guess(users, f"someone-{n}", 1, address=address) for n in range(10))
    )
    assert sum(results, Counter[int]()) == {401: 7, 429: 3}
    answer = await users.client(address).post(
        "/v1/login", json={"username": account["email"], "password": PASSWORD}
    )
    assert answer.status_code == 429
    await users.sign_in(account["email"], address="198.51.100.8")


async def test_forwarded_addresses_count_only_from_proxies(new_instance: NewInstance) -> None:
    """A client cannot make itself many by a header; behind a trusted proxy the real one counts."""
    users = await new_instance({**FEW, "TRADEWIND_TRUSTED_PROXIES": "172.16.0.0/12"})

    async def guess(peer: str, forwarded: str, name: str) -> int:
        client = users.client(peer)
        answer = await client.post(
            "/v1/login",
            json={"username": name, "password": "a wrong guess"},
            headers={"X-Forwarded-For": forwarded},
        )
        return answer.status_code

    forged = [await guess("198.51.100.20", f"203.0.113.{n}", f"forger-{n}") for n in range(26)]
    assert forged == [401] * 25 + [429]
    behind = [await guess("172.16.0.1", f"203.0.113.{n}", f"real-{n}") for n in range(30)]
    assert behind == [401] * 30


async def test_an_address_range_is_one_client(new_instance: NewInstance) -> None:
    """In IPv6 the addresses of one customer are counted together."""
    users = await new_instance(FEW)
    answers = [
        await _guess(users, f"v6-{n}", 1, address=f"2001:db8:77:1::{n:x}") for n in range(26)
    ]
    assert sum(answers, Counter[int]()) == {401: 25, 429: 1}


async def test_asking_again_for_the_password_counts(new_instance: NewInstance) -> None:
    """A stolen session cannot be used to guess the password either."""
    users = await new_instance(FEW)
    account = await users.register()
    customer = await users.sign_in(account["email"], address="203.0.113.9")
    body = {"currentPassword": "a wrong guess", "newPassword": "another long phrase"}
    answers = [await customer.post("/v1/me/password", json=body) for _ in range(12)]
    assert [answer.status_code for answer in answers] == [403] * 10 + [429] * 2
    assert answers[0].json()["code"] == "wrong_password"


async def test_a_reset_frees_the_account(new_instance: NewInstance) -> None:
    """Who proves to read the address gets in, whatever strangers guessed before."""
    users = await new_instance(FEW)
    await users.work()
    account = await users.register()
    await _guess(users, account["email"], 20)
    await users.client().post("/v1/password-resets", json={"email": account["email"]})
    event = await users.event(PasswordResetRequested, account["id"])
    body = {"token": event.reset_token, "newPassword": "another long phrase"}
    answer = await users.client().post("/v1/password-resets/confirm", json=body)
    assert answer.status_code == 204, answer.text
    await users.sign_in(account["email"], "another long phrase")


async def test_a_window_has_an_end(new_instance: NewInstance) -> None:
    """A full counter is empty again when its window is over, and is removed by and by."""
    users = await new_instance(FEW)
    account = await users.register()
    await _guess(users, account["email"], 20)
    async with users.database.transaction() as tx:
        # A minute ago, not just now: the clock of a process is not quite that of the database.
        await tx.execute("UPDATE attempts SET ends_at = now() - interval '1 minute'")
    await users.sign_in(account["email"])
    await tidy_up(users.context)
    subject = users.context.attempts.account_subject(UUID(account["id"]), "")
    assert not await users.rows("SELECT FROM attempts WHERE subject = $1", subject)


async def test_failures_wait_longer_and_longer(new_instance: NewInstance) -> None:
    """After a few slips each attempt is held back before its password is tried, up to the most."""
    users = await new_instance({"TRADEWIND_USERS_DELAY_MOST_SECONDS": "0.15"})
    account = await users.register()
    await _guess(users, account["email"], 40)
    loop = asyncio.get_running_loop()
    started = loop.time()
    await users.sign_in(account["email"])
    assert loop.time() - started >= 0.15
