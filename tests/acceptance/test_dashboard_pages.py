"""The pages of the dashboard in a real browser, on services that trade at a simulated gateway."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest
from argon2 import PasswordHasher
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from escapement.storage import migrate
from programs import program, venue_variables, wait_for

pytestmark = [pytest.mark.chromium, pytest.mark.timeout(180)]

MES = "CON.F.US.MES.M25"
PAGES = {"/": "Chart", "/now": "Now", "/why": "Why", "/data": "Data", "/system": "System", "/backtests": "Backtests"}
SPEED = "60"
# What the browser would otherwise do by itself over the network.
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
OPERATOR, VIEWER = "a long enough password", "another long password"
SCRIPT = "<img src=x onerror=alert(1)><script>alert(2)</script>"
WAIT_MS = 30_000
# What a data feed, a rule or a name could hold at worst.
PLANTED = [
    """INSERT INTO decisions (decision_id, coordinator_id, contract_id, action, direction, confidence, price, known_at,
    rule, words, data_complete) VALUES ('ff00', $1, $1, 'hold', 1, 1, 5700, '2025-03-16T22:30:00Z', $1, $1, true)""",
    "INSERT INTO tracked_series (contract_id, timeframe_unit, timeframe_value) VALUES ($1, 2, 1)",
    """INSERT INTO data_gaps (contract_id, begins_at, ends_at, cause, detail, state, reason)
    VALUES ($1, '2025-03-16T22:00:00Z', '2025-03-16T22:05:00Z', 'freeze', $1, 'closed', $1)""",
    """INSERT INTO service_health (process, service, state, since, restarts, error)
    VALUES ($1, 'ingest', 'failed', now(), 1, $1)""",
]


@dataclass
class Desk:
    """Services that run, their dashboard, and a browser."""

    base: str
    browser: Browser
    variables: dict[str, str]
    folder: Path

    def page(self, path: str = "/", *, base: str = "", **options: Any) -> Page:
        page = self.browser.new_context(**{"viewport": {"width": 1280, "height": 860}, **options}).new_page()
        page.set_default_timeout(WAIT_MS)
        page.goto((base or self.base) + path)
        return page

    def run(self, *arguments: str) -> str:
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("ESCAPEMENT_", "DATABASE_"))}
        done = subprocess.run(
            [sys.executable, "-m", "escapement", *arguments], check=False, capture_output=True, text=True,
            cwd=self.folder, env={**plain, **self.variables}, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def desk(embedded_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    with ExitStack() as stack:
        url = asyncio.run(database(embedded_url))
        venue = stack.enter_context(program(folder, "simulate", "--contract", MES, "--speed", SPEED, "--port", "0"))
        variables = {
            **venue_variables(wait_for(venue, "stdout", r"api url +(\S+)")), "ESCAPEMENT_CONTRACTS": MES,
            "DATABASE_URL": url, "ESCAPEMENT_DATA_DIR": str(folder / "data"), "ESCAPEMENT_TIMEFRAMES": "1m,5m,1h",
            "ESCAPEMENT_INGEST__REPLAY_SPEED": SPEED, "ESCAPEMENT_RISK__DAILY_LOSS": "1000",
            "ESCAPEMENT_RISK__OLDEST_DECISION_SECONDS": "1000000000",
            "ESCAPEMENT_RISK__OLDEST_PRICE_SECONDS": "100000", "ESCAPEMENT_LOGGING__LEVEL": "error",
        }  # fmt: skip
        stack.enter_context(program(folder, "run", "--services", "ingest,analyze,coordinate,execute", **variables))
        asyncio.run(trading(url))
        board = stack.enter_context(program(folder, "dashboard", "--port", "0", **variables))
        base = wait_for(board, "stdout", r"dashboard: (\S+)")
        chromium = stack.enter_context(sync_playwright()).chromium
        browser = chromium.launch(executable_path=shutil.which("chromium"), args=QUIET)
        stack.callback(browser.close)
        yield Desk(base, browser, variables, folder)


async def database(server: str) -> str:
    """Make a database of its own, with what should never be read as markup."""
    name = f"pages_{uuid4().hex}"
    connection = await asyncpg.connect(server)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    url = urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    await migrate(url)
    connection = await asyncpg.connect(url)
    for statement in PLANTED:
        await connection.execute(statement, SCRIPT)
    await connection.close()
    return url


async def let_in(url: str, *, allowed: bool) -> None:
    """Let programs into a database, or throw them out of it."""
    name = urlsplit(url).path[1:]
    connection = await asyncpg.connect(urlunsplit(urlsplit(url)._replace(path="/postgres")))
    await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {'true' if allowed else 'false'}")
    if not allowed:
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
    await connection.close()


async def lock(url: str, table: str, seconds: float) -> None:
    """Let nobody read a table for a while."""
    connection = await asyncpg.connect(url)
    async with connection.transaction():
        await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        await connection.execute(f"SELECT pg_sleep({seconds})")
    await connection.close()


def elsewhere(work: Coroutine[Any, Any, None]) -> None:
    """Run it in another thread, for in this one Playwright's own loop runs."""
    with ThreadPoolExecutor(1) as threads:
        threads.submit(asyncio.run, work).result()


