"""What was found so far, in a file, so that a search that was cut short goes on where it was."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

import orjson

from escapement.errors import InvalidInput
from escapement.search.space import Point, key

Result: TypeAlias = dict[str, Any]
Job: TypeAlias = tuple[int, str, Point]
"""The number of a window, a part of it (``chosen`` on or ``tried`` on), and a point."""


_BEGIN = b'{"plan"'


class Ledger:
    """Results by job. A line of JSON each; one that was being written when the program died is left out.

    Args:
        path: of the file.
        plan: what is searched: a file that was begun with another one is refused.

    Raises:
        InvalidInput: it is of another search, cannot be read or written, or is none.
    """

    def __init__(self, path: Path, plan: Mapping[str, Any]) -> None:
        self._known: dict[tuple[int, str, str], Result] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            whole = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise _unusable(path, error) from error
        kept = whole[: whole.rfind(b"\n") + 1]
        self._read(path, whole, kept.splitlines(), orjson.loads(orjson.dumps(plan)))
        try:
            self._file = path.open("ab")
            self._file.truncate(len(kept))
        except OSError as error:
            raise _unusable(path, error) from error
        if not kept:
            self._write([{"plan": plan}])

    def _read(self, path: Path, whole: bytes, lines: Sequence[bytes], plan: Mapping[str, Any]) -> None:
        if not lines and (not whole or whole.startswith(_BEGIN)):
            return  # it died while it wrote its first line
        try:
            before = orjson.loads(lines[0])["plan"]
            for line in lines[1:]:
                found = orjson.loads(line)
                self._known[found["window"], found["part"], key(found["point"])] = found["result"]
        except (orjson.JSONDecodeError, LookupError, TypeError) as error:
            raise InvalidInput(f"{path} does not hold the results of a search; name another --out") from error
        if before != plan:
            names = sorted(name for name in {*before, *plan} if before.get(name) != plan.get(name))
            raise InvalidInput(
                f"{path} holds another search ({', '.join(names)} differ); name another --out, or repeat that one as "
                "it was to go on with it"
            )

    def __len__(self) -> int:
        return len(self._known)

    def get(self, job: Job) -> Result | None:
        """Return what came of a job, None while that is not known."""
        window, part, point = job
        return self._known.get((window, part, key(point)))

    def put(self, found: Sequence[tuple[Job, Result]]) -> None:
        """Keep results; they are on the disk when it returns."""
        lines = []
        for (window, part, point), result in found:
            line = {"window": window, "part": part, "point": point, "result": result}
            self._known[window, part, key(point)] = orjson.loads(orjson.dumps(result))
            lines.append(line)
        self._write(lines)

    def _write(self, lines: Sequence[Mapping[str, Any]]) -> None:
        self._file.write(b"".join(orjson.dumps(each) + b"\n" for each in lines))
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _unusable(path: Path, error: OSError) -> InvalidInput:
    return InvalidInput(f"--out {str(path.parent)!r}: {error.strerror}; name a folder to write to")
