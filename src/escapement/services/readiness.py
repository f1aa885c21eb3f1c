"""Whether the program can do its work now: each thing that has to be so, how it is, and what to do when it is not."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from escapement.ports import Check, ServiceHealth

_UP, _STOPPED = "running", "stopped"
_RECONNECT = (
    "it reconnects by itself; when it does not, check the network and the firm's status page, then run "
    "escapement gateway login"
)
_PROBE = b"\0" * 4_096


def database_check(found: str | None, needed: str) -> Check:
    """Check the schema of a database that answers."""
    if found == needed:
        return Check("database", ok=True, value=f"answers, schema {found}")
    value = f"schema is {found or 'not there'}, {needed} is needed"
    return Check("database", ok=False, value=value, remedy="run escapement db init")


def database_away(reason: str) -> Check:
    """Say that the database cannot be asked."""
    return Check(
        "database", ok=False, value=reason, remedy="start the database server, or check DATABASE_URL and the network"
    )


def service_checks(heard: Sequence[ServiceHealth], expected: Sequence[str] | None, alive_s: float) -> Iterator[Check]:
    """Check that each expected service runs in a process that spoke within ``alive_s`` seconds.

    ``expected`` None: all that were started anywhere and not stopped in good order; there has to be one.
    """
    if expected is None:
        expected = list(dict.fromkeys(each.service for each in heard if each.state != _STOPPED))
        if not expected:
            yield Check("services", ok=False, value="none runs", remedy="start escapement run")
    for name in expected:
        own = [each for each in heard if each.service == name]
        well = [each for each in own if each.state == _UP and each.silent_s < alive_s]
        if well and len(well) == len([each for each in own if each.silent_s < alive_s]):
            yield Check(f"service {name}", ok=True, value=_UP)
            continue
        value = "; ".join(_how(each, alive_s) for each in own) or "never heard of"
        yield Check(
            f"service {name}",
            ok=False,
            value=value,
            remedy="see the log of escapement run; start it if it is not running",
        )


def _how(each: ServiceHealth, alive_s: float) -> str:
    state = each.state if each.silent_s < alive_s else f"silent for {each.silent_s:.0f} s"
    return f"{state}: {each.error}" if each.error and each.state != _UP else state


def feed_checks(heard: Sequence[ServiceHealth], alive_s: float, stale_s: float) -> Iterator[Check]:
    """Check that the feed is connected while a contract trades, and brought something within ``stale_s`` seconds.

    Outside sessions nothing is asked of it. What the venue confirms to be quiet is not stale.
    """
    for each in heard:
        feed = each.report.get("feed")
        if not isinstance(feed, Mapping) or each.silent_s >= alive_s:
            continue
        ages = {
            name: contract["silent_s"] + each.silent_s
            for name, contract in feed["contracts"].items()
            if contract["open"]
        }
        for_s = feed["for_s"] + each.silent_s
        state = f"{'connected' if feed['connected'] else 'not connected'} for {for_s:.0f} s"
        if feed["connected"] or not ages:
            yield Check("feed", ok=True, value=state if ages else f"{state}, out of session")
        else:
            yield Check("feed", ok=False, value=state, remedy=_RECONNECT)
        stale = {name: age_s for name, age_s in ages.items() if age_s > stale_s}
        if stale:
            value = ", ".join(f"{name} silent for {age_s:.0f} s" for name, age_s in stale.items())
            remedy = "the venue is silent or frozen: compare with its own charts; escapement gaps tells what is missing"
            yield Check("data", ok=False, value=value, remedy=remedy)
        else:
            yield Check("data", ok=True, value=f"at most {max(ages.values()):.1f} s old" if ages else "out of session")


def account_checks(heard: Sequence[ServiceHealth], alive_s: float) -> Iterator[Check]:
    """Check that execution knows all that happens to its account while a contract trades: else it opens nothing."""
    for each in heard:
        account = each.report.get("account")
        if not isinstance(account, Mapping) or each.silent_s >= alive_s:
            continue
        if account["current"] or not account["open"]:
            yield Check("account", ok=True, value="heard" if account["current"] else "not heard, out of session")
        else:
            yield Check("account", ok=False, value="cut off from what happens to it", remedy=_RECONNECT)


def disk_checks(directories: Sequence[Path], least_bytes: int) -> list[Check]:
    """Check each disk that some of the directories lie on; blocks for as long as the disks take.

    In the first of them files have to be writable.
    """
    checks: dict[int, Check] = {}
    for directory in directories:
        place = next(each for each in (directory, *directory.parents) if each.exists())
        checks.setdefault(place.stat().st_dev, _disk_check(place, least_bytes, probed=place == directories[0]))
    return list(checks.values())


def _disk_check(directory: Path, least_bytes: int, *, probed: bool) -> Check:
    try:
        free = shutil.disk_usage(directory).free
        if probed:  # a quota or a disk that became read-only shows only so
            with tempfile.TemporaryFile(dir=directory) as probe:
                probe.write(_PROBE)
    except OSError as error:
        return Check("disk", ok=False, value=f"{directory}: {error.strerror}", remedy="make room, or make it writable")
    value = f"{free / 1e9:.2f} GB free in {directory}"
    if free >= least_bytes:
        return Check("disk", ok=True, value=value)
    remedy = f"make room: less than {least_bytes / 1e9:g} GB is left (operations.least_free_bytes)"
    return Check("disk", ok=False, value=value, remedy=remedy)
