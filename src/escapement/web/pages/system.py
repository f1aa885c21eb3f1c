"""*System*: services, how far each stage is behind, what went wrong, the database, versions and settings in force."""

from __future__ import annotations

from typing import Any, Final

from fastapi import Request
from nicegui import html, ui

from escapement.web.pages.components import Cell, Figures, Row, Sheet, at, ms, row
from escapement.web.pages.frame import ICON, Site, framed, panel
from escapement.web.reading.system import DatabaseShown, ServiceShown, SettingShown, StageShown, System, TableShown

_POLL_S: Final = 3.0
_LATE_S: Final = 60.0
_KIB: Final = 1024


def register(site: Site) -> None:
    """Serve the page."""

    @ui.page("/system", favicon=ICON)
    async def system(request: Request) -> None:
        topic = site.hub.topic("system", site.parts.reading.system, frozenset(), _POLL_S)
        first = await topic.latest()
        with framed(site, request, "/system") as page:
            show = _built()
            show(first)
            page.follow(topic, show)


def _built() -> Any:
    """Build the panels; return what shows how the machine is in them."""
    with panel("Services", classes="cards"):
        services = Sheet(
            "Services", ["service", "state", "for", ">restarts", "process", "last error"],
            "No service has told how it is: start escapement run.",
        )  # fmt: skip
    with html.div().classes("columns two"):
        with html.div().classes("stack"):
            with panel("Stages", "how far each has got, in the market's time", "tall cards"):
                stages = Sheet(
                    "Stages", ["stage", "contract", "timeframe", "up to", ">behind", "fault"], "No stage has begun."
                )
            with panel("Database", classes="tall"):
                database = Figures("Database")
                tables = Sheet("Tables", ["table", ">rows", ">size", ">compressed", ">saved"], "There are no tables.")
        with html.div().classes("stack"):
            with panel("What went wrong", "newest first", "tall cards"):
                troubles = Sheet("What went wrong", ["time", "where", "what"], "Nothing went wrong.")
            with panel("Versions"):
                versions = Figures("Versions")
            with panel("Settings in force", "secrets are masked; what differs from the default comes first", "tall"):
                settings = Sheet("Settings", ["setting", "value"], "There are none.")

    def show(found: System) -> None:
        services.show([_service(each) for each in found.services])
        stages.show([_stage(each) for each in found.stages])
        troubles.show(
            [row((each.at, each.source, each.words), at(each.at), each.source, each.words) for each in found.troubles]
        )
        database.show(_database(found.database))
        tables.show([_table(each) for each in sorted(found.database.tables, key=lambda each: -each.bytes)])
        versions.show([{"label": name, "value": version} for name, version in found.versions.items()])
        settings.show([_setting(each) for each in sorted(found.settings, key=lambda each: not each.changed)])

    return show


def size(count: int | None) -> str:
    """Write bytes in a unit that suits them."""
    if count is None:
        return ""
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= _KIB and len(units) > 1:
        value /= _KIB
        units.pop(0)
    return f"{value:,.0f} {units[0]}" if value >= 100 or units[0] == "B" else f"{value:,.1f} {units[0]}"


def _service(service: ServiceShown) -> Row:
    return row(
        (service.process, service.service), service.service,
        {"v": service.state, "tone": "good" if service.well else "bad"}, {"since": ms(service.since)},
        {"v": str(service.restarts), "tone": "warn" if service.restarts else ""}, service.process, service.error,
    )  # fmt: skip


def _stage(stage: StageShown) -> Row:
    late = stage.behind_s is not None and stage.behind_s > _LATE_S
    behind: Cell = "" if stage.behind_s is None else {"v": f"{stage.behind_s:,.0f} s", "tone": "warn" if late else ""}
    return row(
        (stage.stage, stage.contract_id, stage.timeframe), stage.stage, stage.contract_id, stage.timeframe,
        at(stage.at, "short"), behind, {"v": stage.fault, "tone": "bad"} if stage.fault else "",
    )  # fmt: skip


def _database(database: DatabaseShown) -> list[dict[str, Any]]:
    return [
        {"label": "size", "value": size(database.bytes)},
        {"label": "server", "value": database.server, "note": "embedded" if database.embedded else ""},
        {"label": "TimescaleDB", "value": database.timescale or "none",
         "note": "" if database.timescale else "bars are not compressed"},
        {"label": "schema", "value": database.schema},
    ]  # fmt: skip


def _table(table: TableShown) -> Row:
    before, after = table.uncompressed_bytes, table.compressed_bytes
    saved = f"{1 - after / before:.0%}" if before and after is not None else ""
    return row(table.table, table.table, f"{table.rows:,}" if table.rows else "", size(table.bytes), size(after), saved)


def _setting(setting: SettingShown) -> Row:
    value: Cell = (
        {"v": setting.value, "title": "not the default"} if setting.changed else {"v": setting.value, "tone": "soft"}
    )
    return row(setting.path, {"v": setting.path, "tone": "" if setting.changed else "soft"}, value)
