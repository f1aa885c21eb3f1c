"""The documentation site builds without a warning or a network, and says what there is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from commands import blocks, commands_in, refusal
from escapement.settings import LIVE_VARIABLE, LOCATION_VARIABLE, Settings, setting_paths
from escapement.settings.sources import SETTINGS_VARIABLE, VARIABLES

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
SETTING_VARIABLES = {f"ESCAPEMENT_{path.upper().replace('.', '__')}" for path in setting_paths()}
OTHER_VARIABLES = {LIVE_VARIABLE, LOCATION_VARIABLE, SETTINGS_VARIABLE}
# Names in documentation that stand for others.
PATTERNS = {"ESCAPEMENT_SECTION__NAME", "ESCAPEMENT_LOGGING__LEVL"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built where nothing can be reached, where that can be had."""
    folder = tmp_path_factory.mktemp("site")
    alone = ["unshare", "-n"] if os.geteuid() == 0 and shutil.which("unshare") else []
    done = subprocess.run(
        [*alone, sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        check=False, capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "tools", "NO_MKDOCS_2_WARNING": "1", "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(PAGES)
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r'(?:src|<link[^>]* href)="?(?:https?:)?//[^">]+', text), page
        assert not re.findall(r"url\((?:https?:)?//", text), page


def test_every_page_can_be_found(site: Path) -> None:
    start = (site / "index.html").read_text(encoding="utf-8")
    for page in PAGES:
        assert f'href="{page.relative_to(ROOT / "docs").with_suffix(".html")}"' in start or page.name == "index.md", (
            page
        )


def test_the_reference_names_every_variable_command_table_and_channel(site: Path) -> None:
    variables = (site / "reference/variables.html").read_text(encoding="utf-8")
    assert [name for name in (*SETTING_VARIABLES, *OTHER_VARIABLES, *VARIABLES) if f">{name}<" not in variables] == []
    line = (site / "reference/cli.html").read_text(encoding="utf-8")
    assert all(word in line for word in ("escapement history download", "--services", "escapement kill"))
    tables = (site / "reference/tables.html").read_text(encoding="utf-8")
    names = ("ohlc_bars", "detected_signals", "analyzer_watermarks", "coordinator_watermarks", "completeness")
    assert [name for name in names if f'id="{name}"' not in tables] == []
    assert "<code>bar_revisions</code>" in tables.partition("Announcements")[2]
    assert "feed_frozen" in (site / "reference/events.html").read_text(encoding="utf-8")
    calls = (site / "reference/api.html").read_text(encoding="utf-8")
    assert all(
        f"{call}</h2>" in re.sub(r"<a class.*?</a>", "", calls) for call in ("GET /api/v1/now", "POST /api/v1/kill")
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_variables_and_settings_in_documentation_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"\bESCAPEMENT_[A-Z][A-Z_]*[A-Z]\b", text))
    assert named <= SETTING_VARIABLES | OTHER_VARIABLES | PATTERNS
    sections = [name for name in Settings.model_fields if any(path.startswith(f"{name}.") for path in setting_paths())]
    # What is named with a call or an ending of a file is no setting.
    settings = set(re.findall(rf"`((?:{'|'.join(sections)})\.[a-z_]+)\b(?![.(])", text))
    assert {each for each in settings if not each.endswith((".py", ".sql", ".log", ".key"))} <= set(setting_paths())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_command_line_takes_every_command_of_the_documentation(page: Path) -> None:
    refused = [refusal(words) for _, block in blocks(page) for words in commands_in(block)]
    assert [each for each in refused if each] == []
