"""Signals as plain JSON data and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from escapement.model import HeardSignal, Signal, Timeframe


def write_signal(heard: HeardSignal) -> dict[str, Any]:
    """Return a signal as plain JSON data; its contract is the coordinator's."""
    signal = heard.signal
    return {
        "signal_id": heard.signal_id,
        "analyzer": signal.analyzer,
        "version": heard.version,
        "params": heard.params,
        "timeframe": str(signal.timeframe),
        "signal_type": signal.signal_type,
        "bar_start_ns": signal.bar_start_ns,
        "trigger_start_ns": signal.trigger_start_ns,
        "known_at_ns": signal.known_at_ns,
        "signal_price": signal.price,
        "rule": signal.rule,
        "price": heard.price,
        "direction": heard.direction,
    }


def read_signal(contract_id: str, saved: Mapping[str, Any]) -> HeardSignal:
    """Return the signal that ``write_signal`` wrote; raises what a spoilt one leads to (KeyError, ValueError, …)."""
    signal = Signal(
        str(saved["analyzer"]), contract_id, Timeframe.parse(saved["timeframe"]), str(saved["signal_type"]),
        int(saved["bar_start_ns"]), int(saved["trigger_start_ns"]), int(saved["known_at_ns"]),
        float(saved["signal_price"]), str(saved["rule"]),
    )  # fmt: skip
    return HeardSignal(
        signal, int(saved["version"]), str(saved["params"]), float(saved["price"]), int(saved["direction"]),
        int(saved["signal_id"]),
    )  # fmt: skip
