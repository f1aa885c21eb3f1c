"""A new analyzer to start from: a small one that works, and its test."""

from __future__ import annotations

from pathlib import Path
from string import Template

from escapement.errors import InvalidInput

_FILES = {"analyzer.py.txt": "{name}.py", "test.py.txt": "test_{name}.py"}


def write_template(name: str, folder: Path) -> list[Path]:
    """Write ``NAME.py`` and ``test_NAME.py`` into a folder, which is made when missing; return their paths.

    Raises:
        InvalidInput: the name is no Python name in lower case, a file is there already, or cannot be written.
    """
    if not (name.isidentifier() and name.isascii() and name == name.lower()):
        raise InvalidInput(
            f"name {name!r} cannot name a Python file; use small letters, digits and _, such as my_rules"
        )
    class_name = "".join(part.capitalize() for part in name.split("_"))
    source = Path(__file__).parent / "templates"
    targets = {folder / target.format(name=name): source / template for template, target in _FILES.items()}
    for target in targets:
        if target.exists():
            raise InvalidInput(f"{target} is there already; choose another name or folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for target, template in targets.items():
            text = Template(template.read_text(encoding="utf-8")).substitute(name=name, class_name=class_name)
            target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{folder}: {error.strerror}; name a folder that can be written") from error
    return list(targets)
