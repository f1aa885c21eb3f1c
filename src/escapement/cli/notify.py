"""``escapement notify``: who is told of what; and the service ``notify`` of ``escapement run``."""

from __future__ import annotations

import asyncio
from typing import Annotated

import orjson
import structlog
import typer

from escapement import wiring, wiring_operations
from escapement.cli import app, settings_of
from escapement.cli.tables import print_table
from escapement.errors import ConfigurationError, EscapementError, InvalidInput
from escapement.services.announce import KINDS, Message, headline
from escapement.services.supervise import Ready, run_until
from escapement.settings import Settings
from escapement.storage.notifications import Delivery, NotificationStore

log = structlog.get_logger(service="notify")
notify_app = typer.Typer(help="Who is told of what happens.", no_args_is_help=True)
app.add_typer(notify_app, name="notify")


def check(settings: Settings) -> None:
    """Refuse channels that cannot be used.

    Raises:
        ConfigurationError: there are none, or a URL cannot be read; a line for each.
    """
    if not settings.notify.channels:
        raise ConfigurationError("notify.channels is empty; name one, such as {phone: 'tgram://TOKEN/CHAT'}")
    wiring_operations.postmen(settings)


async def serve(settings: Settings, stopping: asyncio.Event, ready: Ready) -> None:
    """Tell people until ``stopping``; call ``ready`` when it begins.

    Raises:
        EscapementError: the database or a setting stands in the way.
    """
    async with wiring.database(settings) as database:
        notifier = wiring_operations.notifier(settings, database)
        log.info("notify_started", channels=list(settings.notify.channels))
        ready(notifier.statistics)
        if not stopping.is_set():
            await run_until(stopping, notifier.stop, notifier.run())
        log.info("notify_stopped", **notifier.statistics())


@notify_app.command("test")
def try_out(
    context: typer.Context,
    channel: Annotated[str | None, typer.Option(metavar="NAME", help="One channel; else each.")] = None,
) -> None:
    """Send a message to each channel and say whether it arrived; exit code 1 when one did not."""
    settings = settings_of(context, logging={"level": "warning"})
    check(settings)
    known = settings.notify.channels
    if channel is not None and channel not in known:
        raise InvalidInput(f"--channel {channel!r} is none of notify.channels; use one of {', '.join(known)}")
    faults = asyncio.run(_test(settings, channel))
    for name, fault in faults.items():
        typer.echo(f"{name}: {fault or 'sent'}")
    if any(faults.values()):
        raise EscapementError("a message did not arrive; check the channel's address and the network")


async def _test(settings: Settings, channel: str | None) -> dict[str, str]:
    chosen = [each for each in wiring_operations.postmen(settings) if channel in {None, each.name}]
    message = Message("Escapement: test", "This is what a message looks like. Nothing happened.", urgent=False)
    return {each.name: fault for each, fault in zip(
        chosen, await asyncio.gather(*(each.send(message) for each in chosen)), strict=True
    )}  # fmt: skip


@notify_app.command("list")
def list_(
    context: typer.Context,
    most: Annotated[int, typer.Option("--limit", min=1, help="How many events, newest first.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show who is told of which events, and what became of the newest ones."""
    settings = settings_of(context, logging={"level": "warning"})
    found = asyncio.run(_newest(settings, most))
    told = {kind: list(settings.notify.channels_of(kind)) for kind in KINDS}
    if json:
        plain = {"events": told, "newest": [_plain(each) for each in found]}
        typer.echo(orjson.dumps(plain, option=orjson.OPT_INDENT_2))
        return
    print_table(["event", "told on"], [(kind, ", ".join(names) or "nobody") for kind, names in told.items()])
    if found:
        typer.echo("")
        print_table(
            ["at", "event", "channel", "state", "what", "last error"],
            [
                (
                    f"{each.event.at:%Y-%m-%d %H:%M:%S}Z", each.event.kind, each.channel or "", each.state,
                    headline(each.event), each.error,
                )
                for each in found
            ],
            wrapped="what",
        )  # fmt: skip


async def _newest(settings: Settings, most: int) -> list[Delivery]:
    async with wiring.database(settings) as database:
        return await NotificationStore(database).newest(most)


def _plain(each: Delivery) -> dict[str, object]:
    return {
        "event_id": each.event.event_id, "kind": each.event.kind, "at": each.event.at, "channel": each.channel,
        "state": each.state, "attempts": each.event.attempts, "settled_at": each.settled_at,
        "error": each.error or None, "what": headline(each.event),
    }  # fmt: skip
