"""Scenarios: who trades at the simulated venue and what goes wrong there, as a file.

YAML with any of ``users``, ``accounts``, ``contracts``, ``front_since``, ``fills``, ``rules``, ``faults``, ``seed``,
whose inner names are the fields of ``AccountSpec``, ``Contract``, ``FillModel``, ``Rules`` and ``Fault``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import AwareDatetime, BaseModel, ConfigDict, SecretStr, ValidationError, field_validator

from escapement.errors import InvalidInput
from escapement.model import Contract
from escapement.simulator.accounts import AccountSpec
from escapement.simulator.faults import Fault
from escapement.simulator.fills import FillModel
from escapement.simulator.venue import Rules


class Scenario(BaseModel):
    """What a scenario file may say; see ``SimulatorConfig`` for the meaning."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    users: Mapping[str, SecretStr] | None = None
    accounts: tuple[AccountSpec, ...] = ()
    contracts: tuple[Contract, ...] = ()
    front_since: Mapping[str, AwareDatetime] = {}
    fills: FillModel = FillModel()
    rules: Rules = Rules()
    faults: tuple[Fault, ...] = ()
    seed: int = 1

    @field_validator("faults", mode="before")
    @classmethod
    def _kinds_alone(cls, value: object) -> object:
        return (
            [{"kind": each} if isinstance(each, str) else each for each in value] if isinstance(value, list) else value
        )


class _OneFault(BaseModel):
    model_config = ConfigDict(extra="forbid")
    fault: Fault


def read_scenario(path: Path) -> Scenario:
    """Return what a scenario file says.

    Raises:
        InvalidInput: it cannot be read; a line for each thing that is wrong.
    """
    try:
        return Scenario.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}; name a scenario file that can be read") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: is not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        raise InvalidInput("\n".join(f"{path}: {line}" for line in _lines(error))) from None


def fault_from(data: object) -> Fault:
    """Return the fault that plain data describes.

    Raises:
        InvalidInput: it describes none.
    """
    try:
        return _OneFault.model_validate({"fault": data}).fault
    except ValidationError as error:
        raise InvalidInput("; ".join(_lines(error))) from None


def fault_from_text(text: str) -> Fault:
    """Read ``kind`` or ``kind:name=value,name=value`` as the command line writes it.

    Raises:
        InvalidInput: it describes no fault.
    """
    kind, _, rest = text.partition(":")
    pairs = (part.partition("=") for part in filter(None, rest.split(",")))
    return fault_from({"kind": kind} | {name.strip(): value.strip() for name, _, value in pairs})


def _lines(error: ValidationError) -> list[str]:
    """Say what is wrong without the values, among which are keys."""
    return [
        f"{'.'.join(map(str, each['loc']))}: {each['msg'].removeprefix('Value error, ')}"
        for each in error.errors(include_url=False, include_input=False, include_context=False)
    ]
