"""What pages and API are made of."""

from __future__ import annotations

from dataclasses import dataclass

from escapement.web.backtests import Backtests
from escapement.web.reading import Reading
from escapement.web.steering import Steering


@dataclass(frozen=True, slots=True)
class Parts:
    """What there is to show and to steer.

    ``escapement.web.pages.register(parts)`` is called once, before the server begins; a page function that takes
    ``request: fastapi.Request`` knows its visitor by ``visitor_of(request.scope)``. A backtest's page is served at
    ``/api/v1/backtests/{name}/page`` for a frame (``sandbox="allow-scripts"``), log-out is a POST to ``/logout``.
    """

    reading: Reading
    steering: Steering
    backtests: Backtests
