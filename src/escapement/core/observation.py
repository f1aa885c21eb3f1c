"""What has been heard of one contract, and when trades of it may have been missed.

A stretch of the market counts as observed up to the newest time that the venue itself told on a connection that has
lasted since the stretch began; records arrive in order, so everything before came too. Our own clock proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from escapement.model import NS_PER_SECOND, BarSource, Coverage, Gap, GapCause

# What the database keeps: every bound is widened to it.
_GRAIN_NS = NS_PER_SECOND // 1_000_000

_Key = tuple[int, GapCause]


class Observation:
    """The observed stretches and the gaps of one contract; times are nanoseconds UTC.

    Args:
        contract_id: of the gateway.
        tolerance_ns: how much older than the newest time heard a trade may still come.
    """

    def __init__(self, contract_id: str, tolerance_ns: int) -> None:
        self._contract_id = contract_id
        self._tolerance_ns = tolerance_ns
        self._from_ns: int | None = None
        self._until_ns = 0
        self._lasting: Gap | None = None
        self._open: dict[_Key, Gap] = {}
        self._news: dict[_Key, Gap] = {}
        self._grown: list[Coverage] = []

    @property
    def is_blind(self) -> bool:
        """Whether trades may be missed now."""
        return self._from_ns is None

    @property
    def blind_since_ns(self) -> int | None:
        """When the gap that lasts began; None when nothing is missed, or when nobody knows yet."""
        return None if self._lasting is None else self._lasting.begins_ns

    @property
    def seen_since_ns(self) -> int | None:
        """Since when trades are seen; None while they may be missed."""
        return self._from_ns

    @property
    def proven_ns(self) -> int | None:
        """Up to where the stretch that is being observed is proven; None while blind."""
        return None if self._from_ns is None else max(self._from_ns, self._until_ns - self._tolerance_ns)

    @property
    def seen_until_ns(self) -> int | None:
        """Up to where everything was seen but for the gaps that have ended; None before anything was."""
        return self.proven_ns if self._lasting is None else self._lasting.begins_ns

    @property
    def gaps(self) -> list[Gap]:
        """The gaps that are not closed, oldest first."""
        lasting = [] if self._lasting is None else [self._lasting]
        return sorted([*self._open.values(), *lasting], key=_by_begin)

    def resume(self, gaps: Iterable[Gap]) -> None:
        """Take over the gaps that an earlier run left open; one without an end goes on as the gap that lasts."""
        for gap in sorted(gaps, key=_by_begin):
            if gap.ends_ns is None and self._lasting is None:
                self._lasting = gap
            else:
                # A second one without an end stays, and ends with the first.
                self._open[_key(gap)] = gap

    def lose(self, cause: GapCause, detail: str, since_ns: int | None = None) -> None:
        """Take note that from now on trades may be missed, or from ``since_ns`` on where that is earlier."""
        proven_ns = self.proven_ns
        begins_ns = since_ns if proven_ns is None else min(proven_ns, proven_ns if since_ns is None else since_ns)
        self._settle()
        self._from_ns = None
        if begins_ns is None or (self._lasting is not None and self._lasting.begins_ns <= begins_ns):
            return
        if self._lasting is not None:
            # Found to have begun earlier: the first row stays, and ends with the other.
            self._open[_key(self._lasting)] = self._lasting
        self._lasting = Gap(self._contract_id, begins_ns - begins_ns % _GRAIN_NS, None, cause, detail)
        # One of the same beginning and cause that has ended goes on with it.
        self._open.pop(_key(self._lasting), None)
        self._news[_key(self._lasting)] = self._lasting

    def see(self, from_ns: int) -> None:
        """Take note that from ``from_ns`` on trades are seen."""
        if self._lasting is not None:
            # Even when no time seems to have passed, a trade of that very moment may be missing.
            lasting = [self._lasting, *(gap for gap in self._open.values() if gap.ends_ns is None)]
            from_ns = max(from_ns + -from_ns % _GRAIN_NS, *(gap.begins_ns + _GRAIN_NS for gap in lasting))
            for gap in lasting:
                self._add(replace(gap, ends_ns=from_ns))
            self._lasting = None
        self._from_ns = self._until_ns = from_ns

    def hear(self, at_ns: int) -> None:
        """Take note of a time that the venue told."""
        self._until_ns = max(self._until_ns, at_ns)

    def miss(self, from_ns: int, to_ns: int, cause: GapCause, detail: str) -> bool:
        """Take note that trades of ``[from_ns, to_ns)`` may be missing although we listened; False when known."""
        gap = Gap(self._contract_id, from_ns - from_ns % _GRAIN_NS, to_ns + -to_ns % _GRAIN_NS, cause, detail)
        known = self._open.get(_key(gap))
        if known is not None and (known.ends_ns is None or gap.ends_ns is None or known.ends_ns >= gap.ends_ns):
            return False
        self._add(gap)
        return True

    def widen(self, gap: Gap, from_ns: int, to_ns: int | None) -> None:
        """Let a gap that is not closed reach from ``from_ns`` to ``to_ns``, which encloses it."""
        if (from_ns, to_ns) == (gap.begins_ns, gap.ends_ns):
            return
        if to_ns is None:
            self.lose(gap.cause, gap.detail, from_ns)
        else:
            self.miss(from_ns, to_ns, gap.cause, gap.detail)

    def close(self, gaps: Iterable[Gap]) -> None:
        """Forget gaps that are repaired and stored as closed."""
        for gap in gaps:
            self._open.pop(_key(gap), None)

    def take_news(self) -> tuple[list[Coverage], list[Gap]]:
        """Return what is to be stored: stretches that grew, and gaps that are new or have ended."""
        self._settle()
        news = self._grown, list(self._news.values())
        self._grown, self._news = [], {}
        return news

    def is_observed(self, from_ns: int, to_ns: int, *, besides: Iterable[Gap] = ()) -> bool:
        """Whether no gap but those ``besides`` lies in ``[from_ns, to_ns)``."""
        left_out = {_key(gap) for gap in besides}
        return not any(
            gap.begins_ns < to_ns and (gap.ends_ns is None or gap.ends_ns > from_ns)
            for gap in self.gaps
            if _key(gap) not in left_out
        )

    def _add(self, gap: Gap) -> None:
        self._open[_key(gap)] = self._news[_key(gap)] = gap

    def _settle(self) -> None:
        proven_ns = self.proven_ns
        if self._from_ns is not None and proven_ns is not None and proven_ns > self._from_ns:
            self._grown.append(Coverage(self._contract_id, self._from_ns, proven_ns, BarSource.LIVE))


def _key(gap: Gap) -> _Key:
    return gap.begins_ns, gap.cause


def _by_begin(gap: Gap) -> int:
    return gap.begins_ns
