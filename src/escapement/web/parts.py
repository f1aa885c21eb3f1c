"""What pages and API are made of."""

from __future__ import annotations

from dataclasses import dataclass

from escapement.storage.doorbell import Doorbell
from escapement.web.backtests import Backtests
from escapement.web.reading import Reading
from escapement.web.steering import Steering


@dataclass(frozen=True, slots=True)
class Parts:
    """What there is to show and to steer; ``doorbell`` is for whoever wants to hear of changes.

    ``escapement.web.pages.register(parts)`` is called once, before the server begins; a page function that takes
    ``request: fastapi.Request`` knows its visitor by ``visitor_of(request.scope)``. A backtest's page is served at
    ``/api/v1/backtests/{name}/page`` for a frame (``sandbox="allow-scripts"``), log-out is a POST to ``/logout``.
    ``doorbell`` listens to ``escapement.web.pages.BELLS``; pages look when it rings, and now and then without.
    ``escapement.web.pages.login_page(refused, target)`` is the HTML of the log-in page; its form posts ``password`` and
    ``target`` to ``/login``.
    """

    reading: Reading
    steering: Steering
    backtests: Backtests
    doorbell: Doorbell
