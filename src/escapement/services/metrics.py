"""What the program counts, as Prometheus reads it.

Counters of what is in tables start with the process that serves them and grow by what was stored since it was asked
last, so that every process may serve the same numbers. What is in no table, such as trades, comes from the reports of
the services, by process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from escapement.ports import Check, Measured, ServiceHealth, StageLags
from escapement.services.lags import BOUNDS_S, LagCounts

_CONTRACT, _ACCOUNT = ("contract",), ("account",)
# By the name under which the database counts them: labels and what is counted.
_COUNTED = {
    "signals": (("contract", "timeframe", "analyzer", "type"), "Signals stored."),
    "decisions": (("contract", "action"), "Decisions stored."),
    "orders": (("account", "contract", "role"), "Orders that the venue accepted."),
    "fills": (("account", "contract", "side"), "Executions."),
    "refusals": (("account", "contract", "code"), "Entries that a limit refused."),
    "gaps_opened": (("contract", "cause"), "Stretches found in which trades may be missing."),
    "gaps_closed": (("contract", "cause"), "Such stretches repaired."),
    "notifications": (("channel", "state"), "Events told, or given up, by channel."),
}
_STANDING = {
    "gaps_open": (_CONTRACT, "Stretches in which trades may be missing that are not repaired."),
    "position_contracts": (("account", "contract"), "Contracts held; below 0 short."),
    "account_balance": (_ACCOUNT, "Balance of the newest trading day, in the account's currency."),
    "account_equity": (_ACCOUNT, "Balance with open positions at the price at which they could be closed."),
    "account_blocked": (_ACCOUNT, "1 while a limit forbids new positions."),
    "killed": ((), "1 while all trading is stopped by the kill switch."),
    "analyzers_at_fault": ((), "Analyzers that stand still because of a fault."),
    "notifications_waiting": (("channel",), "Events that wait to be told."),
    "database_bytes": ((), "Size of the database."),
}
# By service and the name in its report.
_REPORTED = {
    ("ingest", "trades"): ("trades", "Trades received."),
    ("ingest", "late"): ("trades_late", "Trades that came after their bar was completed."),
    ("ingest", "refused"): ("trades_refused", "Trades that could not be used."),
    ("ingest", "bars"): ("bars", "Bars completed."),
    ("ingest", "bars_new"): ("bars_stored", "Bars stored that were not there before."),
    ("ingest", "revised"): ("bars_revised", "Bars written by repairs."),
    ("ingest", "connections"): ("feed_connections", "How often the feed became live."),
    ("ingest", "holes"): ("feed_losses", "How often the feed was lost or a record unreadable."),
    ("ingest", "alarms"): ("feed_alarms", "Freezes and disagreements with the venue found."),
    ("analyze", "bars"): ("bars_analyzed", "Bars read by analyzers."),
    ("analyze", "faults"): ("analyzer_faults", "How often an analyzer failed."),
    ("coordinate", "late"): ("signals_late", "Signals that came after their moment was weighed."),
    ("execute", "interruptions"): ("execution_interruptions", "How often execution was cut off from the venue."),
    ("execute", "reconciliations"): ("reconciliations", "Comparisons with the venue's books."),
}

_Labels = tuple[str, ...]


class Metrics(Collector):
    """Keeps what was counted since this process began; ``text`` gives it all.

    Args:
        version: of the program.
        alive_s: how many seconds ago a process that is alive spoke at most.
    """

    def __init__(self, version: str, alive_s: float) -> None:
        self._version = version
        self._alive_s = alive_s
        self._counted: dict[str, Counter[_Labels]] = {name: Counter() for name in _COUNTED}
        self._lags = {stage: LagCounts() for stage in ("bar_to_signal", "signal_to_decision", "decision_to_order")}
        self._standing: Sequence[Measured] = ()
        self._heard: Sequence[ServiceHealth] = ()
        self._checks: Sequence[Check] = ()
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def count(self, numbers: Iterable[Measured], lags: Iterable[StageLags]) -> None:
        """Add what was stored since the last call."""
        for number in numbers:
            self._counted[number.name][_values(number.labels, _COUNTED[number.name][0])] += int(number.value)
        for lag in lags:
            self._lags[lag.stage].add(lag.bucket, lag.count, lag.sum_s)

    def stand(self, standing: Sequence[Measured], heard: Sequence[ServiceHealth]) -> None:
        """Take how things stand now, and what the services said of themselves."""
        self._standing, self._heard = standing, heard

    def judge(self, checks: Sequence[Check]) -> None:
        """Take what is well and what is not."""
        self._checks = checks

    def text(self) -> bytes:
        """Return everything in Prometheus's text format."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Name nothing in advance: what is asked for when a registry is made."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        yield _gauge("build_info", "This program.", ("version",), [((self._version,), 1)])
        yield from self._judged()
        yield from self._services()
        for name, (labels, text) in _COUNTED.items():
            yield _counter(name, text, labels, self._counted[name].items())
        for name, (labels, text) in _STANDING.items():
            own = [(_values(each.labels, labels), each.value) for each in self._standing if each.name == name]
            yield _gauge(name, text, labels, own)
        yield from self._reported()
        yield self._all_lags()

    def _judged(self) -> Iterator[Metric]:
        yield _gauge("ready", "1 when every check is well.", (), [((), int(all(each.ok for each in self._checks)))])
        worst: dict[_Labels, int] = {}
        for each in self._checks:
            worst[each.name,] = min(worst.get((each.name,), 1), int(each.ok))
        yield _gauge("check_ok", "1 when what the check looks at is well.", ("check",), worst.items())

    def _services(self) -> Iterator[Metric]:
        labels = "service", "process"
        up = [
            ((each.service, each.process), int(each.state == "running" and each.silent_s < self._alive_s))
            for each in self._heard
        ]
        yield _gauge("service_up", "1 while the service runs and its process speaks.", labels, up)
        restarts = [((each.service, each.process), each.restarts) for each in self._heard]
        yield _counter("service_restarts", "How often the service was started again.", labels, restarts)

    def _reported(self) -> Iterator[Metric]:
        for (service, field), (name, text) in _REPORTED.items():
            own = [
                ((each.process,), each.report[field])
                for each in self._heard
                if each.service == service and field in each.report
            ]
            yield _counter(name, text, ("process",), own)
        connected, silent, market = [], [], []
        for each in self._heard:
            feed = each.report.get("feed")
            if isinstance(feed, Mapping):
                connected.append(((each.process,), int(feed["connected"])))
                for contract, state in feed["contracts"].items():
                    silent.append(((each.process, contract), state["silent_s"] + each.silent_s))
                    market.append(((each.process, contract), int(state["open"])))
        yield _gauge(
            "feed_connected", "1 while all subscriptions of the feed are acknowledged.", ("process",), connected
        )
        both = "process", "contract"
        yield _gauge("feed_silent_seconds", "Since something was received, or confirmed to be nothing.", both, silent)
        yield _gauge("market_open", "1 while the contract trades by its calendar.", both, market)
        waiting = [
            ((each.process,), each.report["bars_waiting"]) for each in self._heard if "bars_waiting" in each.report
        ]
        yield _gauge("bars_waiting", "Completed bars that wait for the database.", ("process",), waiting)

    def _all_lags(self) -> Metric:
        family = HistogramMetricFamily(
            "escapement_lag_seconds",
            "How long a stage took: received_to_stored, bar_to_signal, signal_to_decision, decision_to_order.",
            labels=("stage", "process"),
        )
        for stage, lags in self._lags.items():
            family.add_metric((stage, ""), _buckets(lags.counts), lags.sum_s)
        for each in self._heard:
            told = each.report.get("lag")
            if isinstance(told, Mapping):
                family.add_metric(("received_to_stored", each.process), _buckets(told["counts"]), told["sum_s"])
        return family


def _buckets(counts: Sequence[int]) -> list[tuple[str, float]]:
    """Return how many there are up to each bound, as Prometheus wants them."""
    bounds = *map(str, BOUNDS_S), "+Inf"
    return [(bound, float(total)) for bound, total in zip(bounds, accumulate(counts), strict=True)]


def _values(labels: Mapping[str, str], names: Sequence[str]) -> _Labels:
    return tuple(labels[name] for name in names)


def _counter(name: str, text: str, labels: Sequence[str], samples: Iterable[tuple[_Labels, float]]) -> Metric:
    family = CounterMetricFamily(f"escapement_{name}", text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _gauge(name: str, text: str, labels: Sequence[str], samples: Iterable[tuple[_Labels, float]]) -> Metric:
    family = GaugeMetricFamily(f"escapement_{name}", text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family