async def trading(url: str) -> None:
    """Wait until something is held."""
    connection = await asyncpg.connect(url)
    async with asyncio.timeout(60):
        while not await connection.fetchval("SELECT count(*) FROM positions WHERE net <> 0"):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    await connection.close()


def listened(page: Page, own: str) -> list[str]:
    """Take note of whatever goes wrong in a page from now on."""
    faults: list[str] = []
    page.on("console", lambda told: faults.append(told.text) if told.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: faults.append(f"dialog {dialog.message}"))
    page.on("response", lambda got: faults.append(f"{got.status} {got.url}") if got.status >= 400 else None)
    page.on("request", lambda sent: None if is_own(sent.url, own) else faults.append(f"elsewhere: {sent.url}"))
    return faults


def is_own(url: str, base: str) -> bool:
    return urlsplit(url).netloc == urlsplit(base).netloc or url.startswith(("data:", "blob:"))


def panel(page: Page, title: str) -> Locator:
    return page.locator("section.panel").filter(has=page.get_by_role("heading", name=title, exact=True))


def count(page: Page, kind: str) -> int:
    return int(page.locator(f".kind-{kind} b").inner_text())


def until(page: Page, condition: Any, within_s: float = 30) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come about"
        page.wait_for_timeout(100)
    return found


