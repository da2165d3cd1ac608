"""What a load balancer is told besides the topology; one rule: values only, for one deployment."""

from collections.abc import Mapping

import msgspec


class Instance(msgspec.Struct, frozen=True):
    """One process of a service: where it takes requests, and where it tells of its health."""

    host: str
    port: int
    internal_port: int


class Discovered(msgspec.Struct, frozen=True):
    """Instances that a name server knows: every address of `host`, up to `most`."""

    host: str
    port: int
    internal_port: int
    most: int = 10


class Balancing(msgspec.Struct, frozen=True, kw_only=True):
    """One load balancer's own values; times in seconds, sizes in bytes."""

    host: str
    port: int
    """Where clients come in; by TLS if there is a certificate, else by plain http."""
    instances: Mapping[str, tuple[Instance, ...] | Discovered]
    """Of each service, by its name."""
    script: str = "give_up.lua"
    """Where the script of `read_script` lies; from the folder that HAProxy runs in."""
    certificate: str | None = None
    """A PEM file: private key, certificate and what leads to its root."""
    control_socket: str | None = None
    """Where its owner may look into it and take instances out by hand."""
    figures: str | None = None
    """`host:port` where Prometheus may ask for its figures; never where clients can reach it."""
    resolver: str | None = None
    """`host:port` of the name server that is asked again and again for discovered instances."""
    threads: int | None = None
    """None: as many as there are processors."""

    connections_most: int = 4_000
    """Clients' connections; what comes then waits in the kernel."""
    instance_requests_most: int = 2_500
    """Requests at one instance, streams counted. Above its own limit: it refuses best itself."""
    buffer_bytes: int = 64 * 1024
    """For one request: more than the headers that an instance still refuses in its own words."""
    connect_seconds: float = 1.0
    queue_seconds: float = 1.0
    head_seconds: float = 10.0
    """How long request line and headers may take."""
    body_seconds: float = 30.0
    """How long a body may take; the same as in `WebSettings`, so that the words are the same."""
    idle_seconds: float = 60.0
    """How long a client's connection may be quiet between two requests."""
    answer_seconds: float = 35.0
    """How long an instance may be quiet: more than the deadline that it gives a request."""
    stream_seconds: float = 3_600.0
    """The same on the paths of streams."""
    leave_seconds: float = 35.0
    """After a reload or an end: how long what is under way may take."""
    check_milliseconds: int = 400
    """Between two looks at a healthy instance."""
    check_within_milliseconds: int = 500
    """An instance that has not answered a look by then failed it; three in a row are its end."""
