"""What is installed with the program: under which licences, listed how; and what the changelog says of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import escapement

ROOT = Path(__file__).parents[2]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
RELEASES = re.findall(r"^## (.*)$", CHANGELOG, re.MULTILINE)


def licences(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "tools" / "check_licences.py", *arguments], check=False, capture_output=True, text=True
    )


def test_whatever_users_install_may_be_used_with_the_program() -> None:
    done = licences()
    assert done.returncode == 0, done.stdout
    assert re.search(r"^certifi +Mozilla", done.stdout, re.MULTILINE)
    assert "Affero" not in done.stdout


@pytest.mark.parametrize("name", ["backtesting", "backtrader"])
def test_a_package_under_gpl_or_agpl_would_be_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(f"pydantic\n{name}\n", encoding="utf-8")
    done = licences(file)
    assert done.returncode == 1
    (refused,) = [line for line in done.stdout.splitlines() if "is not on the list" in line]
    assert refused.startswith(name)


def test_the_bill_of_materials_names_every_pin(tmp_path: Path) -> None:
    target = tmp_path / "sbom.json"
    subprocess.run(
        [Path(sys.executable).with_name("cyclonedx-py"), "requirements", "requirements.txt", "--pyproject",
         "pyproject.toml", "--output-reproducible", "--of", "JSON", "--output-file", target],
        check=True, capture_output=True, cwd=ROOT,
    )  # fmt: skip
    bill = json.loads(target.read_text(encoding="utf-8"))
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = {f"{Requirement(line).name}{Requirement(line).specifier}".replace("==", "@") for line in lines}
    assert {each["purl"].removeprefix("pkg:pypi/") for each in bill["components"]} == pins
    assert bill["metadata"]["component"]["name"] == "escapement"


def test_the_changelog_has_the_form_it_says_and_ends_at_this_version() -> None:
    assert RELEASES[0] == "Unreleased"
    released = [re.fullmatch(r"(\d+\.\d+\.\d+) - (\d{4}-\d\d-\d\d)", each) for each in RELEASES[1:]]
    found = [(Version(each[1]), date.fromisoformat(each[2])) for each in released if each]
    assert len(found) == len(released)
    assert found == sorted(found, reverse=True)
    assert not found or str(found[0][0]) == escapement.__version__


def test_changes_stand_once_each_under_the_headings_of_keep_a_changelog() -> None:
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    for part in re.split(r"^## .*$", CHANGELOG, flags=re.MULTILINE)[1:]:
        headings = re.findall(r"^### (.*)$", part, re.MULTILINE)
        assert set(headings) <= kinds
        assert len(set(headings)) == len(headings)
        lines = [line for line in part.splitlines() if line and not line.startswith("#")]
        assert [line for line in lines if not line.startswith(("- ", "  "))] == []
