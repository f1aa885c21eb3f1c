"""Growing delays after wrong passwords, for each address and over all."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_FREE, _FREE_OVERALL = 3, 20
_LONGEST_S: Final = 900.0
# Short, so that nobody can lock everyone out by guessing from many addresses.
_LONGEST_OVERALL_S: Final = 15.0
_FORGOTTEN_S: Final = 3_600.0
_MOST_ADDRESSES: Final = 10_000


@dataclass(slots=True)
class _Tries:
    count: int = 0
    last_s: float = 0.0
    until_s: float = 0.0


class Delays:
    """Says how long an address has to wait before it may try again; ``clock`` in seconds, monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._by_address: OrderedDict[str, _Tries] = OrderedDict()
        self._overall = _Tries()

    def wait_s(self, address: str) -> float:
        """Return the seconds to wait, 0 when a password may be tried now."""
        now_s = self._clock()
        own = self._by_address.get(_key(address), _Tries())
        return max(0.0, own.until_s - now_s, self._overall.until_s - now_s)

    def tried(self, address: str) -> None:
        """Take note that a password is tried; it counts as wrong until ``succeeded`` says otherwise.

        Counted before the outcome is known, so that many tries at once are not all free.
        """
        key = _key(address)
        own = self._by_address.setdefault(key, _Tries())
        self._by_address.move_to_end(key)
        self._grow(own, _FREE, _LONGEST_S)
        self._grow(self._overall, _FREE_OVERALL, _LONGEST_OVERALL_S)
        while len(self._by_address) > _MOST_ADDRESSES:
            self._by_address.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """Take note of a right one; wrong ones before it still count, for whoever knows one may guess another."""
        own = self._by_address.get(_key(address), _Tries())
        own.count, own.until_s = max(0, own.count - 1), 0.0
        self._overall.count = max(0, self._overall.count - 1)
        if self._overall.count < _FREE_OVERALL:
            self._overall.until_s = 0.0

    def _grow(self, tries: _Tries, free: int, longest_s: float) -> None:
        now_s = self._clock()
        if now_s - tries.last_s > _FORGOTTEN_S:
            tries.count = 0
        tries.count, tries.last_s = tries.count + 1, now_s
        over = min(tries.count - free, 20)
        tries.until_s = now_s + min(2.0**over, longest_s) if over >= 0 else 0.0


def _key(address: str) -> str:
    """Return what counts as one address: of IPv6 the network that one customer has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else address
