"""Check under which licences what is installed with the program may be used, and print each.

Usage: python tools/check_licences.py [REQUIREMENTS]; without an argument requirements.txt, what every user installs. A
package that says nothing, or something that is not on the list, ends it with exit code 1: read its licence and add it.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path

from packaging.requirements import Requirement

# Those that ask for no more than their own text, and MPL, whose terms end at its own files.
ALLOWED = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSD", "CC0-1.0", "HPND", "ISC", "MIT", "MIT-0", "MIT-CMU",
    "MPL-2.0",
    "PostgreSQL", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib",
}  # fmt: skip
# How classifiers and older packages call them.
NAMES = {
    "apache 2.0": "Apache-2.0", "apache license 2.0": "Apache-2.0", "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0", "bsd license": "BSD", "isc license (iscl)": "ISC",
    "mit license": "MIT", "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0", "new bsd": "BSD-3-Clause",
    "python software foundation license": "PSF-2.0", "public domain": "CC0-1.0",
}  # fmt: skip
# Packages whose words cannot be read by a program, and what their licence files say.
READ = {
    "docutils": "CC0-1.0",  # and BSD; what is under the GPL is a mode for Emacs, which the package does not hold
}


def licences_of(package: PackageMetadata) -> list[str]:
    """Return what a package may be used under, all of it together; each may name alternatives joined by OR."""
    name = package["Name"].lower().replace("_", "-")
    if name in READ:
        return [READ[name]]
    said = package.get("License-Expression")
    if said:
        return [each.strip() for each in re.split(r"\bAND\b", said)]
    classifiers = [
        each.rpartition(" :: ")[2]
        for each in package.get_all("Classifier") or ()
        if each.startswith("License :: ") and not each.endswith(":: OSI Approved")
    ]
    return classifiers or [(package.get("License") or "says nothing").splitlines()[0]]


def is_allowed(licence: str) -> bool:
    """Whether one of the alternatives is on the list."""
    return any(
        NAMES.get(each.lower(), each.strip("()")) in ALLOWED for each in map(str.strip, re.split(r"\bOR\b", licence))
    )


def main() -> None:
    """Check each package that the file names and this environment has."""
    file = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1] / "requirements.txt")
    refused = 0
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("-"):
            continue
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        try:
            licences = licences_of(metadata(wanted.name))
        except PackageNotFoundError:
            sys.exit(f"{wanted.name} is not installed; make install")
        good = all(map(is_allowed, licences))
        refused += not good
        sys.stdout.write(f"{wanted.name:28} {'; '.join(licences)}{'' if good else '   <- is not on the list'}\n")
    sys.exit(1 if refused else 0)


if __name__ == "__main__":
    main()
