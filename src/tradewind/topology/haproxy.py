"""HAProxy's configuration; one rule: a pure function of the topology and one deployment's values.

Written for HAProxy 2.6. What it does, and why, stands beside each part; what its parser makes of
odd framing was found out by raw sockets, and stands in `tests/topology/test_framing.py`.
"""

from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files

from tradewind.topology.balancing import Balancing, Discovered, Instance
from tradewind.topology.refusals import REQUEST_ID, render_errors, render_nothing_here
from tradewind.topology.services import ELSEWHERE, SERVICES, Service

FOREIGN_HEADERS = (
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "client-ip",
    "remote-user",
    "x-remote-user",
    "x-original-url",
    "x-rewrite-url",
    "proxy",
    "upgrade",
)
"""Headers by which a client could say who it is, or that it means another address."""
FOREIGN_PREFIXES = (
    "x-forwarded-",
    "x-original-",
    "x-user-",
    "x-auth-",
    "x-authenticated-",
    "x-client-cert",
    "x-ssl-",
    "x-internal-",
    "x-service-",
    "x-tradewind-",
    "tradewind-",
)

GIVE_UP = "give_up.lua"
"""The script beside this module that the configuration loads."""

_HEADERS_MOST = 200
_REWRITE_BYTES = 4_096
_WAITED_FOR_BYTES = 32 * 1024
_INDENT = "    "


def render_haproxy(values: Balancing, services: Mapping[str, Service] = SERVICES) -> str:
    """The whole configuration file."""
    parts: list[tuple[str, Iterable[str]]] = [
        ("# Written by tests/architecture/write_topology.py from src/tradewind/topology.", ()),
        ("global", _global(values)),
        ("defaults everything", _defaults(values)),
    ]
    if values.resolver is not None:
        parts.append(("resolvers names", _resolvers(values.resolver)))
    parts.append(("frontend public from everything", _frontend(values, services)))
    parts.append(("defaults services from everything", _choice(values)))
    parts += [
        (f"backend {one.name} from services", _backend(values, one, values.instances[one.name]))
        for one in services.values()
    ]
    if values.figures is not None:
        parts.append(("frontend figures from everything", _figures(values.figures)))
    return "\n".join(_section(title, lines) for title, lines in parts)


def read_script() -> str:
    """The script that the configuration loads."""
    return files("tradewind.topology").joinpath(GIVE_UP).read_text()


def _section(title: str, lines: Iterable[str]) -> str:
    body = "".join(f"{_INDENT}{line}\n" if line else "\n" for line in lines)
    return f"{title}\n{body}"


def _global(values: Balancing) -> Iterator[str]:
    yield "log stdout format raw daemon notice"
    yield f"maxconn {values.connections_most}"
    yield f"hard-stop-after {_time(values.leave_seconds)}"
    yield "# What waits at an instance that is down is given up by a script: it says why."
    yield f"lua-load {values.script}"
    if values.threads is not None:
        yield f"nbthread {values.threads}"
    if values.control_socket is not None:
        yield f"stats socket {values.control_socket} mode 600 level admin"
    yield "# Applications refuse headers beyond 32 KiB in their own words, if they get to see them."
    yield f"tune.bufsize {values.buffer_bytes}"
    yield f"tune.maxrewrite {_REWRITE_BYTES}"
    yield f"tune.http.maxhdr {_HEADERS_MOST}"
    yield "ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets"


def _defaults(values: Balancing) -> Iterator[str]:
    yield "mode http"
    yield "log global"
    yield "option dontlognull"
    yield "option dontlog-normal"
    yield "# What failed is said louder than `info`, which the log above does not take."
    yield "option log-separate-errors"
    yield "# No path and no query: what stands there may be a secret."
    yield (
        'log-format "%ci:%cp %b/%s %ST %ts %Tw/%Tc/%Tr/%Ta retries=%rc method=%HM '
        f'request_id={REQUEST_ID}"'
    )
    yield f"timeout connect {_time(values.connect_seconds)}"
    yield f"timeout queue {_time(values.queue_seconds)}"
    yield f"timeout http-request {_time(values.head_seconds)}"
    yield f"timeout http-keep-alive {_time(values.idle_seconds)}"
    yield f"timeout client {_time(values.answer_seconds)}"
    yield "timeout client-fin 5s"
    yield f"timeout server {_time(values.answer_seconds)}"
    yield "timeout server-fin 5s"
    yield f"timeout check {values.check_within_milliseconds}ms"
    yield from render_errors(values.body_seconds)


