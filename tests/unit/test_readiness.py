"""What counts as ready, and what is said when it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from escapement.ports import ServiceHealth
from escapement.services.readiness import account_checks, database_check, disk_checks, feed_checks, service_checks

ALIVE_S, STALE_S = 15.0, 90.0


def heard(state: str = "running", silent_s: float = 1.0, *, error: str = "", **report: object) -> ServiceHealth:
    return ServiceHealth("ingest", state, 0, 0, error, "here:1", silent_s, report)


def feed(*, connected: bool = True, is_open: bool = True, silent_s: float = 0.0) -> dict[str, object]:
    return {"connected": connected, "for_s": 5.0, "contracts": {"MES": {"open": is_open, "silent_s": silent_s}}}


@pytest.mark.parametrize(
    ("found", "ok", "value"),
    [
        ([], False, "never heard of"),
        ([heard()], True, "running"),
        ([heard(silent_s=15.0)], False, "silent for 15 s"),
        ([heard("waiting", error="no network")], False, "waiting: no network"),
        ([heard("starting")], False, "starting"),
        # An old error of one that runs again is past.
        ([heard(error="no network")], True, "running"),
        # One process is gone, another does the work.
        ([heard(silent_s=99), heard()], True, "running"),
        # One of two that are at work does not.
        ([heard("waiting", error="no network"), heard()], False, "waiting: no network; running"),
    ],
)
def test_a_service_is_well_when_every_living_process_that_has_it_runs_it(
    found: list[ServiceHealth], *, ok: bool, value: str
) -> None:
    (check,) = service_checks(found, ["ingest"], ALIVE_S)
    assert (check.name, check.ok, check.value) == ("service ingest", ok, value)
    assert bool(check.remedy) != ok


@pytest.mark.parametrize(
    ("found", "value"),
    [
        ([], "none runs"),
        ([heard("stopped", silent_s=9_999)], "none runs"),
        ([heard()], "running"),
        ([heard(silent_s=99)], "silent for 99 s"),
        ([heard("failed", error="no network")], "failed: no network"),
    ],
)
def test_who_expects_nothing_by_name_expects_what_was_started_and_not_stopped(
    found: list[ServiceHealth], value: str
) -> None:
    (check,) = service_checks(found, None, ALIVE_S)
    assert (check.value, check.ok) == (value, value == "running")


@pytest.mark.parametrize(
    ("told", "age_s", "feed_ok", "data_ok"),
    [
        (feed(), 1.0, True, True),
        (feed(connected=False), 1.0, False, True),
        (feed(connected=False, is_open=False, silent_s=9_999), 1.0, True, True),
        (feed(silent_s=91), 1.0, True, False),
        # What was told a while ago has grown older since.
        (feed(silent_s=80), 12.0, True, False),
    ],
)
def test_the_feed_has_to_be_connected_and_fresh_in_session_only(
    told: dict[str, object], age_s: float, *, feed_ok: bool, data_ok: bool
) -> None:
    checks = {each.name: each for each in feed_checks([heard(silent_s=age_s, feed=told)], ALIVE_S, STALE_S)}
    assert (checks["feed"].ok, checks["data"].ok) == (feed_ok, data_ok)
    assert all(bool(each.remedy) != each.ok for each in checks.values())


def test_the_last_word_of_a_process_that_is_gone_says_nothing_of_the_feed() -> None:
    assert list(feed_checks([heard(silent_s=99, feed=feed(silent_s=1))], ALIVE_S, STALE_S)) == []
    assert list(feed_checks([heard()], ALIVE_S, STALE_S)) == []


@pytest.mark.parametrize(
    ("current", "is_open", "silent_s", "said"),
    [
        (True, True, 1.0, [True]), (False, True, 1.0, [False]), (False, False, 1.0, [True]), (False, True, 99.0, []),
    ],
)  # fmt: skip
def test_execution_has_to_hear_of_its_account_in_session_only(
    silent_s: float, said: list[bool], *, current: bool, is_open: bool
) -> None:
    told = {"current": current, "open": is_open}
    checks = list(account_checks([heard(silent_s=silent_s, account=told), heard()], ALIVE_S))
    assert [each.ok for each in checks] == said
    assert all(bool(each.remedy) != each.ok for each in checks)


def test_a_schema_of_another_version_names_the_command() -> None:
    assert database_check("0009", "0009").ok
    check = database_check(None, "0009")
    assert (check.ok, check.value, check.remedy) == (
        False, "schema is not there, 0009 is needed", "run escapement db init",
    )  # fmt: skip


def test_each_disk_is_checked_once_and_a_folder_that_is_not_there_by_the_one_above(tmp_path: Path) -> None:
    (check,) = disk_checks([tmp_path / "not" / "there", tmp_path], 0)
    assert check.ok
    assert list(tmp_path.iterdir()) == []
    (check,) = disk_checks([tmp_path], 10**18)
    assert (check.ok, "1e+09 GB" in check.remedy) == (False, True)
