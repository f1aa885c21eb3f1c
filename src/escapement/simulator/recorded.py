"""Recordings of a market hub as a tape: the trades of the recorded frames, in order, with the venue's times."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from escapement.errors import InvalidInput
from escapement.model import MOST_VOLUME, AggressorSide, Trade
from escapement.moments import ns_from_iso
from escapement.recordings import MissingFrames, RecordedFrame, TornEnd, read_recording, recording_files
from escapement.simulator.wire import SEPARATOR

_SIDES = {0: AggressorSide.BUY, 1: AggressorSide.SELL}
_TARGET = b'"GatewayTrade"'
_MOST_NOTES = 20


@dataclass(slots=True)
class Survey:
    """What recordings hold: how many trades of which contracts, and in ``notes`` what could not be replayed."""

    trades: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    unnoted: int = 0

    def note(self, text: str) -> None:
        """Keep a note, or count it when there are many."""
        if len(self.notes) < _MOST_NOTES:
            self.notes.append(text)
        else:
            self.unnoted += 1


class RecordedTape:
    """The trades of recordings.

    Args:
        paths: files, or directories of them, which are replayed in order of time.
        contract_ids: of which contracts; empty for all.

    Raises:
        InvalidInput: a path is neither, or a directory without recordings.
    """

    def __init__(self, paths: Sequence[Path], contract_ids: Collection[str] = ()) -> None:
        self._files = [file for path in paths for file in _files(path)]
        self._wanted = frozenset(contract_ids)

    def survey(self) -> Survey:
        """Read everything once.

        Raises:
            InvalidInput: a file is damaged; the message names file and line.
        """
        survey = Survey()
        for trade in self._read(survey):
            survey.trades[trade.contract_id] = survey.trades.get(trade.contract_id, 0) + 1
        return survey

    def trades(self) -> Iterator[Trade]:
        """Yield the trades in the order in which they were received."""
        return self._read(Survey())

    def _read(self, survey: Survey) -> Iterator[Trade]:
        for path in self._files:
            for number, item in read_recording(path):
                where = f"{path} line {number}"
                match item:
                    case RecordedFrame():
                        if item.hub == "market" and _TARGET in item.data:
                            yield from self._trades(item.data, where, survey)
                    case MissingFrames():
                        survey.note(f"{where}: {item.frames} frames before it were not recorded")
                    case TornEnd():
                        survey.note(f"{where}: ends in the middle, as after a crash; everything before it is replayed")

    def _trades(self, frame: bytes, where: str, survey: Survey) -> Iterator[Trade]:
        for record in frame.split(SEPARATOR):
            if _TARGET not in record:
                continue
            try:
                message = orjson.loads(record)
                if message["target"] != "GatewayTrade":
                    continue
                contract_id, data = message["arguments"]
                items = data if isinstance(data, list) else [data]
                trades = [_trade(contract_id, item) for item in items if item is not None]
            except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
                survey.note(f"{where}: a record of trades cannot be read, as it could not when it came; left out")
                continue
            if not self._wanted or contract_id in self._wanted:
                yield from trades


def _trade(contract_id: Any, item: Any) -> Trade:
    price, volume = item["price"], item["volume"]
    if not isinstance(contract_id, str) or type(volume) is not int or not 0 <= volume <= MOST_VOLUME:
        raise ValueError("no trade")
    if type(price) not in {int, float} or not isinstance(item["timestamp"], str):
        raise TypeError("no trade")
    side = _SIDES.get(item.get("type"), AggressorSide.NONE)
    return Trade(contract_id, ns_from_iso(item["timestamp"]), float(price), volume, side)


def _files(path: Path) -> list[Path]:
    try:
        if not path.is_dir():
            return [path]
        found = [file.path for file in recording_files(path)]
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}; name a recording or a folder of recordings") from error
    if not found:
        raise InvalidInput(f"{path}: holds no recordings; they are called frames-YYYY-MM-DD-NNNN.jsonl.zst")
    return found
