"""The service ``operations`` of ``escapement run``: health and metrics over HTTP, where no dashboard serves them."""

from __future__ import annotations

import asyncio

import structlog

from escapement import wiring_operations
from escapement.errors import ConfigurationError
from escapement.services.supervise import Ready
from escapement.settings import Settings

log = structlog.get_logger(service="operations")


def check(settings: Settings) -> None:
    """Refuse settings without a port.

    Raises:
        ConfigurationError: there is none.
    """
    if settings.operations.port is None:
        raise ConfigurationError("operations.port is missing; set ESCAPEMENT_OPERATIONS__PORT, such as 9464")


async def serve(settings: Settings, stopping: asyncio.Event, ready: Ready) -> None:
    """Serve ``/healthz``, ``/readyz`` and ``/metrics`` until ``stopping``; ``ready`` when connections are accepted.

    Raises:
        EscapementError: the address cannot be listened on.
    """
    # Only here: it takes longer to import than the rest of the program.
    from fastapi import FastAPI  # noqa: PLC0415

    from escapement.web.operations import router  # noqa: PLC0415
    from escapement.web.server import serve as serve_app  # noqa: PLC0415

    async with wiring_operations.lookout(settings, settings.services()) as lookout:
        app = FastAPI(title="Escapement", docs_url=None, redoc_url=None, openapi_url=None)
        app.include_router(router(lookout))

        def begun(address: str) -> None:
            log.info("operations_started", address=address)
            ready()

        assert settings.operations.port is not None  # noqa: S101 - refused by check
        await serve_app(app, settings.operations.host, settings.operations.port, stopping, begun)
