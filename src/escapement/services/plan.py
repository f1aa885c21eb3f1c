"""Which instances of analyzers shall run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from escapement.analyzers import AnalyzerPlugin
from escapement.core.analysis import AnalyzerKey
from escapement.errors import ConfigurationError
from escapement.model import Timeframe
from escapement.services.lane import Planned, Series
from escapement.services.reader import ReaderHere, ReaderInWorker
from escapement.services.workers import Workers


@dataclass(frozen=True, slots=True)
class Run:
    """An analyzer, named as in the settings, with its parameters on each of its timeframes.

    ``contracts`` are ids of contracts or codes of products; None stands for all. ``workers`` reads elsewhere.
    """

    named: str
    plugin: AnalyzerPlugin
    params: Mapping[Timeframe, Any]
    contracts: frozenset[str] | None = None
    workers: Workers | None = None

    def on(self, series: Iterable[Series]) -> Iterator[Planned]:
        """Yield its instances on those series that it shall read."""
        for contract_id, timeframe in series:
            if timeframe in self.params and (self.contracts is None or self.contracts & names_of(contract_id)):
                yield self._planned(contract_id, timeframe)

    def _planned(self, contract_id: str, timeframe: Timeframe) -> Planned:
        params, plugin = self.params[timeframe], self.plugin
        key = AnalyzerKey(plugin.name, plugin.version, params_text(params), contract_id, timeframe)
        reader = (
            ReaderHere(plugin, params) if self.workers is None else ReaderInWorker(self.workers, self.named, params)
        )
        return Planned(key, reader, plugin.create(params).warm_up_bars)


def check_can_be_made(run: Run) -> None:
    """Make each analyzer once.

    Raises:
        ConfigurationError: that fails.
    """
    for params in run.params.values():
        try:
            run.plugin.create(params).warm_up_bars.__index__()
        except Exception as error:
            raise ConfigurationError(
                f"analyzer {run.named} cannot be made with {params_text(params)}: {error!r}; repair it"
            ) from error


def params_text(params: Any) -> str:
    """Write an analyzer's parameters so that equal ones read alike."""
    return json.dumps(asdict(params), sort_keys=True, separators=(",", ":"), default=str)


def names_of(contract_id: str) -> frozenset[str]:
    """Return the id and, of ids such as ``CON.F.US.MES.Z26``, the product's code."""
    parts = contract_id.split(".")
    return frozenset([contract_id, parts[3]] if len(parts) == 5 else [contract_id])


def twice(runs: Iterable[Run]) -> list[str]:
    """Name what two of these would do both: the same analyzer with the same parameters on the same bars."""
    seen: list[tuple[tuple[str, int, str, Timeframe], frozenset[str] | None]] = []
    found = []
    for run in runs:
        for timeframe, params in run.params.items():
            what = run.plugin.name, run.plugin.version, params_text(params), timeframe
            for other, contracts in seen:
                if what == other and (contracts is None or run.contracts is None or contracts & run.contracts):
                    found.append(f"{run.plugin.name} with {params_text(params)} stands there twice for {timeframe}")
            seen.append((what, run.contracts))
    return found
