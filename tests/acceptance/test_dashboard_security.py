"""Who gets into the dashboard, and who does not."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from itsdangerous import URLSafeTimedSerializer
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from escapement.errors import ConfigurationError
from escapement.settings import load_settings
from escapement.web.process import check
from escapement.web.security.delays import Delays
from escapement.web.security.passwords import hash_of
from programs import program
from shown import PASSWORD, VIEWER, dashboard, fill_embedded

OPERATOR_HASH, VIEWER_HASH = hash_of(PASSWORD), hash_of(VIEWER)
SOCKET = "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
COOKIE = "escapement_session"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("guarded")
    asyncio.run(fill_embedded(made / "data"))
    return made


@pytest.fixture(scope="module")
def guarded(folder: Path) -> Iterator[httpx.Client]:
    hashes = {
        "ESCAPEMENT_DASHBOARD__PASSWORD_HASH": OPERATOR_HASH,
        "ESCAPEMENT_DASHBOARD__VIEWER_PASSWORD_HASH": VIEWER_HASH,
        "ESCAPEMENT_DASHBOARD__NAMES": "trading.example.org",
    }
    with dashboard(folder, **hashes) as client:
        yield client


@pytest.fixture(scope="module")
def unguarded(folder: Path) -> Iterator[httpx.Client]:
    with dashboard(folder) as client:
        yield client


@contextmanager
def logged_in(guarded: httpx.Client, password: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=guarded.base_url, timeout=30) as client:
        answer = client.post("/login", data={"password": password, "target": "/now"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/now")
        yield client


def opens(client: httpx.Client, **headers: str) -> str:
    """Open NiceGUI's web socket; return what the server says first."""
    url = str(client.base_url).replace("http", "ws") + SOCKET
    with connect(url, additional_headers=headers, open_timeout=20) as socket:
        return str(socket.recv(timeout=20))


def cookie_of(client: httpx.Client) -> str:
    return "; ".join(f"{name}={value}" for name, value in client.cookies.items())


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/now", "/api/v1/openapi.json", "/api/v1/unknown", "/", "/system", "/static/", "/_nicegui/auto/static/x",
        "/_nicegui_ws/socket.io/?EIO=4&transport=polling", "//", "/api/v1/../login", "/LOGIN", "/login/",
    ],
)  # fmt: skip
def test_nobody_sees_anything_before_he_has_logged_in(guarded: httpx.Client, path: str) -> None:
    answer = httpx.get(f"{guarded.base_url}".rstrip("/") + path)
    assert (answer.status_code, answer.json()) == (401, {"detail": "log in first"})


def test_a_browser_is_sent_to_the_log_in_and_back_to_where_it_wanted(guarded: httpx.Client) -> None:
    answer = guarded.get("/why?contract=x", headers={"accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?target=/why%3Fcontract%3Dx")
    page = guarded.get(answer.headers["location"])
    assert 'value="/why?contract=x"' in page.text
    with logged_in(guarded, PASSWORD) as client:
        assert client.get("/api/v1/me").json() == {"role": "operator", "may_steer": True}


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x", "/\t/x"]
)
def test_a_log_in_leads_nowhere_else(guarded: httpx.Client, target: str) -> None:
    answer = guarded.post("/login", data={"password": VIEWER, "target": target})
    guarded.cookies.clear()
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_the_cookie_is_out_of_reach_for_scripts_and_other_sites(guarded: httpx.Client) -> None:
    answer = httpx.post(f"{guarded.base_url}/login", data={"password": PASSWORD})
    attributes = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")}
    assert {"httponly", "samesite=strict", "path=/", "max-age=43200"} <= attributes


