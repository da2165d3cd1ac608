"""Plain values as YAML for people; one rule: every string that could be read otherwise is quoted.

JSON's strings are YAML's (YAML 1.2, chapter 7.3.1), so that is how they are quoted.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

_PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./-]*")
_MEANT_OTHERWISE = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})


def write_yaml(values: Mapping[str, Any]) -> str:
    """Mappings, lists, strings, numbers and booleans, in blocks; mappings may be nested."""
    return "".join(f"{line}\n" for line in _mapping(values))


def _mapping(values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict | list) and value:
            yield f"{_scalar(name)}:"
            yield from (f"  {line}" for line in _block(value))
        else:
            yield f"{_scalar(name)}: {_scalar(value)}"


def _block(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from _mapping(cast("dict[str, Any]", value))
        return
    for item in value:
        if isinstance(item, dict):
            first, *rest = _mapping(cast("dict[str, Any]", item))
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
        else:
            yield f"- {_scalar(item)}"


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value.lower() not in _MEANT_OTHERWISE
        return value if plain else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)
