"""Fields of forms, as the browser's own, which every keyboard and every phone knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nicegui import html

# As an attribute, for Vue would put a property back at every change of the page, whatever was being typed.
_VALUE = "^value"
# Text fields tell when they are left or Enter is pressed, not at every letter.
_TELL = "(event) => emit(event.target.value)"


def select(label: str, values: Sequence[str] | Mapping[str, str], value: str, choose: Callable[[str], Any]) -> None:
    """Offer one of ``values`` (or their words, by value); ``choose`` is called with the one chosen."""
    words = values if isinstance(values, Mapping) else {each: each for each in values}
    with (
        html.label(label),
        html.select().on("change", lambda event: choose(str(event.args)), js_handler=_TELL),
    ):
        for each, name in words.items():
            html.option(name, value=each, **({"selected": True} if each == value else {}))


def text(label: str, value: str, write: Callable[[str], Any], *, kind: str = "text", hint: str = "") -> None:
    """Ask for a text; ``write`` is called with it. ``kind`` as of HTML's input, such as date."""
    with html.label(label):
        html.input_(type=kind, placeholder=hint, autocomplete="off", **{_VALUE: value}).on(
            "change", lambda event: write(str(event.args)), js_handler=_TELL
        )


def button(words: str, press: Callable[[], Any], classes: str = "plain") -> Any:
    """Offer to do something; return the button."""
    return html.button(words, type="button").classes(classes).on("click", lambda _: press())
