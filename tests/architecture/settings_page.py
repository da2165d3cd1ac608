"""docs/settings.md, made from the settings structs; one rule: a field without a sentence fails.

Written by `.venv/bin/python -m tests.architecture.settings_page`.
"""

import ast
import inspect
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from architecture.tree import ROOT
from tradewind.compose import SETTINGS
from tradewind.platform.config import PREFIX

PAGE = ROOT / "docs" / "settings.md"
HEAD = """\
# Settings

Written by `.venv/bin/python -m tests.architecture.settings_page` from the structs in the code; a
test holds the two together.

A setting comes from its variable, else from `tradewind.toml` in the working directory, else from
its default. The platform's are top-level keys there, a service's stand in its table:

```toml
port = 8080

[orders]
cart_days = 14
```

Lists are separated by commas in a variable. Every wrong, misspelt or unknown setting is named at
start, all of them at once, and nothing is started. `tradewind doctor` shows what is not the
default.
"""
COLUMNS = """\
| variable | takes | default | what it does |
|---|---|---|---|"""


def field_sentences(struct: type[msgspec.Struct]) -> dict[str, str]:
    """What the struct says under each field."""
    body = ast.parse(textwrap.dedent(inspect.getsource(struct))).body[0]
    assert isinstance(body, ast.ClassDef)
    told: dict[str, str] = {}
    for one, after in zip(body.body, [*body.body[1:], None], strict=True):
        if isinstance(one, ast.AnnAssign) and isinstance(after, ast.Expr):
            text = ast.literal_eval(after.value)
            told[ast.unparse(one.target)] = " ".join(str(text).split())
    return told


def takes(hint: Any) -> str:
    """What may be given, in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return f"{takes(arguments[0])}{_bounds(arguments[1])}"
    if origin is tuple:
        return f"list of {takes(arguments[0])}s"
    if type(None) in arguments:
        return takes(next(one for one in arguments if one is not type(None)))
    if arguments:
        return " or ".join(f"`{one}`" for one in arguments)
    return {bool: "yes or no", int: "integer", float: "number", str: "text"}[hint]


def _bounds(meta: msgspec.Meta) -> str:
    least, most = meta.ge, meta.le
    if least is not None and most is not None:
        return f", {least:,} to {most:,}"
    if least is not None:
        return f", at least {least:,}"
    return f", more than {meta.gt:,}" if meta.gt is not None else ""


def default_of(field: Any) -> str:
    """The default as it would be written in a variable."""
    value = field.default
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return "`yes`" if value else "`no`"
    return f"`{value}`"


def draw(structs: Mapping[str, type[msgspec.Struct]]) -> str:
    """The whole page."""
    parts = [HEAD]
    for section, struct in structs.items():
        told, hints = field_sentences(struct), get_type_hints(struct, include_extras=True)
        prefix = f"{PREFIX}{section.upper()}_" if section else PREFIX
        rows = [
            f"| `{prefix}{one.name.upper()}` | {takes(hints[one.name])} | {default_of(one)} "
            f"| {told[one.name]} |"
            for one in msgspec.structs.fields(struct)
        ]
        title = section.capitalize() or "Platform"
        table = "\n".join([COLUMNS, *rows])
        parts.append(f"## {title}\n\n{table}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(draw(SETTINGS))
