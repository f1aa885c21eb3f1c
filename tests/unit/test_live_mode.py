"""Live trading cannot be entered by one setting, by a typo, by a default, or by what a file says alone."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from escapement import wiring_execution
from escapement.errors import ConfigurationError
from escapement.settings import Settings, load_settings

ALLOWED = {"ESCAPEMENT_LIVE_TRADING": "yes"}


def settings(mode: str = "live", account: str | None = "PRAC-1", rules: str | None = None) -> Settings:
    return load_settings(environ={}, execution={"mode": mode, "account": account}, risk={"firm_rules": rules})


def test_without_a_word_it_trades_on_paper() -> None:
    assert wiring_execution.check_mode(Settings(), None, {}) == "paper"
    assert wiring_execution.check_mode(Settings(), None, ALLOWED) == "paper"
    assert wiring_execution.check_mode(settings(), "paper", ALLOWED) == "paper"


def test_with_everything_it_trades_live() -> None:
    assert wiring_execution.check_mode(settings(), None, ALLOWED) == "live"
    assert wiring_execution.check_mode(settings(), "live", ALLOWED) == "live"


@pytest.mark.parametrize(
    ("by_setting", "by_variable", "by_account", "by_option"),
    [each for each in product([True, False], repeat=4) if (each[0] or each[3]) and not all(each[:3])],
)
def test_anything_less_is_refused_and_names_all_that_is_missing(
    *, by_setting: bool, by_variable: bool, by_account: bool, by_option: bool
) -> None:
    chosen = settings("live" if by_setting else "paper", "PRAC-1" if by_account else None)
    with pytest.raises(ConfigurationError) as refused:
        wiring_execution.check_mode(chosen, "live" if by_option else None, ALLOWED if by_variable else {})
    lines = str(refused.value).splitlines()
    assert len(lines) == [by_setting, by_variable, by_account].count(False)
    assert any("execution.mode is paper" in line for line in lines) is not by_setting
    assert any("ESCAPEMENT_LIVE_TRADING" in line for line in lines) is not by_variable
    assert any("execution.account is missing" in line for line in lines) is not by_account


@pytest.mark.parametrize("value", ["", "Yes", "YES", "yes ", " yes", "y", "true", "1", "on", "live", "no"])
def test_the_variable_says_yes_or_nothing(value: str) -> None:
    with pytest.raises(ConfigurationError, match="ESCAPEMENT_LIVE_TRADING is not yes"):
        wiring_execution.check_mode(settings(), None, {"ESCAPEMENT_LIVE_TRADING": value})


@pytest.mark.parametrize("name", ["ESCAPEMENT_LIVE_TRADNG", "escapement_live_trading", "LIVE_TRADING"])
def test_a_variable_with_another_name_does_not_count(name: str) -> None:
    with pytest.raises(ConfigurationError, match="ESCAPEMENT_LIVE_TRADING is not yes"):
        wiring_execution.check_mode(settings(), None, {name: "yes"})


@pytest.mark.parametrize("mode", ["Live", "LIVE", " live", "real", ""])
def test_a_mode_that_is_misspelt_is_refused_wherever_it_stands(mode: str) -> None:
    with pytest.raises(ConfigurationError, match=r"execution\.mode"):
        settings(mode)
    if mode:
        with pytest.raises(ConfigurationError, match="--mode"):
            wiring_execution.check_mode(settings(), mode, ALLOWED)


def test_a_misspelt_variable_with_our_prefix_is_refused_rather_than_overlooked() -> None:
    with pytest.raises(ConfigurationError, match="ESCAPEMENT_LIVE_TRADNG"):
        load_settings(environ={"ESCAPEMENT_LIVE_TRADNG": "yes"})


def test_a_file_cannot_say_yes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("ESCAPEMENT_LIVE_TRADING=yes\nESCAPEMENT_EXECUTION__MODE=live\n", encoding="utf-8")
    chosen = load_settings(environ={}, execution={"account": "PRAC-1"})
    assert chosen.execution.mode == "live"
    with pytest.raises(ConfigurationError, match="not in a file"):
        wiring_execution.check_mode(chosen, None, {})


@pytest.mark.parametrize("account", ["", " "])
def test_a_blank_account_is_no_account(account: str) -> None:
    with pytest.raises(ConfigurationError, match=r"execution\.account"):
        settings(account=account)


@pytest.mark.parametrize("location", [None, "server", "own device", "own-device"])
def test_a_firm_that_forbids_servers_asks_for_a_device_of_ones_own(location: str | None) -> None:
    environ = ALLOWED if location is None else ALLOWED | {"ESCAPEMENT_LOCATION": location}
    chosen = settings(rules="topstep_combine_50k")
    if location == "own-device":
        assert wiring_execution.check_mode(chosen, None, environ) == "live"
    else:
        with pytest.raises(ConfigurationError, match="ESCAPEMENT_LOCATION=own-device"):
            wiring_execution.check_mode(chosen, None, environ)
    assert wiring_execution.check_mode(settings(rules="generic_50k"), None, ALLOWED) == "live"


def test_the_watchdog_looks_after_nothing_but_a_live_account_that_may_be_traded() -> None:
    wiring_execution.check_watchdog(settings(), ALLOWED)
    for chosen, environ in ((settings("paper"), ALLOWED), (settings(), {})):
        with pytest.raises(ConfigurationError):
            wiring_execution.check_watchdog(chosen, environ)


def test_the_tests_themselves_never_trade_live() -> None:
    import os  # noqa: PLC0415 - the one place that looks at the environment of the tests

    assert "ESCAPEMENT_LIVE_TRADING" not in os.environ
