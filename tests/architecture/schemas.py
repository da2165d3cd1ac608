"""What a schema is, read from PostgreSQL's catalogs; one rule: two alike schemas read alike.

`dump` writes one for people (pg_dump, without what says who and when), `read` gives all that can
tell two apart. The order of columns counts, the gaps that dropped ones leave do not. Parentheses
do not either: PostgreSQL keeps `(a AND b) AND c` as it was written, prints it so, and reads what it
printed as `a AND b AND c`.
"""

import os
import re
import subprocess
from typing import Any

import asyncpg

from tradewind.platform.database import Address
from tradewind.platform.embedded.programs import find_installed

PARTS = {
    "tables": """
        SELECT relname, relkind::text, relpersistence::text, reloptions, relrowsecurity
        FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
    """,
    "columns": """
        SELECT relname, attname,
            row_number() OVER (PARTITION BY relname ORDER BY attnum) AS position,
            format_type(atttypid, atttypmod) AS type, attnotnull, attidentity::text,
            attgenerated::text, pg_get_expr(adbin, adrelid) AS expression,
            CASE WHEN attcollation <> typcollation THEN attcollation::regcollation::text END
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        JOIN pg_type ON pg_type.oid = atttypid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE relnamespace = $1::regnamespace AND attnum > 0 AND NOT attisdropped
            AND relkind IN ('r', 'p', 'v', 'm')
    """,
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated,
            condeferrable, condeferred
        FROM pg_constraint WHERE connamespace = $1::regnamespace
    """,
    "indexes": """
        SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid), indisvalid, indisclustered
        FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
        WHERE relnamespace = $1::regnamespace
    """,
    "sequences": """
        SELECT relname, format_type(seqtypid, NULL) AS type, seqstart, seqincrement, seqmax, seqmin,
            seqcache, seqcycle
        FROM pg_sequence JOIN pg_class ON pg_class.oid = seqrelid
        WHERE relnamespace = $1::regnamespace
    """,
    "functions": """
        SELECT proname, pg_get_functiondef(oid) FROM pg_proc
        WHERE pronamespace = $1::regnamespace AND prokind IN ('f', 'p')
    """,
    "triggers": """
        SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(pg_trigger.oid) FROM pg_trigger
        JOIN pg_class ON pg_class.oid = tgrelid
        WHERE relnamespace = $1::regnamespace AND NOT tgisinternal
    """,
    "views": """
        SELECT relname, pg_get_viewdef(oid) FROM pg_class
        WHERE relnamespace = $1::regnamespace AND relkind IN ('v', 'm')
    """,
    "types": """
        SELECT typname, typtype::text, array(
            SELECT enumlabel::text FROM pg_enum WHERE enumtypid = pg_type.oid ORDER BY enumsortorder
        ) AS labels
        FROM pg_type WHERE typnamespace = $1::regnamespace AND typtype IN ('d', 'e', 'r')
    """,
}
# Made by the runner itself, before the first migration.
BOOKKEEPING = "schema_migrations"
# What only says who, when, or with which settings: psql's own commands, SET, and comments.
_NOISE = re.compile(
    r"^(?:--.*|SET .*|SELECT pg_catalog\.set_config.*|\\(?:un)?restrict .*)\n", re.MULTILINE
)
HEADER = """\
-- The schema of {service}, as its migrations and the platform's make it. Written by
-- `python -m tests.architecture.write_schemas`; never edited: write a migration instead.
"""


async def read(address: Address, schema: str) -> dict[str, list[tuple[Any, ...]]]:
    """All that makes a schema what it is, part by part, in a fixed order."""
    connection = await asyncpg.connect(**address.arguments(), timeout=10)
    try:
        # With it, what lies in the schema is named without it.
        await connection.execute(f"SET search_path = {schema}, public")
        found: dict[str, list[tuple[Any, ...]]] = {}
        for part, query in PARTS.items():
            rows = [tuple(map(_plain, row)) for row in await connection.fetch(query, schema)]
            ours = [row for row in rows if not str(row[0]).startswith(BOOKKEEPING)]
            found[part] = sorted(ours, key=repr)
        return found
    finally:
        await connection.close()


def _plain(value: object) -> object:
    return re.sub("[()]", "", value) if isinstance(value, str) else value


def dump(address: Address, schema: str) -> str:
    """The schema as SQL that makes it in whatever schema comes first in the search path."""
    program = find_installed() / "pg_dump"
    arguments = ["--schema-only", "--no-owner", "--no-privileges", "--no-comments"]
    done = subprocess.run(
        [program, *arguments, f"--schema={schema}", f"--exclude-table={schema}.{BOOKKEEPING}"],
        env=os.environ
        | {
            "PGHOST": address.host,
            "PGPORT": str(address.port),
            "PGUSER": address.user,
            "PGPASSWORD": address.password,
            "PGDATABASE": address.database,
        },
        check=True,
        capture_output=True,
        text=True,
    )
    text = _NOISE.sub("", done.stdout).replace(f"CREATE SCHEMA {schema};\n", "")
    text = re.sub(rf"\b{schema}\.(?=\w)", "", text)
    return HEADER.format(service=schema) + "\n" + re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
