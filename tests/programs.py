"""The program as its users run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def program(folder: Path, *arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("ESCAPEMENT_", "DATABASE_"))}
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "escapement", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder,
        env={**plain, "ESCAPEMENT_DATA_DIR": str(folder / "data"), "ESCAPEMENT_DASHBOARD__PORT": "0", **variables},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(process: subprocess.Popen[str], stream: str, pattern: str) -> str:
    """Read lines until one matches; pytest's timeout bounds the wait."""
    lines = []
    for line in getattr(process, stream):
        lines.append(line)
        found = re.search(pattern, line)
        if found:
            return found[found.lastindex or 0]
    raise AssertionError(f"no {pattern!r} in {''.join(lines)}")


def venue_variables(base: str) -> dict[str, str]:
    """What lets the program work at the simulator that prints ``base`` as its address."""
    return {
        "ESCAPEMENT_GATEWAY__API_URL": base,
        "ESCAPEMENT_GATEWAY__MARKET_HUB_URL": f"{base}/hubs/market",
        "ESCAPEMENT_GATEWAY__USER_HUB_URL": f"{base}/hubs/user",
        "ESCAPEMENT_TIMEFRAMES": "1m",
        "ESCAPEMENT_INGEST__CLOCK": "stream",
        "PROJECTX_USERNAME": "demo",
        "PROJECTX_API_KEY": "demo-key-0001",
    }
