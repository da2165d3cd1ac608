"""The topology as a picture in text; one rule: it is drawn from the topology, never by hand."""

from collections.abc import Iterator, Mapping

from tradewind.topology.services import ELSEWHERE, SERVICES, Service

BEGIN, END = "<!-- topology -->", "<!-- /topology -->"


class NoMarks(Exception):
    """A document has no place for the diagram."""


def render_diagram(services: Mapping[str, Service] = SERVICES) -> str:
    """A Mermaid flow chart, and the same in a table for those who cannot see it."""
    return "\n".join([*_chart(services), "", *_table(services)]) + "\n"


def put_diagram(document: str, diagram: str) -> str:
    """The document with the diagram between its two marks. Raises NoMarks where there are none."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise NoMarks(f"{BEGIN} and {END} are not both there")
    return f"{before}{BEGIN}\n{diagram}{END}{after}"


def _chart(services: Mapping[str, Service]) -> Iterator[str]:
    yield "```mermaid"
    yield "flowchart TB"
    yield '    clients(["clients"]) --> haproxy{{"HAProxy"}}'
    for one in services.values():
        yield f'    haproxy --> {one.name}["{one.name}, {one.instances} instances"]'
    for one in services.values():
        for other in _in_order(one.calls, services):
            yield f"    {one.name} -- calls --> {other}"
    yield '    broker[["RabbitMQ, exchange of events"]]'
    for one in services.values():
        if any(one.name in other.hears for other in services.values()):
            yield f"    {one.name} -. publishes .-> broker"
    for one in services.values():
        if one.hears:
            yield f"    broker -. {one.queue} .-> {one.name}"
    yield '    primary[("PostgreSQL, primary")] -- streams --> replica[("replica")]'
    yield '    sessions[("Redis, sessions")]'
    yield '    cache[("Redis, cache")]'
    for one in services.values():
        yield f"    {one.name} --- primary & sessions & cache"
        if one.reads_replica:
            yield f"    {one.name} --- replica"
    yield "```"


def _table(services: Mapping[str, Service]) -> Iterator[str]:
    yield "| service | serves | calls | hears events of | reads the replica |"
    yield "|---|---|---|---|---|"
    for one in services.values():
        paths = " ".join(f"`{path}`" for path in one.serves)
        if one.name == ELSEWHERE:
            paths += " and what is nobody's own"
        calls = ", ".join(_in_order(one.calls, services)) or "nobody"
        hears = ", ".join(_in_order(one.hears, services)) or "nobody"
        reads = "yes" if one.reads_replica else "no"
        yield f"| {one.name} | {paths} | {calls} | {hears} | {reads} |"


def _in_order(names: frozenset[str], services: Mapping[str, Service]) -> list[str]:
    return [name for name in services if name in names]
