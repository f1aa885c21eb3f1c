"""Analyzers by name: built in, installed by packages under the entry-point group, or in a single Python file."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from escapement.core.analysis import Analyzer, DonchianBreakout, MovingAverageCrossover, TrendStarts
from escapement.errors import ConfigurationError, InvalidInput

ENTRY_POINTS = "escapement.analyzers"
_BUILT_IN: tuple[type[Any], ...] = (DonchianBreakout, MovingAverageCrossover, TrendStarts)
_METHODS = ("push", "advance", "snapshot", "restore", "warm_up_bars")


@dataclass(frozen=True, slots=True)
class AnalyzerPlugin:
    """A kind of analyzer; ``origin`` is ``built in``, the package it comes from, or its file.

    ``summary`` is the first line of its docstring; compiled analyzers have none.
    """

    name: str
    version: int
    params_type: type[Any]
    create: Callable[[Any], Analyzer]
    origin: str
    summary: str

    def params(self, values: Mapping[str, object]) -> Any:
        """Build the parameters from values or their text; what is not named keeps its default.

        Raises:
            ConfigurationError: a name is unknown or a value impossible.
        """
        known = {field.name: field for field in fields(self.params_type)}
        for name in values:
            if name not in known:
                near = get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known) or 'none'}"
                raise ConfigurationError(f"analyzer {self.name} has no parameter {name!r}; {hint}")
        types = get_type_hints(self.params_type)
        read = {}
        for name, value in values.items():
            try:
                read[name] = TypeAdapter(types[name]).validate_python(value)
            except ValidationError as error:
                faults = "; ".join(each["msg"] for each in error.errors(include_url=False))
                raise ConfigurationError(f"analyzer {self.name}: {name} {value!r}: {faults}") from None
        try:
            return self.params_type(**read)
        except InvalidInput as error:
            raise ConfigurationError(f"analyzer {self.name}: {error}") from None

    def describe_params(self) -> str:
        """Return the parameters with their defaults, as ``fast=10 slow=30``."""
        defaults = self.params_type()
        return " ".join(f"{field.name}={getattr(defaults, field.name)}" for field in fields(self.params_type))


def available_analyzers() -> tuple[list[AnalyzerPlugin], list[str]]:
    """Return the built-in and installed analyzers by name, and what is wrong with those that cannot be used."""
    found = {each.name: each for each in _built_in()}
    faults = []
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        try:
            plugin = _installed(entry)
        except ConfigurationError as error:
            faults.append(str(error))
        else:
            if found.setdefault(plugin.name, plugin) is not plugin:
                faults.append(f"{_origin(entry)}: analyzer {plugin.name} exists already; rename it")
    return [found[name] for name in sorted(found)], faults


def find_analyzer(named: str) -> AnalyzerPlugin:
    """Return the analyzer of that name, or the one in that file (``my_rules.py``, or ``my_rules.py:MyRules``).

    Raises:
        ConfigurationError: there is none, or it does not follow the protocol.
    """
    path, _, class_name = named.partition(":")
    if path.endswith(".py"):
        return _in_file(Path(path), class_name)
    for built_in in _built_in():
        if built_in.name == named:
            return built_in
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS, name=named):
        return _installed(entry)
    names = [each.name for each in available_analyzers()[0]]
    near = get_close_matches(named, names, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}, or name a .py file"
    raise ConfigurationError(f"analyzer {named!r} is unknown; {hint}")


def _built_in() -> Iterator[AnalyzerPlugin]:
    for each in _BUILT_IN:
        yield _plugin(each, "built in")


def _origin(entry: importlib.metadata.EntryPoint) -> str:
    return f"package {entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value


def _installed(entry: importlib.metadata.EntryPoint) -> AnalyzerPlugin:
    try:
        loaded = entry.load()
    except Exception as error:
        raise ConfigurationError(f"{_origin(entry)}: {entry.value} cannot be loaded: {error!r}; repair it") from error
    plugin = _plugin(loaded, _origin(entry))
    if plugin.name != entry.name:
        raise ConfigurationError(f"{_origin(entry)}: entry point {entry.name} leads to {plugin.name}; name it alike")
    return plugin


def _in_file(path: Path, class_name: str) -> AnalyzerPlugin:
    module_name = f"escapement_analyzer_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigurationError(f"analyzer file {path} is not there; name a Python file that can be read")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigurationError(f"{path} cannot be loaded: {error!r}; repair it") from error
    own = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module_name and hasattr(value, "push")
    }
    if class_name and class_name not in own:
        raise ConfigurationError(f"{path} has no analyzer class {class_name}; it has {', '.join(own) or 'none'}")
    if not class_name and len(own) != 1:
        raise ConfigurationError(
            f"{path} has {len(own)} analyzer classes ({', '.join(own)}); name one as {path}:ClassName"
            if own
            else f"{path} has no class with a method push; escapement analyzers new writes an example"
        )
    return _plugin(own[class_name or next(iter(own))], str(path))


def _plugin(kind: Any, origin: str) -> AnalyzerPlugin:
    """Read what a class says of itself; raises ConfigurationError where that is not what the protocol asks for."""
    label = f"{origin}: {getattr(kind, '__name__', kind)}"
    missing = [name for name in _METHODS if not hasattr(kind, name)]
    if missing:
        raise ConfigurationError(f"{label} has no {', '.join(missing)}; see docs/analyzers.md")
    name, version, params_type = (getattr(kind, each, None) for each in ("name", "version", "params_type"))
    if not isinstance(name, str) or not name.isidentifier():
        raise ConfigurationError(f"{label}.name is {name!r}; use a text such as 'my_rules'")
    if not isinstance(version, int) or version < 1:
        raise ConfigurationError(f"{label}.version is {version!r}; use a whole number from 1 on")
    if not isinstance(params_type, type) or not is_dataclass(params_type):
        raise ConfigurationError(f"{label}.params_type is {params_type!r}; use a frozen dataclass")
    try:
        params_type()
    except Exception as error:
        raise ConfigurationError(f"{label}: {params_type.__name__} needs a default for each field: {error}") from error
    summary = (kind.__doc__ or "").strip().partition("\n")[0]
    return AnalyzerPlugin(name, version, params_type, kind, origin, summary)