@pytest.mark.parametrize("width", [380, 1280, 2560])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_opens_without_a_fault_and_fits_its_screen(
    desk: Desk, width: int, theme: Literal["light", "dark"]
) -> None:
    page = desk.browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme).new_page()
    faults = listened(page, desk.base)
    for path, title in PAGES.items():
        page.goto(desk.base + path)
        expect(page).to_have_title(f"{title} - Escapement")
        expect(page.get_by_role("link", name=title, exact=True)).to_have_attribute("aria-current", "page")
        expect(page.get_by_role("status")).to_have_text("trading is on", timeout=WAIT_MS)
        expect(page.locator("html")).to_have_attribute("data-theme", theme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    assert faults == []


def test_the_growing_bar_moves_and_signals_decisions_orders_and_fills_appear_without_reload(desk: Desk) -> None:
    page = desk.page("/?timeframe=1m")
    faults = listened(page, desk.base)
    reading = page.locator(".reading")
    expect(reading).to_contain_text("UTC")
    before, signals, decisions = reading.inner_text(), count(page, "signals"), count(page, "decisions")
    until(page, lambda: reading.inner_text() != before)
    until(page, lambda: count(page, "signals") > signals)
    until(page, lambda: count(page, "decisions") > decisions)
    assert count(page, "orders") > 0
    assert count(page, "fills") > 0
    # The pointer on a candle names what happened there: some candle of the screen is marked by a signal.
    box = page.locator(".chart").bounding_box()
    assert box is not None
    said = set()
    for part in range(2, 60):
        page.mouse.move(box["x"] + (box["width"] - 80) * part / 60, box["y"] + 150)
        said.add(" ".join(page.locator(".reading .mark").all_inner_texts()))
    assert any(re.search(r"(up|down)trendStart at [\d,.]+, known .* \(trend_starts\)", words) for words in said), said
    assert any("filled at" in words for words in said), said
    assert faults == []


def test_the_chart_has_its_largest_file_before_the_component_that_needs_it(desk: Desk) -> None:
    page = desk.page()
    page.wait_for_selector(".reading b")
    fetched = page.evaluate("performance.getEntriesByType('resource').map(each => [each.name, each.startTime])")
    names = [name for name, _ in sorted(fetched, key=lambda each: each[1])]
    (largest,) = (name for name in names if re.search(r"/esm/.*/index-[^/]+\.js$", name))
    assert names.index(largest) < min(place for place, name in enumerate(names) if name.endswith("/dompurify.mjs"))


def test_candles_are_panned_zoomed_and_chosen_by_keyboard_and_button(desk: Desk) -> None:
    page = desk.page("/?timeframe=1m")
    faults = listened(page, desk.base)
    live = page.get_by_role("button", name="live", exact=True)
    expect(live).to_have_attribute("aria-pressed", "true")
    page.locator(".chart").focus()
    for _ in range(3):
        page.keyboard.press("+")
    page.keyboard.press("ArrowLeft")
    expect(live).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("End")
    expect(live).to_have_attribute("aria-pressed", "true")
    box = page.locator(".chart").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 400, box["y"] + 100)
    page.mouse.wheel(0, -480)
    page.mouse.down()
    page.mouse.move(box["x"] + 700, box["y"] + 100, steps=10)
    page.mouse.up()
    expect(live).to_have_attribute("aria-pressed", "false")
    live.click()
    expect(live).to_have_attribute("aria-pressed", "true")
    page.get_by_label("Timeframe").select_option("5m")
    until(page, lambda: re.search(r" \d\d:\d[05] UTC", page.locator(".reading").inner_text()))
    expect(page.get_by_label("Timeframe")).to_have_value("5m")
    page.get_by_role("button", name="All", exact=True).click()
    fills = page.locator(".kind-fills")
    fills.click()
    expect(fills).to_have_attribute("aria-pressed", "false")
    assert faults == []


