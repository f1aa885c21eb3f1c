"""The contract between analyzers and those who run them.

One analyzer object reads the completed bars of one contract and one timeframe, oldest first, each once. It is pure:
what it returns depends on its parameters and the bars pushed so far and on nothing else. ``escapement analyzers check``
proves it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

from escapement.errors import InvalidInput
from escapement.model import Bar, Signal
from escapement.moments import iso_from_ns


@runtime_checkable
class Analyzer(Protocol):
    """Bars in, signals out, one bar at a time.

    A class that follows this protocol is made with its parameters as the only argument. ``name`` is written to every
    signal. ``version`` is a whole number to raise whenever the same bars would give other signals or the saved state
    reads differently: results and states of other versions are then made anew. ``params_type`` is a frozen dataclass
    with a default for each field that raises InvalidInput for impossible values.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    params_type: ClassVar[type[Any]]

    @property
    def warm_up_bars(self) -> int:
        """How many bars before a bar have to be read for its signals to be those of reading from the beginning."""
        ...

    def push(self, bar: Bar, /) -> Sequence[Signal]:
        """Take the next bar; return the signals it triggers, in the order in which they shall be kept."""
        ...

    def advance(self, to_ns: int, /) -> Sequence[Signal]:
        """Take note that the venue's clock has reached ``to_ns`` (UTC) and no bar ended since the last one pushed."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """Return everything the future depends on as plain JSON data; the analyzer goes on unchanged."""
        ...

    def restore(self, state: Mapping[str, Any], /) -> None:
        """Continue from a snapshot of an analyzer with the same parameters.

        Raises:
            InvalidInput: it is of another version or spoilt; nothing has changed.
        """
        ...


def check_follows(bar: Bar, previous: Bar | None) -> None:
    """Make sure that one analyzer may read ``bar`` right after ``previous``.

    Raises:
        InvalidInput: it is of another contract or timeframe, or not later.
    """
    if previous is None:
        return
    if (bar.contract_id, bar.timeframe) != (previous.contract_id, previous.timeframe):
        raise InvalidInput(
            f"bar of {bar.contract_id} {bar.timeframe} follows one of {previous.contract_id} {previous.timeframe}; "
            "give each contract and timeframe an analyzer, or a file, of its own"
        )
    if bar.start_ns <= previous.start_ns:
        raise InvalidInput(
            f"bar of {iso_from_ns(bar.start_ns)} follows one of {iso_from_ns(previous.start_ns)}; "
            "bars are read oldest first, each once"
        )


def check_version(state: Mapping[str, Any], name: str, version: int) -> None:
    """Make sure that a saved state is of this analyzer and version.

    Raises:
        InvalidInput: it is not.
    """
    found = state.get("analyzer"), state.get("version")
    if found != (name, version):
        raise InvalidInput(
            f"saved state is of {found[0]} version {found[1]}, not {name} version {version}; do without it"
        )
