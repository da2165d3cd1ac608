"""Health over HTTP; one rule: liveness asks nobody.

So a part that all share and that is down ends no process (AWS Builders' Library, health checks).
"""

from litestar import get
from litestar.di import NamedDependency

from tradewind.platform.errors import Unavailable
from tradewind.platform.lifecycle import Health


@get("/healthz", tags=["Health"])
async def get_health() -> dict[str, str]:
    """Whether this process is alive."""
    return {"status": "alive"}


@get("/readyz", tags=["Health"])
async def get_readiness(health: NamedDependency[Health]) -> dict[str, str]:
    """Whether this process may have traffic: started, and not about to end."""
    if not health.may_serve():
        raise Unavailable("not ready for traffic: starting, or about to end")
    return {"status": "ready"}


HANDLERS = [get_health, get_readiness]