def test_kill_closes_everything_every_browser_knows_and_resume_lets_it_go_on(desk: Desk) -> None:
    page, other = desk.page("/now"), desk.page("/system")
    page.get_by_role("button", name="Kill", exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text("every position closed")
    page.keyboard.press("Escape")  # who opened it by mistake stops nothing
    expect(page.get_by_role("status")).to_have_text("trading is on")
    page.get_by_role("button", name="Kill", exact=True).click()
    page.get_by_label("Why, for the record").fill("lunch")
    page.get_by_role("button", name="Stop all trading").click()
    for each in (page, other):
        expect(each.get_by_role("status")).to_have_text("trading is stopped", timeout=WAIT_MS)
    expect(panel(page, "Positions")).to_contain_text("Nothing is held.", timeout=WAIT_MS)
    expect(panel(page, "Working orders")).to_contain_text("No order is working.", timeout=WAIT_MS)
    assert not any(each["net"] for each in json.loads(desk.run("positions", "--json")))
    assert "t,lunch" in desk.run("db", "query", "SELECT killed, reason FROM kill_switch ORDER BY at DESC LIMIT 1")
    other.get_by_role("button", name="Resume", exact=True).click()
    expect(other.get_by_role("dialog")).to_contain_text("lunch")
    other.get_by_role("button", name="Resume trading").click()
    for each in (page, other):
        expect(each.get_by_role("status")).to_have_text("trading is on", timeout=WAIT_MS)
    acts = desk.run("db", "query", "SELECT act FROM audit_log WHERE act IN ('kill', 'resume') ORDER BY at")
    assert acts.split()[1:] == ["kill", "resume"]


def test_who_is_asked_whether_to_stop_never_resumes_although_another_was_quicker(desk: Desk) -> None:
    page = desk.page("/why")
    page.get_by_role("button", name="Kill", exact=True).click()
    desk.run("kill")
    state = page.locator(".killswitch .state")
    expect(state).to_have_text("trading is stopped", timeout=WAIT_MS)
    expect(page.get_by_role("dialog")).to_contain_text("Stop all trading?")
    page.get_by_role("dialog").locator("[type=submit]").click()
    turned = "SELECT count(*) FROM audit_log WHERE act IN ('kill', 'resume') AND at > now() - interval '5 seconds'"
    until(page, lambda: desk.run("db", "query", turned).split()[-1] == "1")
    assert "t" in desk.run("db", "query", "SELECT killed FROM kill_switch ORDER BY switch_id DESC LIMIT 1").split()
    desk.run("resume")
    expect(state).to_have_text("trading is on", timeout=WAIT_MS)


def test_now_shows_what_is_held_how_near_limits_are_and_why(desk: Desk) -> None:
    page = desk.page("/now")
    expect(panel(page, "Account")).to_contain_text("P&L today")
    limits = panel(page, "Limits and deadline")
    expect(limits).to_contain_text("daily loss (yours)")
    expect(limits.get_by_role("meter").first).to_have_attribute("aria-valuenow", re.compile(r"\d+"))
    expect(panel(page, "Directions").get_by_role("row").nth(1)).to_contain_text(MES)
    page.get_by_role("link", name=re.compile("hold|enter|reverse")).first.click()
    expect(page.get_by_role("heading", name="What each rule said")).to_be_visible()


def test_why_explains_decisions_and_refused_signals_and_is_filtered(desk: Desk) -> None:
    page = desk.page("/why")
    faults = listened(page, desk.base)
    signals = panel(page, "Signals")
    page.get_by_label("Signals that").select_option("led to none")
    until(page, lambda: signals.get_by_text("refused by").count() > 0 and signals.get_by_text("led to a").count() == 0)
    signals.get_by_role("button").first.click()
    expect(page.get_by_role("heading", name=re.compile("What became of"))).to_be_visible()
    expect(page.get_by_text("The signal led to no decision.")).to_be_visible()
    decisions = panel(page, "Decisions")
    page.get_by_role("combobox", name="Decision", exact=True).select_option("exit")
    expect(decisions).to_contain_text("No decision suits the filter.")
    assert faults == []


def test_what_data_says_is_never_read_as_markup(desk: Desk) -> None:
    page = desk.page("/why?decision=ff00")
    faults = listened(page, desk.base)
    expect(page.get_by_text(SCRIPT).first).to_be_visible()
    for path in ("/data", "/system", f"/?contract={SCRIPT}"):
        page.goto(desk.base + path)
        expect(page.get_by_text(SCRIPT).first).to_be_attached()
    assert page.locator("img[src=x]").count() == 0
    assert faults == []


def test_a_backtest_is_started_watched_and_its_report_shown(desk: Desk) -> None:
    page = desk.page("/backtests")
    faults = listened(page, desk.base)
    page.get_by_label("From").fill("2025-03-17")
    page.get_by_label("To", exact=True).fill("2025-03-17")
    page.get_by_label("Changed settings").fill("execution.stop_ticks=30")
    page.get_by_role("button", name="Start", exact=True).click()
    runs = panel(page, "Runs")
    expect(runs.get_by_role("row").nth(1)).to_contain_text("done", timeout=60_000)
    expect(page.get_by_label("From")).to_have_value("2025-03-17")  # the page moved meanwhile
    runs.get_by_role("button").first.click()
    expect(page.locator(".details")).to_contain_text("win rate")
    report = page.frame_locator("iframe.report")
    expect(report.get_by_role("heading", name="Equity and drawdown")).to_be_visible(timeout=WAIT_MS)
    page.get_by_label("To", exact=True).fill("2025-03-01")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(runs.get_by_role("row").nth(1)).to_contain_text("is not before", timeout=60_000)
    assert faults == []


def test_clock_and_colours_are_chosen_and_kept(desk: Desk) -> None:
    page = desk.page("/now", color_scheme="light")
    known_at = panel(page, "Last decisions").get_by_role("cell").first
    utc = known_at.inner_text()
    page.get_by_role("button", name=re.compile("Times in UTC")).click()
    until(page, lambda: known_at.inner_text()[:13] != utc[:13])
    page.get_by_role("button", name=re.compile("Colours: system")).click()
    page.get_by_role("button", name=re.compile("Colours: light")).click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.goto(f"{desk.base}/system")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page.get_by_role("button", name=re.compile("Times in exchange time"))).to_be_visible()


