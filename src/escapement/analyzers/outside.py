"""Notice when code reaches for what it was not given: files, sockets, databases, other programs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_EVENTS = ("open", "socket.connect", "sqlite3.connect", "subprocess.Popen", "os.system", "urllib.Request")
_PROGRAM = (".py", ".pyc", ".so", ".pyi")  # what importing a module opens

_watching: list[list[str]] = []
_is_hooked = False


@contextmanager
def watched() -> Iterator[list[str]]:
    """Yield a list that receives what this process opens meanwhile, in words; modules being imported do not count."""
    global _is_hooked  # noqa: PLW0603 - the interpreter keeps audit hooks for good, so one is enough
    if not _is_hooked:
        sys.addaudithook(_notice)
        _is_hooked = True
    seen: list[str] = []
    _watching.append(seen)
    try:
        yield seen
    finally:
        _watching.remove(seen)


def _notice(event: str, arguments: tuple[object, ...]) -> None:
    if _watching and event in _EVENTS:
        target = str(arguments[0]) if arguments else ""
        if event == "open" and (target.endswith(_PROGRAM) or "__pycache__" in target):
            return
        for seen in _watching:
            seen.append(f"{event} {target}")
