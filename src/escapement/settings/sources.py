"""Where settings come from: a YAML file, ``.env`` and the environment, each read to values with their origins.

Every name that is no setting, and everything that cannot be read, is a fault; reading goes on, so that all faults are
told at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from dotenv.parser import parse_stream

from escapement.settings.fields import Loader

PREFIX = "ESCAPEMENT_"
SETTINGS_VARIABLE = "ESCAPEMENT_SETTINGS"
# Settings whose variables have names of their own, besides ESCAPEMENT_SECTION__NAME. The first that is set counts.
VARIABLES = {
    "DATABASE_URL": "database.url",
    "PROJECTX_USERNAME": "gateway.user_name",
    "USERNAME_FOR_TOKEN_GENERATION": "gateway.user_name",
    "PROJECTX_API_KEY": "gateway.api_key",
    "PROJECTX_API_TOKEN": "gateway.api_key",
    "PORT": "dashboard.port",
}
# What lets live trading begin beside the settings, so that no file alone can switch it on.
LIVE_VARIABLE, LOCATION_VARIABLE = "ESCAPEMENT_LIVE_TRADING", "ESCAPEMENT_LOCATION"
# Variables with our prefix that are no settings: where the settings are, and what tests use.
_OTHER_VARIABLES = (
    SETTINGS_VARIABLE, LIVE_VARIABLE, LOCATION_VARIABLE, "ESCAPEMENT_SHARED", "ESCAPEMENT_TEST_",
    "ESCAPEMENT_TIMESCALE_",
)  # fmt: skip


@dataclass(slots=True)
class Gathered:
    """Values from all sources read so far, later ones over earlier ones; where each came from; what is wrong."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def lay_over(self, values: Mapping[Any, Any], origins: Mapping[str, str], otherwise: str) -> None:
        """Take ``values`` over what is there, setting by setting; ``otherwise`` is where they are from if not said."""
        self._lay_over(self.values, values, "", origins, otherwise)

    def _lay_over(
        self, below: dict[Any, Any], values: Mapping[Any, Any], at: str, origins: Mapping[str, str], otherwise: str
    ) -> None:
        for key, value in values.items():
            path = f"{at}{key}"
            self.origins[path] = origins.get(path, otherwise)
            if isinstance(value, Mapping):
                inner = below[key] if isinstance(below.get(key), dict) else {}
                below[key] = inner
                self._lay_over(inner, value, f"{path}.", origins, otherwise)
            else:
                below[key] = value

    def origin(self, path: str) -> str:
        """Say where the setting at ``path`` came from, or the nearest thing around it."""
        while path and path not in self.origins:
            path = path.rpartition(".")[0]
        return self.origins.get(path, "default")


def lay_over_yaml(gathered: Gathered, file: Path) -> None:
    """Take a YAML file's settings; origins are its lines."""
    try:
        loader = Loader(file.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        lines = dict(_lines(node, "", []))
        content = None if node is None else loader.construct_document(node)
    except OSError as error:
        gathered.faults.append(f"{file}: {error.strerror}; name a settings file that can be read")
        return
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or "unreadable text"
        gathered.faults.append(f"{file}{where}: is not YAML: {what}; mend it there")
        return
    if isinstance(content, dict):
        gathered.lay_over(content, {path: f"{file} line {line}" for path, line in lines.items()}, str(file))
    elif content is not None:
        gathered.faults.append(f"{file}: holds no settings; write sections such as 'logging:' with settings below")


def _lines(node: yaml.Node | None, at: str, around: list[yaml.Node]) -> Iterator[tuple[str, int]]:
    """Find the line of each key, and refuse what the loader would swallow: a key twice, a value inside itself."""
    if any(node is outer for outer in around):
        raise yaml.constructor.ConstructorError(None, None, "a value contains itself", around[-1].start_mark)
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key is a list or mapping", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} stands twice", key.start_mark)
            seen.add(key.value)
            yield f"{at}{key.value}", key.start_mark.line + 1
            yield from _lines(value, f"{at}{key.value}.", [*around, node])
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield f"{at}{number}", value.start_mark.line + 1
            yield from _lines(value, f"{at}{number}.", [*around, node])


def read_dotenv(file: Path, faults: list[str]) -> dict[str, str]:
    """Read ``NAME=value`` lines, values as they stand; a file that is not there holds none."""
    found: dict[str, str] = {}
    try:
        with file.open(encoding="utf-8") as stream:
            for binding in parse_stream(stream):
                if binding.error or (binding.key is not None and binding.value is None):
                    faults.append(f"{file} line {binding.original.line}: cannot be read; write NAME=value")
                elif binding.key is not None and binding.value is not None:
                    found[binding.key] = binding.value
    except FileNotFoundError:
        return {}
    except OSError as error:
        faults.append(f"{file}: {error.strerror}; make it readable or remove it")
    except UnicodeDecodeError:
        faults.append(f"{file}: is not UTF-8 text; write it anew")
    return found


def lay_over_variables(gathered: Gathered, variables: Mapping[str, str], source: str, paths: Iterable[str]) -> None:
    """Take the settings that ``variables`` name; an empty one counts as not set."""
    settings = {f"{PREFIX}{path.upper().replace('.', '__')}": path for path in paths} | VARIABLES
    taken: set[str] = set()
    for name, path in settings.items():
        value = variables.get(name, "")
        if value and path not in taken:
            taken.add(path)
            section, _, last = path.rpartition(".")
            gathered.lay_over({section: {last: value}} if section else {last: value}, {}, f"{source} variable {name}")
    for name in variables:
        if name.startswith(PREFIX) and name not in settings and not name.startswith(_OTHER_VARIABLES):
            gathered.faults.append(f"{source} variable {name} is no setting{suggestion(name, settings, PREFIX)}")


def suggestion(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Say which known name was probably meant, or all of them; a ``prefix`` makes no names alike."""
    bare = [each.removeprefix(prefix) for each in known if each.startswith(prefix)]
    close = difflib.get_close_matches(name.removeprefix(prefix), bare, n=1)
    return (
        f"; did you mean {prefix}{close[0]}?" if close else f"; known are {', '.join(prefix + each for each in bare)}"
    )