def test_the_keyboard_reaches_the_page_at_once_and_everything_in_it(desk: Desk) -> None:
    page = desk.page("/now")
    expect(page.get_by_role("status")).to_have_text("trading is on", timeout=WAIT_MS)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "Skip to the page"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "page"
    page.goto(f"{desk.base}/why")
    expect(page.get_by_role("status")).to_have_text("trading is on", timeout=WAIT_MS)
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, a, select, input, [tabindex=\"0\"]')].filter((each) =>"
        " !each.innerText && !each.ariaLabel && !each.labels?.length && !each.title).map((each) => each.outerHTML)"
    )
    assert unnamed == []


def test_nobody_gets_in_without_the_password_and_a_viewer_steers_nothing(desk: Desk) -> None:
    hashes = {
        "ESCAPEMENT_DASHBOARD__PASSWORD_HASH": PasswordHasher(time_cost=1, memory_cost=1024).hash(OPERATOR),
        "ESCAPEMENT_DASHBOARD__VIEWER_PASSWORD_HASH": PasswordHasher(time_cost=1, memory_cost=1024).hash(VIEWER),
    }
    with program(desk.folder, "dashboard", "--port", "0", **desk.variables, **hashes) as board:
        base = wait_for(board, "stdout", r"dashboard: (\S+)")
        page = desk.page("/why", base=base)
        expect(page).to_have_url(re.compile("/login"))
        page.get_by_label("Password").fill("a wrong password")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_be_visible()
        page.get_by_label("Password").fill(VIEWER)
        page.get_by_role("button", name="Log in").click()
        expect(page).to_have_title("Why - Escapement")
        expect(page.get_by_role("status")).to_have_text("trading is on", timeout=WAIT_MS)
        assert page.get_by_role("button", name="Kill").count() == 0
        page.goto(f"{base}/backtests")
        assert page.get_by_role("button", name="Start").count() == 0
        page.get_by_role("button", name="Log out").click()
        expect(page).to_have_url(re.compile("/login"))
        page.goto(base)
        expect(page).to_have_url(re.compile("/login"))
        page.get_by_label("Password").fill(OPERATOR)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("button", name="Kill", exact=True)).to_be_enabled(timeout=WAIT_MS)


def test_a_part_of_a_page_that_cannot_be_read_is_told_although_the_rest_can(desk: Desk) -> None:
    page = desk.page("/")
    banner = page.locator(".banner")
    until(page, lambda: count(page, "fills") > 0)
    expect(banner).to_be_hidden()
    with ThreadPoolExecutor(1) as threads:
        locked = threads.submit(asyncio.run, lock(desk.variables["DATABASE_URL"], "fills", seconds=12))
        expect(banner).to_contain_text("What is shown may be old: it has not been read for 5 s", timeout=WAIT_MS)
        locked.result()
    expect(banner).to_be_hidden(timeout=WAIT_MS)


def test_a_database_that_is_away_is_told_on_every_page_and_what_it_held_comes_back(desk: Desk) -> None:
    url = desk.variables["DATABASE_URL"]
    page = desk.page("/now")
    expect(panel(page, "Account")).to_contain_text("balance")
    elsewhere(let_in(url, allowed=False))
    try:
        banner = page.locator(".banner")
        expect(banner).to_contain_text("What is shown may be old", timeout=WAIT_MS)
        expect(panel(page, "Account")).to_contain_text("balance")
        other = desk.page("/why")
        expect(other.get_by_role("heading", name="This cannot be shown now")).to_be_visible(timeout=WAIT_MS)
    finally:
        elsewhere(let_in(url, allowed=True))
    expect(banner).to_be_hidden(timeout=WAIT_MS)
    other.get_by_role("link", name="Try again").click()
    expect(other.get_by_role("status")).to_have_text("trading is on", timeout=WAIT_MS)
