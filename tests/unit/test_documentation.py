"""Documentation, the shipped settings and the pins say what the program does."""

from __future__ import annotations

import importlib.metadata
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from typer.main import get_command

import escapement
from escapement.cli import app
from escapement.model import Trade
from escapement.moments import ns_from_iso
from escapement.projectx.firms import firm_names
from escapement.settings import Settings, load_settings, setting_paths
from escapement.settings.sources import VARIABLES

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHIPPED = ROOT / "config" / "settings.yaml"


def default_of(path: str) -> object:
    value: object = Settings().model_dump(mode="json")
    for name in path.split("."):
        assert isinstance(value, dict)
        value = value[name]
    return None if path == "data_dir" else value


def commands(command: object, name: str) -> Iterator[tuple[str, str]]:
    """Every command that does something, with its help."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, getattr(command, "help", None) or ""
    else:
        for word, each in inner.items():
            yield from commands(each, f"{name} {word}")


COMMANDS = dict(commands(get_command(app), "escapement"))


def test_the_shipped_settings_file_holds_every_setting_with_its_default() -> None:
    content = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    found = {
        f"{name}.{inner}" if isinstance(value, dict) else name
        for name, value in content.items()
        for inner in (value if isinstance(value, dict) else [name])
    }
    assert found == set(setting_paths())
    assert load_settings(SHIPPED, environ={}) == Settings()


def test_every_line_of_the_shipped_settings_file_that_sets_something_is_explained() -> None:
    above = ""
    for line in SHIPPED.read_text(encoding="utf-8").splitlines():
        setting = re.fullmatch(r" *(\w+): \S.*", line)
        if setting and not re.match(r" *(market|user)_hub_url", line):
            assert above.lstrip().startswith("#"), f"{line!r} has no comment above it"
        above = line


@pytest.mark.parametrize("path", list(setting_paths()))
def test_every_setting_is_documented_with_its_default(path: str) -> None:
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| `{re.escape(path)}` \| `(.*?)` \| (.*?) \| (.+) \|$", text, re.MULTILINE)
    assert row, f"docs/settings.md has no row of {path}"
    assert yaml.safe_load(row[1]) == default_of(path)
    if path.endswith("_seconds"):
        assert row[2].startswith("seconds")
    if path.endswith("_ms"):
        assert row[2].startswith("milliseconds")


def test_every_variable_and_firm_is_documented() -> None:
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert [name for name in (*VARIABLES, *firm_names()) if f"`{name}`" not in text] == []
    shipped = SHIPPED.read_text(encoding="utf-8")
    assert [name for name in firm_names() if not re.search(rf"\b{name}\b", shipped)] == []


def test_the_example_of_dotenv_holds_only_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    Path(".env").write_text(text, encoding="utf-8")
    assert load_settings(environ={}) == Settings()
    Path(".env").write_text(re.sub(r"(?m)^# (?=ESCAPEMENT_\w+=)", "", text), encoding="utf-8")
    assert load_settings(environ={}).contracts


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_help_and_is_documented(name: str) -> None:
    assert len(COMMANDS[name]) > 20
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert re.search(rf"{name}\b", pages), f"no page mentions {name!r}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_the_documentation_exist(page: Path) -> None:
    known = set(COMMANDS) | {name.rpartition(" ")[0] for name in COMMANDS}
    for line in re.findall(
        r"escapement((?: [a-z][a-z-]*)+)", " ".join(re.findall(r"`[^`]+`", page.read_text("utf-8")))
    ):
        words = line.split()
        assert any(" ".join(["escapement", *words[:length]]) in known for length in (1, 2)), f"escapement{line}"


def test_documentation_is_reachable_from_its_index() -> None:
    seen: set[Path] = set()
    to_read = [ROOT / "docs" / "index.md", ROOT / "README.md"]
    while to_read:
        page = to_read.pop().resolve()
        if page not in seen and page.suffix == ".md":
            seen.add(page)
            links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
            to_read += [page.parent / target for target in links]
    assert [str(page.relative_to(ROOT)) for page in PAGES if page.resolve() not in seen] == []


def pins(name: str) -> dict[str, Requirement]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("-r ")]
    return {pin.name.lower().replace("_", "-"): pin for pin in found}


def test_pins_are_exact_satisfy_what_is_declared_and_name_no_host() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    runtime = pins("requirements.txt")
    everything = runtime | pins("requirements-dev.txt")
    declared = [(text, runtime) for text in project["dependencies"]]
    declared += [(text, everything) for extra in project["optional-dependencies"].values() for text in extra]
    for text, pinned in declared:
        wanted = Requirement(text)
        pin = pinned.get(wanted.name.lower().replace("_", "-"))
        assert pin is not None, f"{text} is not pinned; run make pins"
        (exact,) = pin.specifier
        assert exact.operator == "=="
        assert wanted.specifier.contains(exact.version), f"{pin} is not {text}; run make pins"
    for name in ("requirements.txt", "requirements-dev.txt"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not re.search(r"://|^--|^-i|@", text, re.MULTILINE)


MODULES = ["escapement", *(module.name for module in pkgutil.walk_packages(escapement.__path__, "escapement."))]
IMPORT_EACH_ALONE = """
import importlib, sys
for name in sys.argv[1:]:
    for loaded in [each for each in sys.modules if each.partition(".")[0] == "escapement"]:
        del sys.modules[loaded]
    module = importlib.import_module(name)
    for exported in getattr(module, "__all__", ()):
        getattr(module, exported)
"""


@pytest.mark.parametrize("part", range(6))
def test_every_module_can_be_imported_first_and_has_what_it_exports(part: int) -> None:
    skipped = {"escapement.__main__", "escapement.storage.migrations.env"}  # they run what they are for
    # Whoever imports a command imports all of them first, and so everything.
    names = [name for name in MODULES[part::6] if name not in skipped and not name.startswith("escapement.cli.")]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT_EACH_ALONE, *names], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_version_is_that_of_the_package() -> None:
    assert importlib.metadata.version("escapement") == escapement.__version__


def test_the_example_of_the_aggregator_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "bars.md").read_text(encoding="utf-8"), re.DOTALL)
    start = ns_from_iso("2025-03-17T14:00:00Z")
    moments = (start, start + 61 * 10**9, start)
    trades = [Trade("CON.F.US.MES.M25", at_ns, 5_650.25, 1) for at_ns in moments]
    exec(compile(code, "docs/bars.md", "exec"), {"trades": trades})  # noqa: S102 - our own page
    bar, late = capsys.readouterr().out.splitlines()
    assert bar.startswith("Bar(")
    assert late.startswith("not in a bar: LateTrade(")
