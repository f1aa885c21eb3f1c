"""Which analyzers run on what, as the settings say it, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from escapement import wiring
from escapement.errors import ConfigurationError
from escapement.model import Timeframe
from escapement.settings import load_settings

BASE = "contracts: [CON.F.US.MES.Z26, CON.F.US.MNQ.Z26]\ntimeframes: [1m, 5m, 1h]\n"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def planned(text: str, base: str = BASE) -> list[tuple[str, str, str, str]]:
    file = Path("given.yaml")
    file.write_text(f"{base}analyzers:\n  run: {text}\n", encoding="utf-8")
    chosen = load_settings(file, environ={})
    series = [(each.id, timeframe) for each in chosen.contracts for timeframe in chosen.timeframes]
    return [
        (each.key.analyzer, each.key.contract_id.split(".")[3], str(each.key.timeframe), each.key.params)
        for run in wiring.analyzer_runs(chosen)
        for each in run.on(series)
    ]


def faults(text: str, base: str = BASE) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        planned(text, base)
    return str(caught.value).splitlines()


def test_without_a_word_trend_starts_run_on_everything() -> None:
    chosen = load_settings(environ={"ESCAPEMENT_CONTRACTS": "CON.F.US.MES.Z26"})
    series = [("CON.F.US.MES.Z26", timeframe) for timeframe in chosen.timeframes]
    (run,) = wiring.analyzer_runs(chosen)
    assert [each.key.analyzer for each in run.on(series)] == ["trend_starts"] * 6


def test_a_list_of_names_may_stand_in_a_variable() -> None:
    variable = {"ESCAPEMENT_ANALYZERS__RUN": "trend_starts, donchian_breakout"}
    assert [run.named for run in wiring.analyzer_runs(load_settings(environ=variable))] == [
        "trend_starts", "donchian_breakout",
    ]  # fmt: skip


def test_parameters_are_the_defaults_then_those_of_all_timeframes_then_those_of_one() -> None:
    text = "[{name: moving_average_crossover, contracts: [MNQ], params: {fast: 5}, timeframe_params: {1h: {slow: 9}}}]"
    assert planned(text) == [
        ("moving_average_crossover", "MNQ", "1m", '{"fast":5,"slow":30}'),
        ("moving_average_crossover", "MNQ", "5m", '{"fast":5,"slow":30}'),
        ("moving_average_crossover", "MNQ", "1h", '{"fast":5,"slow":9}'),
    ]


def test_one_analyzer_may_run_twice_where_its_parameters_differ() -> None:
    text = "[{name: donchian_breakout, timeframes: 5m}, {name: donchian_breakout, timeframes: 5m, params: {length: 9}}]"
    assert [row[3] for row in planned(text)] == ['{"length":20}'] * 2 + ['{"length":9}'] * 2


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[trend_start]", "analyzers.run.0.name: analyzer 'trend_start' is unknown; did you mean trend_starts?"),
        ("[nowhere.py]", "analyzers.run.0.name: analyzer file nowhere.py is not there"),
        (
            "[{name: donchian_breakout, params: {lenght: 5}}]",
            "analyzers.run.0.params: analyzer donchian_breakout has no parameter 'lenght'; did you mean length?",
        ),
        ("[{name: donchian_breakout, params: {length: long}}]", "analyzers.run.0.params: analyzer donchian_b"),
        (
            "[trend_starts, {name: moving_average_crossover, timeframe_params: {1h: {fast: 30}}}]",
            "analyzers.run.1.timeframe_params.1h: analyzer moving_average_crossover: slow 30 is not more than fast 30",
        ),
        (
            "[{name: trend_starts, timeframes: [2m]}]",
            "analyzers.run.0.timeframes 2m is not built; add it to timeframes (1m, 5m, 1h)",
        ),
        (
            "[{name: donchian_breakout, timeframes: [5m], timeframe_params: {1h: {length: 5}}}]",
            "analyzers.run.0.timeframe_params 1h is no timeframe it runs on; use some of 5m",
        ),
        (
            "[{name: trend_starts, contracts: [CON.F.US.MES.H27]}]",
            "analyzers.run.0.contracts 'CON.F.US.MES.H27' is not among contracts (CON.F.US.MES.Z26, CON.F.US.MNQ.Z26)",
        ),
        (
            "[trend_starts, {name: trend_starts, timeframes: [1h]}]",
            "analyzers.run: trend_starts with {} stands there twice for 1h; name each once",
        ),
    ],
)  # fmt: skip
def test_what_cannot_run_is_refused_with_its_place_and_the_remedy(text: str, fault: str) -> None:
    (found,) = faults(text)
    assert found.startswith(fault)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[{name: trend_starts, timeframes: [7x]}]", "analyzers.run.0.timeframes.0 '7x': timeframe '7x' is unknown"),
        ("[{name: trend_starts, param: {}}]", "analyzers.run.0.param is no setting; did you mean params?"),
        ("[{name: trend_starts, timeframes: [1m, 1m]}]", "analyzers.run.0.timeframes: 1m stands there twice"),
        ("[{params: {}}]", "analyzers.run.0.name: Field required"),
        ("[{name: trend_starts, in_worker: 7}]", "analyzers.run.0.in_worker 7: should be a valid boolean"),
    ],
)
def test_what_is_no_setting_is_refused_with_its_line(text: str, fault: str) -> None:
    (found,) = faults(text)
    assert found.startswith(f"given.yaml line 4: {fault}")


def test_an_analyzer_that_cannot_be_made_is_refused() -> None:
    text = "class Odd:\n    " + "\n    ".join(
        ["name, version, params_type = 'odd', 1, OddParams", "warm_up_bars = None", "def push(self, bar): ..."]
        + [f"{name} = push" for name in ("advance", "snapshot", "restore")]
    )
    head = "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass OddParams: ...\n"
    Path("odd.py").write_text(f"{head}{text}\n", encoding="utf-8")
    (found,) = faults("[odd.py]")
    assert found.startswith("analyzer odd.py cannot be made with {}: TypeError")


def test_all_faults_are_told_at_once() -> None:
    assert len(faults("[trend_start, {name: donchian_breakout, timeframes: [2m], params: {length: 0}}]")) == 3


def test_products_need_no_contracts_and_may_be_named_by_their_code() -> None:
    file = Path("given.yaml")
    file.write_text("products: [MES]\nanalyzers: {run: [{name: trend_starts, contracts: [MES]}]}", encoding="utf-8")
    (run,) = wiring.analyzer_runs(load_settings(file, environ={}))
    minute = Timeframe.parse("1m")
    assert (
        len(list(run.on([("CON.F.US.MES.Z26", minute), ("CON.F.US.MES.H27", minute), ("CON.F.US.EP.H27", minute)])))
        == 2
    )
