"""The log-in page: plain HTML, for who has not logged in gets no websocket."""

from __future__ import annotations

from html import escape
from importlib import resources
from string import Template


def login_page(refused: str = "", target: str = "/") -> str:
    """Return the page as HTML.

    Args:
        refused: why the last attempt failed, empty before the first.
        target: the path to go on to, posted along with the password.
    """
    frame = Template(resources.files(__package__).joinpath("login.html").read_text(encoding="utf-8"))
    words = f'<p role="alert">{escape(refused)}</p>' if refused else ""
    return frame.substitute(target=escape(target), refused=words)
