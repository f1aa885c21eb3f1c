"""``escapement ingest`` with the recorder, killed, and ``escapement simulate --recording`` of what it left."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

from escapement.recordings import RecordedFrame, read_recording, recording_files
from escapement.simulator import RecordedTape
from programs import program, venue_variables, wait_for

CONTRACT = "CON.F.US.MES.M25"


def record(folder: Path) -> Path:
    """Ingest from a simulated market with the recorder on until there is something, then kill the program."""
    with program(folder, "simulate", "--contract", CONTRACT, "--speed", "600", "--port", "0") as venue:
        base = wait_for(venue, "stdout", r"api url +(\S+)")
        variables = venue_variables(base) | {"ESCAPEMENT_CONTRACTS": CONTRACT, "ESCAPEMENT_RECORDER__ENABLED": "true"}
        with program(folder, "ingest", **variables) as ingest:
            directory = Path(wait_for(ingest, "stderr", r'"file": "([^"]+)"')).parent
            deadline = time.monotonic() + 60
            while sum(RecordedTape([directory]).survey().trades.values()) < 200:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            ingest.send_signal(signal.SIGKILL)
            ingest.wait()
    assert directory == folder / "data" / "recordings"
    return directory


def test_what_a_killed_program_recorded_is_replayed_and_holds_no_secret(tmp_path: Path) -> None:
    directory = record(tmp_path)
    (file,) = recording_files(directory)
    frames = [item for _, item in read_recording(file.path) if isinstance(item, RecordedFrame)]
    assert frames[0].data == b"{}\x1e"  # from the very first: the answer to the handshake
    text = b"".join(frame.data for frame in frames)
    for secret in (b"demo-key-0001", b"access_token", b"eyJ"):
        assert secret not in text
    with program(tmp_path, "simulate", "--recording", str(directory), "--speed", "0", "--port", "0", "--no-wait") as it:
        assert wait_for(it, "stdout", r"contracts +(\S+)") == CONTRACT
        assert "ends in the middle, as after a crash; everything before it is replayed" in wait_for(it, "stderr", ".+")
        count = int(wait_for(it, "stdout", r"replayed ([\d,]+) trades").replace(",", ""))
    assert count == sum(RecordedTape([directory]).survey().trades.values()) >= 200

    with program(tmp_path, "recordings", "list", "--json") as listing:
        out, _ = listing.communicate(timeout=30)
    (listed,) = json.loads(out)
    assert listed == {"file": str(file.path), "day": file.day.isoformat(), "bytes": file.path.stat().st_size}
    with program(tmp_path, "recordings", "list") as listing:
        assert file.path.name in listing.communicate(timeout=30)[0]

    content = bytearray(file.path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 1_000] = b"\xff" * 1_000
    file.path.write_bytes(content)
    with program(tmp_path, "simulate", "--recording", str(file.path), "--port", "0") as refused:
        out, err = refused.communicate(timeout=30)
    assert (refused.returncode, out) == (2, "")
    assert re.search(rf"error: {re.escape(str(file.path))} line \d+: ", err)
    assert "Traceback" not in err


def test_a_recording_without_the_contract_asked_for_is_refused(tmp_path: Path) -> None:
    with program(tmp_path, "simulate", "--recording", str(tmp_path)) as empty:
        _, err = empty.communicate(timeout=30)
    assert empty.returncode == 2
    assert "holds no recordings" in err
    with program(tmp_path, "simulate", "--recording", str(tmp_path), "--trades", "trades.csv") as both:
        _, err = both.communicate(timeout=30)
    assert both.returncode == 2
    assert "--recording is replayed alone" in err