def test_a_viewer_may_look_but_not_steer_and_each_attempt_is_written_down(guarded: httpx.Client) -> None:
    with logged_in(guarded, VIEWER) as viewer:
        assert viewer.get("/api/v1/now").status_code == 200
        assert viewer.get("/api/v1/me").json() == {"role": "viewer", "may_steer": False}
        wish = {"kind": "backtest", "begin": "2025-03-18", "end": "2025-03-18"}
        for path, body in (("kill", {}), ("resume", {}), ("backtests/start", wish)):
            assert viewer.post(f"/api/v1/{path}", json=body).status_code == 403
        assert viewer.post("/api/v1/backtests/20250318-000000-backtest-000000/cancel").status_code == 403
        assert viewer.get("/api/v1/now").json()["kill"]["at"] is None
        newest = viewer.get("/api/v1/audit", params={"most": 4}).json()
    assert [(each["who"], each["act"], each["outcome"]) for each in newest] == [
        ("viewer", act, "refused") for act in ("cancel", "start", "resume", "kill")
    ]


def test_log_ins_good_and_bad_are_written_down(guarded: httpx.Client) -> None:
    assert httpx.post(f"{guarded.base_url}/login", data={"password": "wrong"}).status_code == 401
    with logged_in(guarded, PASSWORD) as client:
        newest = client.get("/api/v1/audit", params={"most": 2}).json()
    assert [(each["who"], each["act"], each["outcome"]) for each in newest] == [
        ("operator", "login", "done"), ("nobody", "login", "refused"),
    ]  # fmt: skip
    assert "wrong" not in str(newest)


def test_a_forged_or_foreign_cookie_opens_nothing(guarded: httpx.Client) -> None:
    with logged_in(guarded, PASSWORD) as client:
        good = client.cookies[COOKIE]
    body, made_at, signature = good.split(".")
    forged = [
        "", "x", good[:-2] + ("AA" if good[-2:] != "AA" else "BB"), f"{body}.{made_at}.", f"{body}..{signature}",
        "x" * 5_000,
        URLSafeTimedSerializer(b"", salt="escapement.session").dumps(["operator", "x"]),
        URLSafeTimedSerializer(b"guess", salt="escapement.session").dumps(["operator", "x"]),
    ]  # fmt: skip
    for value in forged:
        answer = httpx.get(f"{guarded.base_url}/api/v1/now", headers={"cookie": f"{COOKIE}={value}"})
        assert answer.status_code == 401, value
    assert httpx.get(f"{guarded.base_url}/api/v1/now", headers={"cookie": f"{COOKIE}={good}"}).status_code == 200


def test_who_logs_out_is_out_and_so_is_a_copy_of_his_cookie_and_his_web_socket(guarded: httpx.Client) -> None:
    with logged_in(guarded, PASSWORD) as client:
        stolen = cookie_of(client)
        url = str(client.base_url).replace("http", "ws") + SOCKET
        with connect(url, additional_headers={"cookie": stolen}, open_timeout=20) as socket:
            assert str(socket.recv(timeout=20)).startswith("0{")
            assert client.post("/logout").headers["location"] == "/login"
            with pytest.raises(ConnectionClosed):
                deque(iter(socket.recv, None))
    assert httpx.get(f"{guarded.base_url}/api/v1/now", headers={"cookie": stolen}).status_code == 401


def test_a_web_socket_opens_for_the_own_site_and_the_logged_in_only(guarded: httpx.Client) -> None:
    host = guarded.base_url.netloc.decode()
    with logged_in(guarded, VIEWER) as client:
        own = cookie_of(client)
    assert opens(guarded, cookie=own, origin=f"http://{host}").startswith("0{")
    for headers in (
        {}, {"cookie": own, "origin": "https://evil.example"}, {"cookie": own, "origin": "null"},
        {"cookie": own, "origin": f"http://{host}.evil.example"}, {"cookie": own, "sec-fetch-site": "cross-site"},
        {"cookie": f"{COOKIE}=forged", "origin": f"http://{host}"},
    ):  # fmt: skip
        with pytest.raises(InvalidStatus, match="403"):
            opens(guarded, **headers)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"}, {"origin": "http://127.0.0.1:1"}, {"origin": "file://"},
    ],
)  # fmt: skip
def test_no_page_of_another_site_can_steer_not_even_where_nobody_logs_in(
    unguarded: httpx.Client, headers: dict[str, str]
) -> None:
    for path in ("/api/v1/kill", "/login", "/logout", SOCKET):
        answer = unguarded.post(path, json={}, headers=headers)
        assert answer.status_code == 403, path
    with pytest.raises(InvalidStatus, match="403"):
        opens(unguarded, **headers)
    polled = unguarded.get("/_nicegui_ws/socket.io/?EIO=4&transport=polling", headers=headers)
    assert polled.status_code == 403
    assert unguarded.get("/api/v1/now").json()["kill"]["killed"] is False


