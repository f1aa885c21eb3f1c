"""Received hub frames to daily files, without ever slowing who receives them.

1. ``take`` appends to a bounded buffer and returns; it is called on the event loop.
2. A thread empties the buffer several times a second into the day's file, and removes old files.

When the disk is slow or full, frames are counted as dropped, a warning says so, and the recording says where they are
missing. A file that failed is left as it is and another begun. Nothing is ever appended to the file of an earlier run,
whose end may be cut.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Self

import structlog
from pydantic import SecretStr

from escapement.errors import InvalidInput
from escapement.moments import iso_from_ns
from escapement.recordings import (
    LineCompressor,
    MissingFrames,
    RecordedFrame,
    RecordingFile,
    day_of,
    frame_line,
    missing_line,
    recording_files,
    recording_name,
)

log = structlog.get_logger(service="recorder")

_WRITE_EACH_S = 0.25
_CLEAN_EACH_S = 60.0
_WARN_EACH_NS = 60 * 1_000_000_000
_DAY_NS = 86_400 * 1_000_000_000
_BATCH = 1 << 20
_LARGEST_FILE = 1 << 28
_SMALLEST_TOTAL = 1 << 20
_OVERHEAD = 200  # what a waiting frame takes besides its text, in bytes
_MASK = b"***"
# What looks like a JSON web token is masked even when it is not one of ours.
_JWT = re.compile(rb"\beyJ[\w-]{5,}\.[\w-]+(?:\.[\w-]*)?")


@dataclass(frozen=True, slots=True)
class RecorderParams:
    """Where frames go and how long they stay.

    Files of more than ``keep_days`` days ago, and the oldest beyond ``max_bytes`` in all, are removed. At most about
    ``waiting_bytes`` wait in memory for the disk. After a failure nothing is tried for ``retry_s`` seconds. At the end
    the disk gets ``grace_s`` seconds.

    Raises:
        InvalidInput: a value cannot be used.
    """

    directory: Path
    keep_days: int = 30
    max_bytes: int = 10_000_000_000
    waiting_bytes: int = 64 * 1024 * 1024
    retry_s: float = 30.0
    grace_s: float = 5.0

    def __post_init__(self) -> None:
        if self.keep_days < 1:
            raise InvalidInput(f"recorder.keep_days is {self.keep_days}; use 1 or more")
        if self.max_bytes < _SMALLEST_TOTAL:
            raise InvalidInput(f"recorder.max_bytes is {self.max_bytes}; use {_SMALLEST_TOTAL} or more")

    @property
    def largest_file(self) -> int:
        """How long a file may become before the next is begun, so that removing whole files keeps the total."""
        return min(self.max_bytes // 8, _LARGEST_FILE)


@dataclass(frozen=True, slots=True)
class RecorderStatistics:
    """Counts since the start: frames written, frames dropped, files removed."""

    frames: int
    dropped: int
    removed: int


class Recorder:
    """Writes frames to files; use it with ``with``, or ``start`` and ``close``.

    Args:
        params: where and how much.
        now_ns: our clock, nanoseconds UTC; says which files are old.
    """

    def __init__(self, params: RecorderParams, *, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._params = params
        self._now_ns = now_ns
        self._waiting: deque[RecordedFrame] = deque()
        # Each count has one writer, so that neither thread waits for the other.
        self._bytes_in = self._refused = 0
        self._bytes_out = self._failed = self._written = self._removed = 0
        self._told = self._telling = 0  # of the dropped, those the files and the waiting lines tell of
        self._warned_ns = 0
        self._today = -1, date.min
        self._secrets: list[bytes] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._file: _File | None = None
        self._retry_at_s = self._clean_at_s = 0.0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Begin to write; files are made with the first frame."""
        self._thread.start()

    def close(self) -> None:
        """Write what waits and end the file; a disk that hangs is left alone after the grace."""
        self._ending.set()
        self._thread.join(self._params.grace_s)
        if self._thread.is_alive():
            log.warning("recorder_not_done", frames_waiting=len(self._waiting))

    def statistics(self) -> RecorderStatistics:
        """Return the counts so far."""
        return RecorderStatistics(self._written, self._refused + self._failed, self._removed)

    def conceal(self, secret: SecretStr) -> None:
        """Mask a secret wherever it stands in frames from here on."""
        text = secret.get_secret_value().encode()
        if text and text not in self._secrets:
            # Tokens live a day or so: the newest few are those that can come back.
            self._secrets = [*self._secrets[-7:], text]

    def take(self, hub: str, connection: int, frame: bytes, received_ns: int) -> None:
        """Record a frame, or count it as dropped; returns at once and never raises."""
        size = len(frame) + _OVERHEAD
        if self._ending.is_set() or self._bytes_in - self._bytes_out + size > self._params.waiting_bytes:
            self._refused += 1
            if received_ns - self._warned_ns >= _WARN_EACH_NS:
                self._warned_ns = received_ns
                log.warning("recorder_drops_frames", dropped=self._refused + self._failed, reason="the disk is slow")
            return
        self._bytes_in += size
        self._waiting.append(RecordedFrame(received_ns, hub, connection, frame))

    def _run(self) -> None:
        while True:
            ending = self._ending.wait(_WRITE_EACH_S)
            self._empty()
            if time.monotonic() >= self._clean_at_s:
                self._clean()
            if ending:
                self._end_file()
                return

    def _empty(self) -> None:
        lines: list[bytes] = []
        length = 0
        for _ in range(len(self._waiting)):
            frame = self._waiting.popleft()
            day = self._day(frame.received_ns)
            if lines and (length >= _BATCH or (self._file is not None and day != self._file.day)):
                self._write(lines)
                lines, length = [], 0
            if self._ready(day):
                lines.append(self._line(frame))
                length += len(lines[-1])
            else:
                self._failed += 1
            self._bytes_out += len(frame.data) + _OVERHEAD
        if lines:
            self._write(lines)

    def _day(self, at_ns: int) -> date:
        number = at_ns // _DAY_NS
        if number != self._today[0]:
            self._today = number, day_of(at_ns)
        return self._today[1]

    def _line(self, frame: RecordedFrame) -> bytes:
        line = frame_line(self._without_secrets(frame))
        dropped = self._refused + self._failed
        if dropped == self._telling:
            return line
        missing = MissingFrames(frame.received_ns, dropped - self._telling)
        self._telling = dropped
        return missing_line(missing) + line

    def _without_secrets(self, frame: RecordedFrame) -> RecordedFrame:
        data = frame.data
        for secret in self._secrets:
            if secret in data:
                data = data.replace(secret, _MASK)
        if b"eyJ" in data:
            data = _JWT.sub(_MASK, data)
        return frame if data is frame.data else RecordedFrame(frame.received_ns, frame.hub, frame.connection, data)

    def _ready(self, day: date) -> bool:
        """Have a file of the day open that has room; after a failure there is none for a while."""
        if self._file is not None and self._file.day == day and self._file.size < self._params.largest_file:
            return True
        if time.monotonic() < self._retry_at_s:
            return False
        self._end_file()
        self._clean()
        try:
            self._file = _File.create(self._params.directory, day)
        except OSError as error:
            self._fail(error, 0)
            return False
        log.info("recording", file=str(self._file.path))
        return True

    def _write(self, lines: list[bytes]) -> None:
        if self._file is None:
            self._failed += len(lines)
            return
        try:
            self._file.append(b"".join(lines))
            self._written += len(lines)
            self._told = self._telling
        except OSError as error:
            self._fail(error, len(lines))

    def _end_file(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            try:
                file.end()
            except OSError as error:
                self._fail(error, 0)

    def _fail(self, error: OSError, frames: int) -> None:
        self._failed += frames
        self._telling = self._told
        if self._file is not None:
            self._file.abandon()
            self._file = None
        self._retry_at_s = time.monotonic() + self._params.retry_s
        log.warning(
            "recording_failed", directory=str(self._params.directory), reason=error.strerror or str(error),
            dropped=self._refused + self._failed, next_try_s=self._params.retry_s,
        )  # fmt: skip

    def _clean(self) -> None:
        """Remove what is too old or too much; the file being written stays, and has room to grow."""
        self._clean_at_s = time.monotonic() + _CLEAN_EACH_S
        oldest = day_of(self._now_ns()) - timedelta(days=self._params.keep_days)
        try:
            files = recording_files(self._params.directory) if self._params.directory.is_dir() else []
            sizes = {file.path: file.path.stat().st_size for file in files}
            total = sum(sizes.values()) + self._params.largest_file - (0 if self._file is None else self._file.size)
            for file in files:
                if self._file is not None and file.path == self._file.path:
                    continue
                if file.day < oldest or total > self._params.max_bytes:
                    self._remove(file)
                    total -= sizes[file.path]
        except OSError as error:
            log.warning("recordings_not_removed", directory=str(self._params.directory), reason=error.strerror)

    def _remove(self, file: RecordingFile) -> None:
        file.path.unlink(missing_ok=True)
        self._removed += 1
        log.info("recording_removed", file=str(file.path), at=iso_from_ns(self._now_ns()))


class _File:
    """The file that is being written."""

    def __init__(self, path: Path, day: date, descriptor: int) -> None:
        self.path = path
        self.day = day
        self.size = 0
        self._descriptor = descriptor
        self._compressor = LineCompressor()

    @classmethod
    def create(cls, directory: Path, day: date) -> _File:
        """Make the next file of a day; what is there already, of whomever, stays as it is."""
        directory.mkdir(parents=True, exist_ok=True)
        number = max((file.number for file in recording_files(directory) if file.day == day), default=0)
        while True:
            number += 1
            path = directory / recording_name(day, number)
            try:
                return cls(path, day, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
            except FileExistsError:
                continue

    def append(self, lines: bytes) -> None:
        self._put(self._compressor.compress(lines))

    def end(self) -> None:
        try:
            self._put(self._compressor.end())
        finally:
            self.abandon()

    def abandon(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def _put(self, data: bytes) -> None:
        # Unbuffered, so that what is written outlives this process.
        view = memoryview(data)
        while view:
            done = os.write(self._descriptor, view)
            self.size += done
            view = view[done:]
