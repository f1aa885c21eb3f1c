"""The file in which accounts, orders and the clock survive a restart."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson

from escapement.errors import InvalidInput

_VERSION = 1


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Replace the file at one stroke, so that a crash leaves the old one or the new one.

    Raises:
        InvalidInput: the file cannot be written.
    """
    beside = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(orjson.dumps({"version": _VERSION, "venue": state}))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise InvalidInput(f"state file {path}: {error.strerror or error}; name one that can be written") from error


def read_state(path: Path) -> dict[str, Any]:
    """Return what was written last.

    Raises:
        InvalidInput: the file cannot be read or is of another program.
    """
    try:
        data = orjson.loads(path.read_bytes())
        if data["version"] != _VERSION:
            raise InvalidInput(f"state file {path}: is of version {data['version']}; delete it to begin anew")
        state: dict[str, Any] = data["venue"]
    except OSError as error:
        raise InvalidInput(f"state file {path}: {error.strerror or error}") from error
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise InvalidInput(f"state file {path}: is no state of the simulator; delete it to begin anew") from error
    return state