def test_a_form_cannot_steer(unguarded: httpx.Client) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = unguarded.post("/api/v1/kill", content="{}", headers={"content-type": kind})
        assert answer.status_code == 422
    assert unguarded.get("/api/v1/now").json()["kill"]["killed"] is False


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "a@127.0.0.1", "trading.example.org/x"])
def test_a_name_made_to_lead_here_is_refused(unguarded: httpx.Client, guarded: httpx.Client, host: str) -> None:
    for client in (unguarded, guarded):
        for path in ("/", "/api/v1/now", "/login", "/metrics", "/readyz"):
            assert client.get(path, headers={"host": host}).status_code in {400, 421}


def test_own_names_and_addresses_are_answered(guarded: httpx.Client) -> None:
    for host in ("localhost:1234", "127.0.0.1", "[::1]:80", "trading.example.org", "TRADING.example.org:443"):
        assert guarded.get("/login", headers={"host": host}).status_code == 200


def test_what_a_proxy_passed_on_is_refused_unless_the_settings_name_it(unguarded: httpx.Client) -> None:
    for name in ("x-forwarded-for", "forwarded", "x-real-ip", "x-forwarded-host"):
        assert unguarded.get("/api/v1/now", headers={name: "192.0.2.1"}).status_code == 403


def test_behind_a_proxy_the_caller_counts_and_cookies_want_tls(folder: Path) -> None:
    variables = {
        "ESCAPEMENT_DASHBOARD__PASSWORD_HASH": OPERATOR_HASH, "ESCAPEMENT_DASHBOARD__PROXIES": "127.0.0.0/8",
        "ESCAPEMENT_DASHBOARD__NAMES": "trading.example.org",
    }  # fmt: skip
    with dashboard(folder, **variables) as client:
        through = {"x-forwarded-for": "192.0.2.9", "x-forwarded-proto": "https", "host": "trading.example.org"}
        answer = client.post("/login", data={"password": PASSWORD}, headers=through)
        assert answer.headers["set-cookie"].startswith("__Host-escapement_session=")
        assert "secure" in answer.headers["set-cookie"].lower()
        assert answer.headers["strict-transport-security"]
        cookie = answer.headers["set-cookie"].partition(";")[0]
        acts = client.get("/api/v1/audit", headers={**through, "cookie": cookie}).json()
        assert (acts[0]["act"], acts[0]["address"]) == ("login", "192.0.2.9")
        # Whoever calls through the proxy is not on this machine, whatever the proxy's address.
        assert client.get("/metrics", headers=through).status_code == 401


def test_bodies_that_are_too_large_are_not_read(guarded: httpx.Client) -> None:
    assert guarded.post("/login", content=b"password=" + b"x" * 2_000_000).status_code == 413

    def endless() -> Iterator[bytes]:
        for _ in range(300):
            yield b"x" * 10_000

    form = {"content-type": "application/x-www-form-urlencoded"}
    try:
        answer = httpx.post(f"{guarded.base_url}/login", content=endless(), headers=form, timeout=20)
        assert answer.status_code >= 400
    except httpx.TransportError:
        pass  # it hung up
    assert guarded.get("/login").status_code == 200


