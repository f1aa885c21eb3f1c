"""``escapement simulate`` and ``escapement ingest`` as two programs, stopped by signals."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from programs import program, wait_for

CONTRACT = "CON.F.US.MES.M25"


def counts(folder: Path) -> list[str]:
    with program(folder, "db", "query", "SELECT whole, count(*) FROM ohlc_bars GROUP BY 1 ORDER BY 1") as query:
        out, err = query.communicate(timeout=60)
        assert query.returncode == 0, err
        return out.splitlines()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ingest_ends_in_good_order_when_told_to(tmp_path: Path, number: signal.Signals) -> None:
    with program(tmp_path, "simulate", "--contract", CONTRACT, "--speed", "600", "--port", "0") as venue:
        base = wait_for(venue, "stdout", r"api url +(\S+)")
        variables = {
            "ESCAPEMENT_GATEWAY__API_URL": base,
            "ESCAPEMENT_GATEWAY__MARKET_HUB_URL": f"{base}/hubs/market",
            "ESCAPEMENT_GATEWAY__USER_HUB_URL": f"{base}/hubs/user",
            "ESCAPEMENT_CONTRACTS": CONTRACT,
            "ESCAPEMENT_TIMEFRAMES": "1m,1h",
            "ESCAPEMENT_INGEST__CLOCK": "stream",
            "ESCAPEMENT_INGEST__STATE_INTERVAL_SECONDS": "0.2",
            "PROJECTX_USERNAME": "demo",
            "PROJECTX_API_KEY": "demo-key-0001",
        }
        with program(tmp_path, "ingest", **variables) as ingest:
            wait_for(ingest, "stderr", "feed_live")
            with program(tmp_path, "db", "query", "SELECT 1 AS one") as beside:
                assert beside.communicate(timeout=60)[0].splitlines() == ["one", "1"]
            ingest.send_signal(number)
            out, err = ingest.communicate(timeout=60)
        assert (ingest.returncode, out) == (0, ""), err
        assert '"event": "ingest_stopped"' in err
        assert "demo-key-0001" not in err
        venue.send_signal(number)
        assert venue.wait(timeout=30) == 0
    with program(tmp_path, "db", "query", "SELECT name FROM stage_states") as query:
        assert query.communicate(timeout=60)[0].splitlines() == ["name", f"ingest {CONTRACT}"]
    rows = counts(tmp_path)
    assert rows[0] == "whole,count"
    assert all(row.startswith("t") for row in rows[1:]), rows


def test_ingest_says_what_is_missing_before_it_starts_anything(tmp_path: Path) -> None:
    with program(tmp_path, "ingest", PROJECTX_USERNAME="", PROJECTX_API_KEY="") as ingest:
        out, err = ingest.communicate(timeout=60)
    assert (ingest.returncode, out) == (2, "")
    assert [line.split(" is missing")[0] for line in err.splitlines()] == [
        "error: gateway.user_name", "error: gateway.api_key",
    ]  # fmt: skip
    assert not (tmp_path / "data").exists()
