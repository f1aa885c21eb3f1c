"""Recordings: what goes in comes out, up to where a file is cut, and damage is told with its place."""

from __future__ import annotations

import shutil
import subprocess
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escapement.errors import InvalidInput
from escapement.recordings import (
    LineCompressor,
    MissingFrames,
    RecordedFrame,
    TornEnd,
    frame_line,
    missing_line,
    read_recording,
    recording_files,
    recording_name,
)

moments = st.integers(0, 2**62)
frames = st.builds(RecordedFrame, moments, st.text(max_size=9), st.integers(1, 9), st.binary(max_size=99))
items = st.lists(st.one_of(frames, st.builds(MissingFrames, moments, st.integers(1, 10**9))), max_size=20)


def line(item: RecordedFrame | MissingFrames) -> bytes:
    return frame_line(item) if isinstance(item, RecordedFrame) else missing_line(item)


def write(path: Path, lines: list[bytes], *, ended: bool = True) -> list[int]:
    """Write line by line; returns the length of the file after each."""
    compressor = LineCompressor()
    lengths = []
    data = b""
    for each in lines:
        data += compressor.compress(each)
        lengths.append(len(data))
    path.write_bytes(data + (compressor.end() if ended else b""))
    return lengths


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recordings") / recording_name(date(2025, 3, 17), 1)


@given(items)
def test_what_is_written_is_read_with_its_line_numbers(
    file: Path, written: list[RecordedFrame | MissingFrames]
) -> None:
    write(file, [line(item) for item in written])
    assert list(read_recording(file)) == list(enumerate(written, 1))


@given(st.lists(frames, min_size=1, max_size=8), st.data())
def test_a_cut_file_gives_every_line_that_was_flushed_before_the_cut(
    file: Path, written: list[RecordedFrame], data: st.DataObject
) -> None:
    lengths = write(file, [line(item) for item in written])
    cut = data.draw(st.integers(1, file.stat().st_size - 1))
    file.write_bytes(file.read_bytes()[:cut])
    *whole, (number, end) = list(read_recording(file))
    flushed = sum(length <= cut for length in lengths)
    assert whole == list(enumerate(written, 1))[: len(whole)]
    assert len(whole) >= flushed
    assert (number, end) == (len(whole) + 1, TornEnd(len(whole) + 1))


@given(st.lists(frames, min_size=3, max_size=8), st.data())
def test_a_spoilt_byte_is_refused_or_changes_nothing(
    file: Path, written: list[RecordedFrame], data: st.DataObject
) -> None:
    write(file, [line(item) for item in written])
    content = bytearray(file.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    file.write_bytes(content)
    try:
        found = [item for _, item in read_recording(file)]
    except InvalidInput as error:
        assert str(error).startswith(f"{file} line ")  # noqa: PT017 - what holds without an error is asserted below
    else:
        assert isinstance(found[-1], TornEnd) or found == written


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        (b"no json\n", "is no JSON of a frame"),
        (b"[1]\n", "field 'received_ns' is missing"),
        (b'{"received_ns":1,"hub":"market","connection":1}\n', "field 'frame' is missing"),
        (b'{"received_ns":"1","missing":1}\n', "field 'received_ns' is of a wrong type"),
        (b'{"received_ns":1,"hub":"market","connection":1,"frame_base64":"?"}\n', "is no JSON of a frame"),
    ],
)
def test_a_spoilt_line_is_named(file: Path, spoilt: bytes, message: str) -> None:
    write(file, [frame_line(RecordedFrame(1, "market", 1, b"{}")), spoilt])
    with pytest.raises(InvalidInput) as caught:
        list(read_recording(file))
    assert str(caught.value).startswith(f"{file} line 2: {message}")


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "trades.csv"
    other.write_text("timestamp,price,volume\n" * 9)
    with pytest.raises(InvalidInput, match="line 1: is not compressed with zstd"):
        list(read_recording(other))
    with pytest.raises(InvalidInput, match="No such file"):
        list(read_recording(tmp_path / "missing.jsonl.zst"))


def test_files_come_in_order_of_time_and_joined_files_are_read_as_one(tmp_path: Path) -> None:
    names = [recording_name(date(2025, 3, day), number) for day, number in ((9, 1), (9, 2), (9, 10_000), (10, 1))]
    for number, name in enumerate(reversed(names)):
        write(tmp_path / name, [frame_line(RecordedFrame(number, "market", 1, b"{}"))])
    (tmp_path / "frames-2025-13-40-0001.jsonl.zst").write_text("no date")
    (tmp_path / "notes.txt").write_text("not ours")
    assert [file.path.name for file in recording_files(tmp_path)] == names
    joined = tmp_path / "joined.zst"
    joined.write_bytes(b"".join((tmp_path / name).read_bytes() for name in names))
    assert [item.received_ns for _, item in read_recording(joined) if isinstance(item, RecordedFrame)] == [3, 2, 1, 0]


def test_a_long_file_is_checked_piece_by_piece_and_read_as_one(file: Path) -> None:
    lines = [frame_line(RecordedFrame(n, "market", 1, b"%05d" % n * 20_000)) for n in range(50)]
    lengths = write(file, lines, ended=False)
    assert [number for number, _ in read_recording(file)] == [*range(1, 51), 51]
    write(file, lines)
    content = bytearray(file.read_bytes())
    content[lengths[5] : lengths[5] + 4] = b"\xff\xff\xff\xff"
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"line [1-7]: the compressed data is damaged here or shortly after"):
        list(read_recording(file))


def test_the_zstd_program_reads_them_when_it_is_there(file: Path) -> None:
    lines = [frame_line(RecordedFrame(n, "market", 1, b"{}\x1e")) for n in range(3)]
    write(file, lines)
    program = shutil.which("zstd")
    if program is not None:  # no machine has to have it
        done = subprocess.run([program, "-dc", str(file)], check=True, capture_output=True)
        assert done.stdout == b"".join(lines)