def test_every_answer_tells_browsers_what_to_hold_to(guarded: httpx.Client, unguarded: httpx.Client) -> None:
    for client, path in ((guarded, "/login"), (guarded, "/api/v1/now"), (unguarded, "/"), (unguarded, "/api/v1/x")):
        headers = client.get(path).headers
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"HOST": "0.0.0.0"}, "password_hash is missing"),  # noqa: S104 - what must be refused
        ({"HOST": "192.0.2.1"}, "password_hash is missing"),
        ({"NAMES": "trading.example.org"}, "password_hash is missing"),
        ({"PROXIES": "10.0.0.1"}, "password_hash is missing"),
        ({"VIEWER_PASSWORD_HASH": VIEWER_HASH}, "set that of the operator too"),
        ({"PASSWORD_HASH": "plain words"}, "is no argon2id hash"),
    ],
)
def test_it_does_not_start_where_others_could_reach_it_without_a_password(
    tmp_path: Path, variables: dict[str, str], said: str
) -> None:
    named = {f"ESCAPEMENT_DASHBOARD__{name}": value for name, value in variables.items()}
    for command in (("dashboard", "--port", "0"), ("config", "check")):
        with program(tmp_path, *command, **named) as process:
            out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (2, "")
        assert said in err
        assert "plain words" not in err
    assert not (tmp_path / "data").exists()


def test_a_password_becomes_a_hash_that_settings_take() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "escapement", "dashboard", "password"], input=f"{PASSWORD}\n{PASSWORD}\n",
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    made = re.search(r"\$argon2id\$\S+", done.stdout)
    assert made, done.stderr
    assert PASSWORD not in done.stdout
    environ = {"ESCAPEMENT_DASHBOARD__HOST": "::", "ESCAPEMENT_DASHBOARD__PASSWORD_HASH": made[0]}
    settings = load_settings(environ=environ)
    check(settings)
    assert made[0] not in settings.model_dump_json()
    with pytest.raises(ConfigurationError, match="9 characters; use 10"):
        hash_of("too short")


def test_guessing_gets_slower_with_each_wrong_password(folder: Path) -> None:
    with dashboard(folder, ESCAPEMENT_DASHBOARD__PASSWORD_HASH=OPERATOR_HASH) as client:
        wrong = 0
        while (answer := client.post("/login", data={"password": f"guess {wrong}"})).status_code == 401:
            wrong += 1
            assert wrong < 10  # a slow machine may let the first second pass, but not the sixteenth
        assert wrong >= 3
        begun, wait_s = time.monotonic(), int(answer.headers["retry-after"])
        assert (answer.status_code, wait_s >= 1) == (429, True)
        # Not even the right one counts before it is time.
        while (answer := client.post("/login", data={"password": PASSWORD})).status_code == 429:
            assert time.monotonic() < begun + 60
            time.sleep(0.1)
        assert answer.status_code == 303
        assert time.monotonic() - begun > wait_s - 1


def test_who_knows_one_password_guesses_the_other_no_faster() -> None:
    now_s = [1_000.0]
    delays = Delays(lambda: now_s[0])
    for _ in range(20):
        for right in (False, False, True):
            now_s[0] += delays.wait_s("192.0.2.1")
            delays.tried("192.0.2.1")
            if right:
                delays.succeeded("192.0.2.1")
    assert now_s[0] - 1_000.0 > 3_600


def test_delays_grow_for_each_address_are_bounded_over_all_and_are_forgotten() -> None:
    now_s = [1_000.0]
    delays = Delays(lambda: now_s[0])

    def waits(address: str, tries: int) -> list[float]:
        found = []
        for _ in range(tries):
            now_s[0] += delays.wait_s(address)
            delays.tried(address)
            found.append(delays.wait_s(address))
        return found

    assert waits("192.0.2.1", 14) == [0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]
    assert delays.wait_s("192.0.2.2") == 0
    # One customer's network counts as one address.
    assert waits("2001:db8::1", 3)[-1] == delays.wait_s("2001:db8::2") == 1
    assert delays.wait_s("2001:db8:0:1::1") == 0
    now_s[0] += 3_601
    assert waits("192.0.2.1", 1) == [0]
    many = [waits(f"198.51.100.{n}", 1)[0] for n in range(60)]
    assert many[:10] == [0] * 10
    assert max(many) == many[-1] == 15
    delays.succeeded("198.51.100.59")
    assert delays.wait_s("203.0.113.1") <= 15
