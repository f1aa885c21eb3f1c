"""What the documentation site has besides the files in ``docs``: pages made of the code, and those of the repository.

MkDocs calls the two functions named ``on_…``. Links from one place to the other are led there on the site too.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

import docs_reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
# Files of the repository, and where they stand on the site.
PROJECT = {
    "README.md": "project/readme.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security.md",
}
REFERENCE = {
    "reference/cli.md": docs_reference.command_line,
    "reference/variables.md": docs_reference.variables,
    "reference/tables.md": docs_reference.tables,
    "reference/events.md": docs_reference.events,
    "reference/api.md": docs_reference.http_api,
}
_LINK = re.compile(r"\[([^\]]*)\]\((?!https?:|#)([^)#\s]+)(#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are no files in ``docs``."""
    for place, make in REFERENCE.items():
        files.append(File.generated(config, place, content=make()))
    for name, place in PROJECT.items():
        files.append(File.generated(config, place, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to where their files stand on the site; of those that stand nowhere only the words remain."""
    del config
    here = page.file.src_uri
    source = next((name for name, place in PROJECT.items() if place == here), f"docs/{here}")

    def led(link: re.Match[str]) -> str:
        words, target, anchor = link[1], link[2], link[3] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        place = PROJECT.get(path, path.removeprefix("docs/"))
        if here.startswith("reference/"):
            place = posixpath.normpath(posixpath.join(posixpath.dirname(here), target))
        if files.get_file_from_path(place) is None:
            return words
        return f"[{words}]({posixpath.relpath(place, posixpath.dirname(here) or '.')}{anchor})"

    return _LINK.sub(led, markdown)
