"""Users brought over from the Express service."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import bcrypt
import pytest

from tradewind.users.service import ImportReport, ImportUnreadable, import_users
from users.conftest import Instance

pytestmark = pytest.mark.asyncio
OLD = "s3cret-pw-of-old"
HASH = bcrypt.hashpw(OLD.encode(), bcrypt.gensalt(4)).decode()


def _row(id_: object, name: object, **more: Any) -> dict[str, Any]:
    row = {"id": id_, "username": name, "password": HASH, "created_at": "2024-03-01 10:00:00+00"}
    return {**row, **more}


async def _import(users: Instance, source: Any) -> ImportReport:
    return await import_users(users.context, source, lambda _: None)


def _written(path: Path, rows: list[dict[str, Any]]) -> Path:
    lines = ["id,username,password,created_at"]
    lines += [",".join(str(row[name]) for name in row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


async def test_an_old_user_signs_in_and_is_rehashed(users: Instance, tmp_path: Path) -> None:
    """A bcrypt hash is accepted once and replaced by argon2id, by either route."""
    mark = uuid4().hex[:8]
    rows = [_row(f"{mark}1", f"ann-{mark}"), _row(f"{mark}2", f"Bob-{mark}@Example.com")]
    report = await _import(users, _written(tmp_path / "users.csv", rows))
    assert (report.added, report.already_here, report.refused) == (2, 0, ())
    me = await users.sign_in(f"ann-{mark}", OLD)
    seen = (await me.get("/v1/me")).json()
    assert (seen["username"], seen["email"]) == (f"ann-{mark}", None)
    assert seen["createdAt"] == "2024-03-01T10:00:00Z"
    old = {"username": f"bob-{mark}@example.com", "password": OLD}
    assert (await users.client().post("/login", json=old)).status_code == 200
    hashes = await users.rows(
        "SELECT password_hash FROM users WHERE imported_id = ANY ($1)",
        [f"{mark}1", f"{mark}2"],
    )
    assert all(row["password_hash"].startswith("$argon2id$") for row in hashes)
    assert (await users.client().post("/login", json=old)).status_code == 200


async def test_a_repeated_import_doubles_nothing(users: Instance, tmp_path: Path) -> None:
    """Again, in the other format, and after the user changed name and password: all are here."""
    mark = uuid4().hex[:8]
    rows = [_row(f"{mark}{n}", f"user-{n}-{mark}") for n in range(1200)]
    told: list[int] = []
    csv = _written(tmp_path / "users.csv", rows)
    report = await import_users(users.context, csv, told.append)
    assert (report.added, report.already_here) == (1200, 0)
    assert told == [500, 1000, 1200]
    me = await users.sign_in(f"user-7-{mark}", OLD)
    await me.patch("/v1/me", json={"username": f"seven-{mark}"})
    json_lines = tmp_path / "users.jsonl"
    json_lines.write_text("\n".join(json.dumps(row) for row in rows))
    for source in (csv, json_lines, rows):
        report = await _import(users, source)
        assert (report.added, report.already_here, report.refused) == (0, 1200, ())
    assert (await me.get("/v1/me")).json()["username"] == f"seven-{mark}"


async def test_refused_lines_are_reported(users: Instance, tmp_path: Path) -> None:
    """Each refused line is named with its number and reason; the good ones around it are taken."""
    mark = uuid4().hex[:8]
    taken = await users.register(username=f"Taken-{mark}")
    rows = [
        _row(f"{mark}1", f"good-{mark}"),
        _row(f"{mark}2", f"plain-{mark}", password="not a hash"),
        _row(f"{mark}3", taken["username"].lower()),
        _row(f"{mark}4", f"GOOD-{mark}"),
        _row("", f"noid-{mark}"),
        _row(f"{mark}6", ""),
        _row(f"{mark}7", f"when-{mark}", created_at="yesterday"),
        _row(f"{mark}8", f"a@{mark}"),
        _row(f"{mark}9", f"costly-{mark}", password="$2b$31$" + "a" * 53),
        _row(f"{mark}10", f"later-{mark}", created_at="2999-01-01"),
        _row(f"{mark}11", f"good-too-{mark}", created_at=""),
    ]
    path = _written(tmp_path / "users.csv", rows)
    with path.open("ab") as file:
        file.write(f"{mark}12,\xe9tude-{mark},{HASH},\n".encode("latin-1"))
        file.write(f'{mark}13,"unclosed-{mark},{HASH},\n'.encode())
        file.write(f"{mark}14,five-{mark},{HASH},,excess\n".encode())
        file.write(f"{mark}15,last-{mark},{HASH}\n".encode())
    report = await _import(users, path)
    assert report.added == 3
    reasons = {one.line: one.reason for one in report.refused}
    assert list(reasons) == [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15]
    expected = {
        3: "password: not a bcrypt hash",
        4: "username: taken by an account made here",
        5: f"username: taken by the account with id {mark}1",
        6: "id: missing",
        7: "username: missing",
        8: "created_at: not a date",
        9: "username: must be an e-mail address",
        10: "password: not a bcrypt hash",
        11: "created_at: before 1970 or in the future",
        13: "username: holds characters",
        14: "not readable as CSV",
        15: "more fields than columns",
    }
    assert all(reasons[line].startswith(reason) for line, reason in expected.items()), reasons
    assert HASH not in str(reasons)


async def test_json_lines_may_be_dirty_too(users: Instance, tmp_path: Path) -> None:
    """Broken lines are refused one by one; empty ones are nothing; numbers are ids."""
    mark = uuid4().hex[:8]
    number = int(mark, 16) + 10**12
    path = tmp_path / "users.jsonl"
    lines = [
        json.dumps(_row(number, f"json-{mark}", created_at=None)),
        "",
        "{broken",
        "[1]",
        json.dumps(_row(f"{mark}2", f"nul\0-{mark}")),
        json.dumps(_row(f"{mark}3", 17)),
        json.dumps(_row(f"{mark}4", "x" * 20_000)),
        json.dumps(_row(True, f"bool-{mark}")),
        json.dumps(_row(f"{mark}5", f"json5-{mark}")),
    ]
    path.write_text("\n".join(lines))
    report = await _import(users, path)
    assert report.added == 3  # a number for a name is that number's digits
    assert [one.line for one in report.refused] == [3, 4, 5, 7, 8]


async def test_what_is_no_table_is_refused_as_a_whole(users: Instance, tmp_path: Path) -> None:
    """A file without the columns is named, and nothing is imported."""
    path = tmp_path / "users.csv"
    for text in ("", "name,secret\nann,1\n", "\0\0\0"):
        path.write_text(text)
        with pytest.raises(ImportUnreadable):
            await _import(users, path)


async def test_the_erased_do_not_come_back(users: Instance) -> None:
    """Who erased the account here is left out by a repeated import."""
    mark = uuid4().hex[:8]
    rows = [_row(f"{mark}1", f"gone-{mark}")]
    await _import(users, rows)
    me = await users.sign_in(f"gone-{mark}", OLD)
    assert (await me.request("DELETE", "/v1/me", json={"password": OLD})).status_code == 204
    report = await _import(users, rows)
    assert (report.added, report.already_here) == (0, 0)
    assert "erased" in report.refused[0].reason
    assert not await users.rows("SELECT FROM users WHERE imported_id = $1", f"{mark}1")


async def test_times_and_ids_are_taken_over(users: Instance) -> None:
    """When the account was made is kept; the id is ours, of version 7."""
    mark = uuid4().hex[:8]
    await _import(users, [_row(f"{mark}1", f"when-{mark}", created_at="2020-02-29T12:00:00")])
    row = (
        await users.rows(
            "SELECT id, created_at, role FROM users WHERE imported_id = $1", f"{mark}1"
        )
    )[0]
    assert UUID(str(row["id"])).version == 7
    assert row["created_at"] == datetime(2020, 2, 29, 12, tzinfo=UTC)
    assert row["role"] == "customer"
