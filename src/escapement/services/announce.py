"""What people are told: a title of one line and a text of a few, for each kind of event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from escapement.ports import Event

_Details = Mapping[str, Any]
_URGENT = {"refusal", "freeze", "disconnect", "kill", "service_failed"}
_MOST_LINES = 20


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: plain text; ``urgent`` when somebody may have to act."""

    title: str
    text: str
    urgent: bool


def message_of(event: Event) -> Message:
    """Return what to say of one event."""
    again = "\nThis may be a repeat: it is not known whether it arrived before." if event.attempts > 1 else ""
    text = f"{_WORDS[event.kind](event.details)}\n{event.at:%Y-%m-%d %H:%M:%S} UTC · {event.event_id}{again}"
    return Message(f"Escapement: {headline(event)}", text, event.kind in _URGENT)


def digest_of(events: Sequence[Event]) -> Message:
    """Return one message in the place of many that were held back."""
    counts = Counter(event.kind for event in events)
    what = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.most_common())
    chosen = sorted(events, key=lambda event: (event.kind not in _URGENT, event.at))[:_MOST_LINES]
    lines = [f"{event.at:%H:%M:%S} {headline(event)}" for event in sorted(chosen, key=lambda event: event.at)]
    if len(events) > len(lines):
        lines.append(f"and {len(events) - len(lines)} more: escapement notify list")
    if any(event.attempts > 1 for event in events):
        lines.append("Some of this may be a repeat.")
    return Message(
        f"Escapement: {len(events)} events held back by the rate limit", "\n".join([what, *lines]),
        any(event.kind in _URGENT for event in events),
    )  # fmt: skip


def headline(event: Event) -> str:
    """Return an event in one line."""
    return _HEADLINES[event.kind](event.details).rstrip()


def _contracts(details: _Details) -> str:
    return ", ".join(details["contracts"])


def _decision(details: _Details) -> str:
    doubt = "" if details["data_complete"] else "\nSome data was missing when it was decided."
    return f"{details['words']} (rule {details['rule']}){doubt}"


def _fill_in_short(details: _Details) -> str:
    verb = "bought" if details["side"] == "buy" else "sold"
    return f"{verb} {details['size']} {details['contract']} at {details['price']:.15g}"


def _fill(details: _Details) -> str:
    profit = details["profit"]
    made = "it opens" if profit is None else f"profit {profit:.2f} before fees"
    return f"Account {details['account']}: {made}; fees {details['fees']:.2f}."


def _refusal(details: _Details) -> str:
    until = f" Until {_moment(details['until'])}." if details.get("until") else ""
    return f"Account {details['account']}: {details['words']}.{until}"


def _gap_opened(details: _Details) -> str:
    detail = f" ({details['detail']})" if details["detail"] else ""
    return f"Trades may be missing from {_moment(details['begins_at'])} on{detail}; they are filled from history."


def _gap_closed(details: _Details) -> str:
    stretch = f"{_moment(details['begins_at'])} to {_moment(details['ends_at'])}"
    return f"Nothing is missing from {stretch} any more; {details['revised']} bars were written."


def _disconnect(details: _Details) -> str:
    until = "" if details["lasts"] else f" until {_moment(details['ends_at'])}"
    return f"No trades came since {_moment(details['begins_at'])}{until}. {details['detail']}".rstrip()


def _summary(details: _Details) -> str:
    lines = [
        f"{details['signals']} signals, {details['decisions']} decisions, {details['refusals']} entries refused",
        f"{details['gaps']} gaps, {details['gaps_open']} of them open",
    ]
    for each in details["accounts"]:
        net = (each["profit"] or 0) - (each["fees"] or 0)
        balance = "" if each["balance"] is None else f"; balance {each['balance']:.2f}, equity {each['equity']:.2f}"
        lines.append(f"{each['account']}: {each['fills']} fills, net {net:+.2f}{balance}")
    return "\n".join(lines + ([] if details["accounts"] else ["No account was traded."]))


def _moment(iso: str | None) -> str:
    return "now" if iso is None else f"{datetime.fromisoformat(iso):%Y-%m-%d %H:%M:%S} UTC"


_HEADLINES: dict[str, Callable[[_Details], str]] = {
    "decision": lambda each: f"{each['action'].replace('_', ' ')} {each['contract']} at {each['price']:.15g}",
    "fill": _fill_in_short,
    "refusal": lambda each: f"refused: {each['code']} {each.get('contract', '')}",
    "gap_opened": lambda each: f"gap opened: {each['cause']} {_contracts(each)}",
    "gap_closed": lambda each: f"gap closed: {each['cause']} {_contracts(each)}",
    "freeze": lambda each: f"feed frozen: {_contracts(each)}",
    "disconnect": lambda each: f"feed {'is' if each['lasts'] else 'was'} disconnected: {_contracts(each)}",
    "kill": lambda _: "all trading is stopped",
    "resume": lambda _: "trading goes on",
    "service_failed": lambda each: f"service failed: {', '.join(each['services'])}",
    "summary": lambda each: f"{each['trade_date']} in short",
}
_WORDS: dict[str, Callable[[_Details], str]] = {
    "decision": _decision,
    "fill": _fill,
    "refusal": _refusal,
    "gap_opened": _gap_opened,
    "gap_closed": _gap_closed,
    "freeze": _gap_opened,
    "disconnect": _disconnect,
    "kill": lambda each: (
        f"Everything is cancelled and closed ({each['by']}: {each['reason']}); escapement resume ends it."
    ),
    "resume": lambda each: f"{each['by']}: {each['reason']}",
    "service_failed": lambda each: f"On {each['process']}: {each['error'] or each['state']}.",
    "summary": _summary,
}
KINDS = tuple(_HEADLINES)
