"""Files of recorded hub frames: zstd-compressed JSON lines, one file a UTC day and run.

A line is ``{"received_ns":…,"hub":"market","connection":1,"frame":"…"}``: our clock in nanoseconds UTC, the hub, the
number of the connection since the start, and the text of one WebSocket message as it came, record separators and all.
What is no UTF-8 stands as ``frame_base64``. ``{"received_ns":…,"missing":12}`` says that so many frames could not be
recorded before it. ``zstd -dc FILE`` prints the lines.

What was written last may be cut by a crash; it is readable up to the cut.
"""

from __future__ import annotations

import base64
import binascii
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from escapement.errors import InvalidInput

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_NAME = re.compile(r"frames-(\d{4}-\d\d-\d\d)-(\d{4,})\.jsonl\.zst")
_CHUNK = 1 << 12  # small, so that little before a damage is lost with it
_MAGIC = b"\x28\xb5\x2f\xfd"
_CHECKED_EACH = 1 << 20  # bytes of lines
# A message may have 16 MB, and JSON makes a control character six times as long.
_LONGEST_LINE = 1 << 27


class RecordedFrame(NamedTuple):  # made on the event loop, several times quicker than a frozen dataclass
    """One WebSocket message of connection number ``connection``, received at ``received_ns`` UTC by our clock."""

    received_ns: int
    hub: str
    connection: int
    data: bytes


@dataclass(frozen=True, slots=True)
class MissingFrames:
    """So many frames before ``received_ns`` could not be recorded."""

    received_ns: int
    frames: int


@dataclass(frozen=True, slots=True)
class TornEnd:
    """The file ends in the middle of something: its writer was killed. ``line`` is the first that is not whole."""

    line: int


@dataclass(frozen=True, slots=True)
class RecordingFile:
    """One file: the UTC day of its frames, and its number among the files of that day."""

    path: Path
    day: date
    number: int


def recording_name(day: date, number: int) -> str:
    """Return the name of a file."""
    return f"frames-{day.isoformat()}-{number:04d}.jsonl.zst"


def recording_files(directory: Path) -> list[RecordingFile]:
    """Return the files of a directory in order of time; other files there are none of ours.

    Raises:
        OSError: the directory cannot be read.
    """
    found = []
    for path in directory.iterdir():
        name = _NAME.fullmatch(path.name)
        if name is None or path.is_symlink() or not path.is_file():
            continue
        try:
            found.append(RecordingFile(path, date.fromisoformat(name[1]), int(name[2])))
        except ValueError:
            continue
    return sorted(found, key=lambda file: (file.day, file.number))


def frame_line(frame: RecordedFrame) -> bytes:
    """Return the line of a frame."""
    line: dict[str, object] = {"received_ns": frame.received_ns, "hub": frame.hub, "connection": frame.connection}
    try:
        return orjson.dumps(line | {"frame": frame.data.decode()}) + b"\n"
    except UnicodeDecodeError:
        return orjson.dumps(line | {"frame_base64": base64.b64encode(frame.data).decode()}) + b"\n"


def missing_line(missing: MissingFrames) -> bytes:
    """Return the line that tells of frames which could not be recorded."""
    return orjson.dumps({"received_ns": missing.received_ns, "missing": missing.frames}) + b"\n"


class LineCompressor:
    """Turns lines into a zstd stream of which everything given so far can be read, with checksums on the way."""

    def __init__(self) -> None:
        options: dict[int, int] = {
            zstd.CompressionParameter.compression_level: 3,
            zstd.CompressionParameter.checksum_flag: 1,
        }
        self._compressor = zstd.ZstdCompressor(options=options)
        self._unchecked = 0

    def compress(self, lines: bytes) -> bytes:
        """Return what to append to the file for whole lines."""
        self._unchecked += len(lines)
        if self._unchecked < _CHECKED_EACH:
            return self._compressor.compress(lines, mode=zstd.ZstdCompressor.FLUSH_BLOCK)
        self._unchecked = 0
        return self._compressor.compress(lines, mode=zstd.ZstdCompressor.FLUSH_FRAME)

    def end(self) -> bytes:
        """Return what ends the file."""
        return self._compressor.flush(zstd.ZstdCompressor.FLUSH_FRAME) if self._unchecked else b""


def read_recording(path: Path) -> Iterator[tuple[int, RecordedFrame | MissingFrames | TornEnd]]:
    """Yield what a file holds, with its line number from 1; ``TornEnd`` last when its writer was killed.

    Raises:
        InvalidInput: the file cannot be read, is damaged, or a line is none of ours; the message names file and line.
    """
    number = 0
    rest = b""
    for data in _decompressed(path):
        if data is None:
            yield number + 1, TornEnd(number + 1)
            return
        if isinstance(data, InvalidInput):
            raise InvalidInput(f"{path} line {number + 1}: {data}")
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            number += 1
            if line:
                yield number, _read_line(path, number, line)
        if len(rest) > _LONGEST_LINE:
            raise InvalidInput(f"{path} line {number + 1}: is longer than any frame; this is no recording")
    if rest:
        yield number + 1, TornEnd(number + 1)


def _decompressed(path: Path) -> Iterator[bytes | InvalidInput | None]:
    """Yield the content in pieces; last None when it is cut short, or what is wrong from there on."""
    decompressor = zstd.ZstdDecompressor()
    is_zstd = True
    try:
        with path.open("rb") as file:
            is_zstd = file.read(len(_MAGIC)) in {_MAGIC, b""}
            file.seek(0)
            while data := file.read(_CHUNK):
                while data:
                    if decompressor.eof:
                        decompressor = zstd.ZstdDecompressor()
                    yield decompressor.decompress(data)
                    data = decompressor.unused_data if decompressor.eof else b""
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}; name a recording that can be read") from error
    except zstd.ZstdError:
        yield InvalidInput(
            "the compressed data is damaged here or shortly after; keep what is before it with "
            f"'zstd -dc {path.name} | zstd -o mended.jsonl.zst', or leave the file out"
            if is_zstd
            else "is not compressed with zstd; recordings are, see docs/recorder.md"
        )
        return
    if not decompressor.eof and path.stat().st_size:
        yield None


def _read_line(path: Path, number: int, line: bytes) -> RecordedFrame | MissingFrames:
    try:
        fields = orjson.loads(line)
        received_ns = _field(fields, "received_ns", int)
        if "missing" in fields:
            return MissingFrames(received_ns, _field(fields, "missing", int))
        if "frame_base64" in fields:
            data = base64.b64decode(_field(fields, "frame_base64", str), validate=True)
        else:
            data = _field(fields, "frame", str).encode()
        return RecordedFrame(received_ns, _field(fields, "hub", str), _field(fields, "connection", int), data)
    except (orjson.JSONDecodeError, binascii.Error):
        raise InvalidInput(f"{path} line {number}: is no JSON of a frame; remove the line") from None
    except InvalidInput as error:
        raise InvalidInput(f"{path} line {number}: {error}") from None


def _field(fields: Any, name: str, kind: type[Any]) -> Any:
    value = fields.get(name) if isinstance(fields, dict) else None
    if type(value) is not kind:
        raise InvalidInput(f"field {name!r} is {'missing' if value is None else 'of a wrong type'}; remove the line")
    return value


def day_of(at_ns: int) -> date:
    """Return the UTC day of a moment, nanoseconds UTC."""
    return datetime.fromtimestamp(at_ns // 1_000_000_000, UTC).date()
