"""``escapement ingest`` of a product instead of a contract."""

from __future__ import annotations

import signal
from pathlib import Path

from programs import program, venue_variables, wait_for

CONTRACTS = ("CON.F.US.MES.M25", "CON.F.US.EP.M25", "CON.F.US.MNQ.M25")


def test_the_front_of_each_product_is_ingested_and_the_program_ends_in_good_order(tmp_path: Path) -> None:
    named = [part for contract_id in CONTRACTS for part in ("--contract", contract_id)]
    with program(tmp_path, "simulate", *named, "--speed", "600", "--port", "0") as venue:
        variables = venue_variables(wait_for(venue, "stdout", r"api url +(\S+)"))
        with program(tmp_path, "ingest", **variables, ESCAPEMENT_PRODUCTS="MES,ES") as ingest:
            started = wait_for(ingest, "stderr", r'.*"ingest_started".*')
            assert [contract_id for contract_id in CONTRACTS if contract_id in started] == list(CONTRACTS[:2])
            wait_for(ingest, "stderr", "feed_live")
            ingest.send_signal(signal.SIGTERM)
            out, err = ingest.communicate(timeout=60)
        assert (ingest.returncode, out) == (0, ""), err
        assert '"event": "ingest_stopped"' in err


def test_a_product_without_a_front_or_without_a_calendar_ends_the_program_with_what_to_do(tmp_path: Path) -> None:
    with program(tmp_path, "simulate", "--contract", CONTRACTS[0], "--port", "0") as venue:
        variables = venue_variables(wait_for(venue, "stdout", r"api url +(\S+)"))
        for product, message in (("ES", "no active contract of 'ES'"), ("XYZ", "name its calendar, one of")):
            with program(tmp_path, "ingest", **variables, ESCAPEMENT_PRODUCTS=product) as ingest:
                _, err = ingest.communicate(timeout=60)
            assert ingest.returncode == 2
            assert message in err
            assert "Traceback" not in err
