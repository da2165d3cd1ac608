"""The page at `/docs`; one rule: drawn from the schema alone, with no script and no outside file.

So it works offline, under the strictest content security policy, and is never out of date.
"""

from html import escape
from typing import Any

Json = dict[str, Any]

_METHODS = ("get", "post", "put", "patch", "delete")
_STYLE = """
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{max-width:60rem;margin:0 auto;padding:1rem}
h1{margin-bottom:0}h2{margin-top:2.5rem;border-bottom:1px solid #8886}
details{border:1px solid #8884;border-radius:6px;margin:.5rem 0;padding:.4rem .8rem}
summary{cursor:pointer;display:flex;gap:.8rem;flex-wrap:wrap;align-items:baseline}
code,pre{font:14px/1.5 ui-monospace,monospace}pre{overflow-x:auto;background:#8881;padding:.6rem}
.m{font-weight:700;min-width:4.5rem}.who{margin-left:auto;font-size:.85rem;opacity:.75}
table{border-collapse:collapse}td,th{text-align:left;padding:.15rem 1rem .15rem 0;
vertical-align:top}
"""


def draw(schema: Json) -> str:
    """The HTML page of an OpenAPI document: every route with method, caller, body and answers."""
    info = schema.get("info", {})
    groups: dict[str, list[str]] = {}
    for path, item in sorted(schema.get("paths", {}).items()):
        for method in _METHODS:
            if method in item:
                operation: Json = item[method]
                group = (operation.get("tags") or ["Routes"])[0]
                groups.setdefault(group, []).append(_operation(schema, path, method, operation))
    title = escape(str(info.get("title", "API")))
    sections = "".join(
        f"<section><h2>{escape(name)}</h2>{''.join(parts)}</section>"
        for name, parts in groups.items()
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{title}</h1><p>Version {escape(str(info.get('version', '')))}. "
        '<a href="/openapi.json">openapi.json</a>. Every failure is a problem document '
        "(RFC 9457): <code>type, title, status, code, detail, requestId, errors</code>.</p>"
        f"<main>{sections}</main></body></html>"
    )


def _operation(schema: Json, path: str, method: str, operation: Json) -> str:
    who = escape(str(operation.get("x-who", "anyone")))
    parts = [
        f'<details><summary><code class="m">{method.upper()}</code>',
        f'<code>{escape(path)}</code><span class="who">{who}</span></summary>',
    ]
    if text := operation.get("description") or operation.get("summary"):
        parts.append(f"<p>{escape(str(text))}</p>")
    if parameters := operation.get("parameters"):
        rows = "".join(_parameter(schema, parameter) for parameter in parameters)
        parts.append(f"<h4>Parameters</h4><table>{rows}</table>")
    if body := operation.get("requestBody"):
        parts.append(f"<h4>Body</h4>{_content(schema, body)}")
    parts.append("<h4>Answers</h4>")
    failures: list[str] = []
    for status, answer in sorted(operation.get("responses", {}).items()):
        if "$ref" in answer or status == "default":
            failures.append(status)
        else:
            shown = f"<p><code>{status}</code> {escape(str(answer.get('description', '')))}</p>"
            parts.append(shown + _content(schema, answer))
    parts.append(f"<p>Problems: <code>{escape(', '.join(failures))}</code></p></details>")
    return "".join(parts)


def _parameter(schema: Json, parameter: Json) -> str:
    needed = "required" if parameter.get("required") else ""
    shape = escape(_shape(schema, parameter.get("schema", {}), 0))
    return (
        f"<tr><td><code>{escape(str(parameter.get('name')))}</code></td>"
        f"<td>{escape(str(parameter.get('in')))} {needed}</td><td><code>{shape}</code></td>"
        f"<td>{escape(str(parameter.get('description', '')))}</td></tr>"
    )


def _content(schema: Json, holder: Json) -> str:
    shown: list[str] = []
    for media_type, content in holder.get("content", {}).items():
        shape = escape(_shape(schema, content.get("schema", {}), 0))
        shown.append(f"<pre>{escape(media_type)}\n{shape}</pre>")
    return "".join(shown)


def _shape(schema: Json, part: Json, depth: int) -> str:  # noqa: PLR0911  one a kind of schema
    """A schema in a few readable lines, as JSON with types in the place of values."""
    if depth > 6:  # noqa: PLR2004  a type that holds itself
        return "…"
    if reference := part.get("$ref"):
        name = str(reference).rsplit("/", 1)[-1]
        return _shape(schema, schema["components"]["schemas"].get(name, {}), depth + 1)
    for choice in ("oneOf", "anyOf"):
        if choice in part:
            return " | ".join(_shape(schema, option, depth + 1) for option in part[choice])
    if "enum" in part:
        return " | ".join(str(value) for value in part["enum"])
    if part.get("type") == "array":
        return f"[{_shape(schema, part.get('items', {}), depth + 1)}]"
    if "properties" in part:
        indent = "  " * (depth + 1)
        needed = set(part.get("required", ()))
        lines = [
            f"{indent}{name}{'' if name in needed else '?'}: {_shape(schema, inner, depth + 1)}"
            for name, inner in part["properties"].items()
        ]
        return "{\n" + ",\n".join(lines) + "\n" + "  " * depth + "}"
    kind: str | list[str] = part.get("type", "any")
    named = kind if isinstance(kind, str) else " | ".join(kind)
    return f"{named} ({part['format']})" if "format" in part else named