def _choice(values: Balancing) -> Iterator[str]:
    """How an instance is chosen, given up, and taken back."""
    often, soon = values.check_milliseconds, max(1, values.check_milliseconds // 4)
    yield "balance leastconn"
    yield "# The first request of a client's connection gets a connection of its own."
    yield "http-reuse safe"
    yield "# Later ones may get a kept one: instances must not end those that are idle themselves."
    yield "# A refused connection is tried elsewhere, whatever was asked: nothing was sent."
    yield "retries 2"
    yield "option redispatch 1"
    yield "retry-on conn-failure empty-response"
    yield "option httpchk"
    yield "http-check send meth GET uri /readyz ver HTTP/1.1 hdr host health hdr connection close"
    yield "# 404: draining. It keeps what it has and gets nothing new."
    yield "http-check disable-on-404"
    yield "http-check expect status 200"
    yield "# A refused connection has it looked at, no more: marking it down would also end the"
    yield "# request that is about to go elsewhere."
    yield "# Answers are not observed: an instance that sheds load says 503 and is well."
    yield (
        f"default-server check inter {often}ms fastinter {soon}ms downinter {often}ms "
        "rise 1 fall 3 "
        "observe layer4 error-limit 1 on-error fastinter "
        f"maxconn {values.instance_requests_most}"
    )


def _resolvers(name_server: str) -> Iterator[str]:
    yield f"nameserver one {name_server}"
    yield "accepted_payload_size 8192"
    yield "resolve_retries 3"
    yield "timeout resolve 1s"
    yield "timeout retry 500ms"
    yield "hold valid 1s"
    yield "hold nx 5s"
    yield "hold other 10s"


def _frontend(values: Balancing, services: Mapping[str, Service]) -> Iterator[str]:
    tls = values.certificate is not None
    if tls:
        yield f"bind {values.host}:{values.port} ssl crt {values.certificate} alpn h2,http/1.1"
        yield "http-after-response set-header strict-transport-security max-age=31536000"
    else:
        # Without `proto h1` a client could speak HTTP/2 by its preface alone.
        yield f"bind {values.host}:{values.port} proto h1"
    yield ""
    yield from _identity("https" if tls else "http")
    yield ""
    yield from _framing(values)
    yield ""
    yield from _routing(services)


def _identity(scheme: str) -> Iterator[str]:
    yield "# The request's id: the client's if it is well-formed, as in platform/web/front.py."
    yield "http-request set-var(txn.request_id) uuid()"
    yield (
        "http-request set-var(txn.request_id) req.fhdr(x-request-id,-1) "
        "if { req.fhdr(x-request-id,-1) -m reg ^[A-Za-z0-9._-]{1,128}$ }"
    )
    yield f"http-request set-header x-request-id {REQUEST_ID}"
    yield "# Who a client says it is means nothing; where it comes from is said by us."
    for name in FOREIGN_HEADERS:
        yield f"http-request del-header {name}"
    for prefix in FOREIGN_PREFIXES:
        yield f"http-request del-header {prefix} -m beg"
    yield "http-request set-header x-forwarded-for %[src]"
    yield f"http-request set-header x-forwarded-proto {scheme}"


def _framing(values: Balancing) -> Iterator[str]:
    yield "# HAProxy 2.6 reads a length modulo 2^64 and passes the original on; 2^64 has 20 digits."
    yield "http-request deny deny_status 400 if { req.hdr(content-length) -m len ge 20 }"
    yield "# Codings are one of another hop's business: chunked is the only one, and of HTTP/1.1."
    yield "acl coded req.hdr(transfer-encoding) -m found"
    yield "acl chunked req.hdr(transfer-encoding) -m str -i chunked"
    yield "http-request deny deny_status 400 if coded !chunked or coded HTTP_1.0"
    yield "# A body that trickles holds a place here and none at an instance; large ones go on."
    small = f"{{ req.hdr(content-length) -m int le {_WAITED_FOR_BYTES} }}"
    yield "# After these the client is still sending what nobody will read."
    yield "http-after-response set-header connection close if { status 408 413 431 }"
    yield f"http-request wait-for-body time {_time(values.body_seconds)} if coded or {small}"
    yield "# A connection that broke before any answer: reads are tried again and nothing else, not"
    yield "# even with a key. A 503 promises that nothing was taken; the second try's could not for"
    yield "# the first, which may have taken something. Who has the key may try again."
    yield "http-request disable-l7-retry if !METH_GET"


def _routing(services: Mapping[str, Service]) -> Iterator[str]:
    yield "# As the application reads it: decoded once; undecodable ones as they are."
    yield "http-request set-var(txn.path) path"
    yield "http-request set-var(txn.path) path,url_dec"
    # HAProxy's own reader takes every second backslash.
    yield r"acl private var(txn.path) -m reg -i ^[/\\\\.]*(internal|metrics)"
    yield f"{render_nothing_here()} if private"
    for one in services.values():
        yield f"acl to_{one.name} var(txn.path) -m str {' '.join(one.serves)}"
        yield f"acl to_{one.name} var(txn.path) -m beg {' '.join(f'{at}/' for at in one.serves)}"
    for one in services.values():
        yield f"use_backend {one.name} if to_{one.name}"
    yield f"default_backend {ELSEWHERE}"


def _backend(
    values: Balancing, service: Service, instances: tuple[Instance, ...] | Discovered
) -> Iterator[str]:
    for path in service.streams:
        yield (
            f"http-request set-timeout server {_time(values.stream_seconds)} "
            f"if {{ var(txn.path) -m str {path} {path}/ }}"
        )
    yield from _servers(service, instances)


def _servers(service: Service, instances: tuple[Instance, ...] | Discovered) -> Iterator[str]:
    if isinstance(instances, Discovered):
        yield (
            f"server-template {service.name}- 1-{instances.most} {instances.host}:{instances.port} "
            f"port {instances.internal_port} resolvers names init-addr none"
        )
        return
    for number, one in enumerate(instances, 1):
        at = f"{one.host}:{one.port}"
        yield f"server {service.name}-{number} {at} port {one.internal_port}"


def _figures(at: str) -> Iterator[str]:
    yield f"bind {at} proto h1"
    yield "http-request use-service prometheus-exporter if { path /metrics }"
    yield render_nothing_here()


def _time(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
