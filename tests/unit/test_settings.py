"""Settings: which source wins, and what is said about what cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from escapement.errors import ConfigurationError
from escapement.model import Timeframe
from escapement.projectx import endpoints
from escapement.settings import GatewaySettings, load_settings, load_settings_with_origins


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def yaml_file(text: str) -> Path:
    file = Path("given.yaml")
    file.write_text(text, encoding="utf-8")
    return file


def faults_of(text: str = "", environ: Mapping[str, str] | None = None, dotenv: str = "") -> list[str]:
    if dotenv:
        Path(".env").write_text(dotenv, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(yaml_file(text), environ=environ or {})
    return str(caught.value).splitlines()


def test_without_any_source_the_defaults_are_in_force() -> None:
    settings = load_settings(environ={})
    assert settings.timeframes == tuple(map(Timeframe.parse, ("1m", "5m", "15m", "1h", "4h", "1d")))
    assert settings.data_dir.is_absolute()
    assert settings.database.url is None


def test_later_sources_win_setting_by_setting() -> None:
    file = yaml_file("ingest: {tolerance_ms: 1, buffer_bars: 1, state_interval_seconds: 1, quiet_close_seconds: 1}")
    Path(".env").write_text(
        "ESCAPEMENT_INGEST__BUFFER_BARS=2\nESCAPEMENT_INGEST__STATE_INTERVAL_SECONDS=2\n"
        "export ESCAPEMENT_INGEST__QUIET_CLOSE_SECONDS='2'\n",
        encoding="utf-8",
    )
    environ = {"ESCAPEMENT_INGEST__STATE_INTERVAL_SECONDS": "3", "ESCAPEMENT_INGEST__QUIET_CLOSE_SECONDS": "3"}
    settings, origins = load_settings_with_origins(file, environ=environ, ingest={"quiet_close_seconds": 4})
    assert settings.ingest.model_dump(exclude={"clock", "replay_speed", "shutdown_grace_seconds"}) == {
        "tolerance_ms": 1, "buffer_bars": 2, "state_interval_seconds": 3.0, "quiet_close_seconds": 4.0,
    }  # fmt: skip
    assert origins["ingest.tolerance_ms"] == "given.yaml line 1"
    assert origins["ingest.buffer_bars"] == ".env variable ESCAPEMENT_INGEST__BUFFER_BARS"
    assert origins["ingest.state_interval_seconds"] == "environment variable ESCAPEMENT_INGEST__STATE_INTERVAL_SECONDS"
    assert origins["ingest.quiet_close_seconds"] == "command line"
    assert origins["ingest.clock"] == "default"


@pytest.mark.parametrize("way", ["named by the caller", "named in the environment", "named in .env", "in its place"])
def test_the_settings_file_is_found(way: str) -> None:
    environ, file = {}, yaml_file("logging: {level: debug}")
    match way:
        case "named in the environment":
            environ["ESCAPEMENT_SETTINGS"] = str(file)
        case "named in .env":
            Path(".env").write_text(f"ESCAPEMENT_SETTINGS={file}\n", encoding="utf-8")
        case "in its place":
            Path("config").mkdir()
            file.rename("config/settings.yaml")
    named = file if way == "named by the caller" else None
    assert load_settings(named, environ=environ).logging.level == "debug"


def test_lists_stand_in_one_variable_separated_by_commas() -> None:
    environ = {"ESCAPEMENT_CONTRACTS": "CON.F.US.MES.Z26, CON.F.US.MNQ.Z26", "ESCAPEMENT_TIMEFRAMES": "1m,4h"}
    settings = load_settings(environ=environ)
    assert [contract.id for contract in settings.contracts] == ["CON.F.US.MES.Z26", "CON.F.US.MNQ.Z26"]
    assert [str(timeframe) for timeframe in settings.timeframes] == ["1m", "4h"]


def test_products_are_named_by_code_with_a_calendar_where_it_is_not_known() -> None:
    settings = load_settings(yaml_file("products: [MES, {code: XYZ, calendar: cme_equity}]"), environ={})
    assert [(product.code, product.calendar) for product in settings.products] == [("MES", None), ("XYZ", "cme_equity")]
    assert [p.code for p in load_settings(environ={"ESCAPEMENT_PRODUCTS": "ES,NQ"}).products] == ["ES", "NQ"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("products: [CON.F.US.MES.Z26]", "products.0.code 'CON.F.US.MES.Z26': is no product; write its code"),
        ("products: [MES, mes]", "products: MES stands there twice"),
        ("products: [{code: MES, calender: cme_fx}]", "products.0.calender is no setting; did you mean calendar?"),
        ("recorder: {max_bytes: 1000}", "recorder.max_bytes 1000: should be greater than or equal to 1048576"),
        ("recorder: {keep_days: 0}", "recorder.keep_days 0: should be greater than or equal to 1"),
    ],
)
def test_faults_of_products_and_of_the_recorder_are_told(text: str, fault: str) -> None:
    (told,) = faults_of(text)
    assert f"given.yaml line 1: {fault}" in told


@pytest.mark.parametrize(
    ("user", "key"),
    [
        ("PROJECTX_USERNAME", "PROJECTX_API_KEY"),
        ("USERNAME_FOR_TOKEN_GENERATION", "PROJECTX_API_TOKEN"),
        ("ESCAPEMENT_GATEWAY__USER_NAME", "ESCAPEMENT_GATEWAY__API_KEY"),
    ],
)
def test_credentials_have_several_names(user: str, key: str) -> None:
    gateway = load_settings(environ={user: "me", key: "k", "DATABASE_URL": "postgres://h/d"}).gateway
    assert gateway.user_name == "me"
    assert gateway.api_key is not None
    assert gateway.api_key.get_secret_value() == "k"


def test_what_is_empty_in_dotenv_and_environment_is_not_set() -> None:
    Path(".env").write_text("PROJECTX_USERNAME=me\nDATABASE_URL=\n", encoding="utf-8")
    settings = load_settings(environ={"PROJECTX_USERNAME": "", "ESCAPEMENT_DATA_DIR": ""})
    assert settings.gateway.user_name == "me"


def test_values_of_dotenv_are_taken_as_they_stand() -> None:
    Path(".env").write_text("PROJECTX_API_KEY=a${HOME}#b=c==\n", encoding="utf-8")
    key = load_settings(environ={}).gateway.api_key
    assert key is not None
    assert key.get_secret_value() == "a${HOME}#b=c=="


def test_a_firm_or_three_urls_say_where_the_gateway_is() -> None:
    assert load_settings(environ={"ESCAPEMENT_GATEWAY__FIRM": "bulenox"}).gateway.endpoints() == endpoints("bulenox")
    own = GatewaySettings(api_url="http://h:1/", market_hub_url="http://h:1/hubs/market", user_hub_url="https://h/u")
    assert own.endpoints().api_url == "http://h:1"


def test_the_data_directory_may_begin_with_the_home_folder() -> None:
    assert load_settings(yaml_file("data_dir: ~/bars"), environ={}).data_dir == Path.home() / "bars"


def test_each_fault_is_told_on_a_line_of_its_own_with_source_name_and_remedy() -> None:
    faults = faults_of(
        "loging: {}\ningest:\n  tolerance_ms: -1\ntimeframes: [1m, 7x]\n",
        {"ESCAPEMENT_LOGGING__LEVL": "info", "ESCAPEMENT_DATABASE__CONNECTIONS": "many"},
        "ESCAPEMENT_COLOUR=red\n",
    )
    expected = (
        ("given.yaml line 1", "loging is no setting", "did you mean logging?"),
        ("given.yaml line 3", "ingest.tolerance_ms -1", "greater than or equal to 0"),
        ("given.yaml line 4", "timeframes.1 '7x'", "1m"),
        ("environment variable ESCAPEMENT_LOGGING__LEVL", "is no setting", "did you mean ESCAPEMENT_LOGGING__LEVEL?"),
        ("environment variable ESCAPEMENT_DATABASE__CONNECTIONS", "database.connections 'many'", "valid integer"),
        (".env variable ESCAPEMENT_COLOUR", "is no setting", "known are"),
    )
    assert len(faults) == len(expected)
    for words in expected:
        assert any(all(word in fault for word in words) for fault in faults), (words, faults)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("timeframes: [1m, 5m, 1m]", ("timeframes", "1m stands there twice")),
        ("timeframes: []", ("timeframes", "at least 1")),
        ("contracts: [A, B, {id: A}]", ("contracts", "A stands there twice")),
        ("contracts: [{id: A, calendar: mars}]", ("contracts.0.calendar 'mars'", "cme_equity")),
        ("contracts: [{calendar: cme_fx}]", ("contracts.0.id", "Field required")),
        ("contracts: [{id: A, calender: cme_fx}]", ("contracts.0.calender", "did you mean calendar?")),
        ("gateway: {firm: topstep}", ("gateway.firm 'topstep'", "topstepx")),
        ("gateway: {api_url: https://h}", ("gateway", "all three or none")),
        ("gateway: {api_url: h, market_hub_url: https://h, user_hub_url: https://h}", ("api_url 'h'", "https://host")),
        ("database: {url: 'mysql://me:pw@h'}", ("database.url", "postgresql://")),
        ("ingest: {buffer_bars: true}", ("ingest.buffer_bars", "not a number")),
        ("ingest: {quiet_close_seconds: .inf}", ("ingest.quiet_close_seconds", "finite")),
        ("ingest: {clock: sundial}", ("ingest.clock 'sundial'", "'system' or 'stream'")),
        ("logging: loud", ("logging", "dictionary")),
        ("a: [", ("line 1", "not YAML")),
        ("logging: {}\nlogging: {}", ("line 2", "'logging' stands twice")),
        ("logging:\n  level: info\n  level: debug", ("line 3", "'level' stands twice")),
        ("- a\n- b", ("holds no settings",)),
        ("data_dir: &a [*a]", ("contains itself",)),
        ("? [a]\n: b", ("key is a list",)),
        ("data_dir: 2025-99-99", ("not YAML",)),
        ("data_dir: " + "[" * 5_000, ("not YAML",)),
        ("timescale: {compress_after_days: 90, keep_days: 60}", ("timescale", "keep_days is not above")),
        ("timescale: {compress_after_days: 3}", ("timescale.compress_after_days", "3")),
    ],
)
def test_what_cannot_be_used_is_named(text: str, words: tuple[str, ...]) -> None:
    (fault,) = faults_of(text)
    assert fault.startswith("given.yaml")
    assert all(word in fault for word in words), fault


def test_a_settings_file_that_cannot_be_read_is_named() -> None:
    for name, word in (("missing.yaml", "No such file"), (".", "directory")):
        with pytest.raises(ConfigurationError, match=word) as caught:
            load_settings(Path(name), environ={})
        assert str(caught.value).startswith(name)
    Path("given.yaml").write_bytes(b"level: \xff")
    with pytest.raises(ConfigurationError, match=r"given\.yaml: is not YAML"):
        load_settings(Path("given.yaml"), environ={})


def test_a_dotenv_line_that_cannot_be_read_is_named() -> None:
    (fault,) = faults_of(dotenv="PROJECTX_USERNAME=me\nPROJECTX_API_KEY: k\n")
    assert ".env line 2" in fault
    assert "NAME=value" in fault


def test_a_dotenv_that_is_no_text_is_named() -> None:
    Path(".env").write_bytes(b"A=\xff\xfe")
    with pytest.raises(ConfigurationError, match=r"\.env: is not UTF-8"):
        load_settings(environ={})


def test_variables_of_other_programs_and_of_tests_are_no_settings() -> None:
    environ = {"HOME": "x", "LEVEL": "x", "ESCAPEMENT_TEST_TIMESCALE_URL": "x", "ESCAPEMENT_SHARED": "x"}
    assert load_settings(environ=environ) == load_settings(environ={})


@pytest.mark.parametrize(
    "text",
    [
        "gateway: {api_key: {SECRET}, api_url: https://h}",
        "gateway: {api_key: [{SECRET}]}",
        "gateway: {SECRET}",
        "gateway: [{SECRET}]",
        "database: {url: {SECRET}}",
        "database: postgresql://me:{SECRET}@h/d",
        "gateway: {api_url: 'ftp://me:{SECRET}@h', market_hub_url: x, user_hub_url: y}",
        "contracts: [{api_key: {SECRET}}]",
        "api_key: {SECRET}",
    ],
)
def test_no_fault_shows_a_secret(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(yaml_file(text.replace("{SECRET}", "s3cr3tvalue")), environ={})
    chain: BaseException | None = caught.value
    while chain is not None:
        assert "s3cr3tvalue" not in f"{chain} {chain!r}"
        chain = chain.__cause__ or chain.__context__


def test_settings_do_not_show_their_secrets() -> None:
    settings = load_settings(environ={"DATABASE_URL": "postgresql://me:s3cr3t@h/d", "PROJECTX_API_KEY": "s3cr3t"})
    assert "s3cr3t" not in f"{settings!r} {settings} {settings.model_dump_json()}"
