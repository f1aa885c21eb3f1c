"""docs/simulator.md says of the simulator what it does."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import yaml

from escapement.simulator import FillModel, Rules
from escapement.simulator.faults import KINDS
from escapement.simulator.scenario import Scenario

PAGE = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text(encoding="utf-8")


def test_every_fault_is_in_the_table_and_no_other() -> None:
    table = PAGE.partition("| kind | what happens |")[2].partition("\n\n")[0]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == sorted(KINDS)


def test_every_part_of_the_fill_model_is_explained_with_its_default() -> None:
    for field in fields(FillModel):
        row = re.search(rf"^\| `{field.name}` \| `?(\w+)`? \|", PAGE, re.MULTILINE)
        assert row, field.name
        assert row[1] == str(field.default).lower()


def test_every_rule_is_named() -> None:
    assert [field.name for field in fields(Rules) if f"`{field.name}`" not in PAGE] == []


def test_the_scenario_shown_is_one() -> None:
    text = PAGE.partition("```yaml\n")[2].partition("```")[0]
    scenario = Scenario.model_validate(yaml.safe_load(text))
    assert len(scenario.accounts) == 2
    assert len(scenario.faults) == 4
