"""``escapement config`` as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from escapement import __version__


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the program is started, with settings and secrets in every source."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "settings.yaml").write_text(
        "contracts: [CON.F.US.MES.Z26]\ningest:\n  tolerance_ms: 250\ngateway:\n  firm: bulenox\n", encoding="utf-8"
    )
    (tmp_path / ".env").write_text("PROJECTX_USERNAME=me\nPROJECTX_API_KEY=s3cr3t-key\n", encoding="utf-8")
    return tmp_path


def escapement(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("ESCAPEMENT_", "PROJECTX_"))}
    return subprocess.run(
        [sys.executable, "-m", "escapement", *words],
        cwd=folder, env=bare | environ, check=False, capture_output=True, text=True,
    )  # fmt: skip


def test_show_prints_what_is_in_force_and_from_where_without_secrets(folder: Path) -> None:
    done = escapement(folder, "config", "show", DATABASE_URL="postgresql://me:s3cr3t-pw@h/d")
    assert done.returncode == 0, done.stderr
    assert "s3cr3t" not in done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert "  tolerance_ms: 250  # config/settings.yaml line 3" in lines
    assert "  user_name: me  # .env variable PROJECTX_USERNAME" in lines
    assert "  url: '**********'  # environment variable DATABASE_URL" in lines
    assert "  level: info  # default" in lines
    as_json = escapement(folder, "config", "show", "--json", DATABASE_URL="postgresql://me:s3cr3t-pw@h/d")
    assert yaml.safe_load(done.stdout) == json.loads(as_json.stdout)


def test_check_names_the_contracts_of_settings_that_can_be_used(folder: Path) -> None:
    done = escapement(folder, "config", "check")
    assert (done.returncode, done.stderr) == (0, "")
    assert "CON.F.US.MES.Z26" in done.stdout


@pytest.mark.parametrize("command", [["config", "check"], ["config", "show"], ["ingest"]])
def test_every_fault_is_a_line_on_standard_error_and_the_exit_code_is_2(folder: Path, command: list[str]) -> None:
    (folder / "other.yaml").write_text("timeframes: [9x]\nlogging: {level: loud}\n", encoding="utf-8")
    done = escapement(folder, "--settings", "other.yaml", *command, ESCAPEMENT_DATADIR="x")
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert [line.split(":")[0] for line in lines] == ["error"] * 3
    assert any("did you mean ESCAPEMENT_DATA_DIR?" in line for line in lines)
    assert any("other.yaml line 1: timeframes.0 '9x'" in line for line in lines)
    assert any("other.yaml line 2: logging.level 'loud'" in line for line in lines)


def test_ingest_asks_for_each_missing_credential(folder: Path) -> None:
    (folder / ".env").unlink()
    done = escapement(folder, "ingest", PROJECTX_USERNAME="", PROJECTX_API_KEY="")
    assert done.returncode == 2
    assert [line.split()[1] for line in done.stderr.splitlines()] == ["gateway.user_name", "gateway.api_key"]


def test_the_version_is_printed(tmp_path: Path) -> None:
    assert escapement(tmp_path, "--version").stdout.strip() == __version__
