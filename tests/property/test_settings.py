"""Whatever stands in the sources, loading gives settings or faults, nothing else."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from escapement.errors import ConfigurationError
from escapement.settings import load_settings, setting_paths

WORDS = st.sampled_from([name for path in setting_paths() for name in path.split(".")] + ["id", "calendar", "x"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates() | st.binary()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | SCALARS, inner, max_size=3)
)


def load(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, suppress(ConfigurationError):
        file = Path(folder) / "s.yaml"
        file.write_bytes(content)
        load_settings(file, environ={})


# Drawing nested values takes long on a busy machine, which is no fault of the program.
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(WORDS, VALUES, max_size=4))
def test_any_yaml_is_settings_or_faults(content: dict[str, object]) -> None:
    load(yaml.safe_dump(content).encode())


@given(st.binary() | st.text(alphabet="ab:-[]{}&*!|>?'\"#\n 1.", max_size=40).map(str.encode))
def test_any_bytes_are_settings_or_faults(content: bytes) -> None:
    load(content)


@given(st.dictionaries(st.sampled_from(["ESCAPEMENT_DATA_DIR", "ESCAPEMENT_CONTRACTS", "ESCAPEMENT_TIMEFRAMES",
                                        "ESCAPEMENT_INGEST__BUFFER_BARS", "DATABASE_URL", "PROJECTX_API_KEY",
                                        "ESCAPEMENT_GATEWAY__API_URL"]), st.text()))  # fmt: skip
def test_any_environment_is_settings_or_faults(environ: dict[str, str]) -> None:
    with suppress(ConfigurationError):
        load_settings(environ=environ)
