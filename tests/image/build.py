#!/usr/bin/env python3
"""Builds what deploy/Dockerfile describes without a container engine, in roots made by debootstrap, and tries it.

The base image is replaced by Debian 13 with its own Python of the same version. Needs root on Debian or Ubuntu, the
network, and some minutes. ESCAPEMENT_TEST_IMAGE_ROOT names the folder to work in; the base in it is kept for later.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORK = Path(os.environ.get("ESCAPEMENT_TEST_IMAGE_ROOT", Path.home() / ".cache" / "escapement-image"))
PACKAGES = "python3,python3-venv,python3-dev,ca-certificates"
# What the host knows of the network and of package sources holds inside too.
PASSED_ON = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name.endswith("_proxy")}
INSIDE = """
root=$1 user=$2 folder=$3 command=$4
mount -t proc proc "$root/proc" && mkdir -p "$root/dev/shm" && mount -t tmpfs tmpfs "$root/dev/shm"
exec chroot --userspec="$user" "$root" sh -c 'cd "$1" && eval "$2"' sh "$folder" "$command"
"""


@dataclass
class Stage:
    """A stage of the image: its files, and what its instructions have said so far."""

    root: Path
    folder: str = "/"
    user: str = "root"
    variables: dict[str, str] = field(default_factory=lambda: {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"})
    command: list[str] = field(default_factory=list)

    def run(self, command: str, **variables: str) -> str:
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", INSIDE, "sh", self.root, self.user, self.folder, command],
            check=False, text=True, stdout=subprocess.PIPE, env={**PASSED_ON, **self.variables, **variables},
        )  # fmt: skip
        if done.returncode:
            sys.exit(f"{done.stdout}\nfailed with {done.returncode}: {command}")
        return done.stdout

    def copy(self, words: str, files: Path, stages: dict[str, Stage]) -> None:
        *sources, place = words.split()
        if sources[0].startswith("--from="):
            files = stages[sources.pop(0).removeprefix("--from=")].root
        target = self.root / (place if place.startswith("/") else f"{self.folder}/{place}").strip("/")
        target.mkdir(parents=True, exist_ok=True)
        for source in (files / each.strip("/") for each in sources):
            subprocess.run(["cp", "-a", f"{source}/." if source.is_dir() else source, target], check=True)

    def note(self, word: str, rest: str) -> None:
        match word:
            case "WORKDIR":
                self.folder = rest
                (self.root / rest.strip("/")).mkdir(parents=True, exist_ok=True)
            case "ENV":
                for name, value in re.findall(r"(\w+)=(\S+)", rest):
                    self.variables[name] = value.replace("$PATH", self.variables["PATH"])
            case "USER":
                self.user = rest
            case "ENTRYPOINT":
                self.command = re.findall(r'"(.*?)"', rest)
            case _:
                sys.exit(f"{word} is not known here")


def instructions() -> list[tuple[str, str]]:
    text = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", text)).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines) if word]


def base() -> Path:
    """Debian with Python, and without what made it."""
    made = WORK / "base"
    if not (made / ".complete").exists():
        shutil.rmtree(made, ignore_errors=True)
        WORK.mkdir(parents=True, exist_ok=True)
        if shutil.which("debootstrap") is None:
            subprocess.run(["apt-get", "install", "--yes", "-qq", "debootstrap"], check=True)
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "trixie", str(made)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for file in ("/etc/resolv.conf", "/etc/ssl/certs/ca-certificates.crt"):
            shutil.copyfile(file, f"{made}{file}")
        (made / ".complete").touch()
    return made


def context(folder: Path) -> Path:
    """The files that .dockerignore lets through; it begins by keeping all of them out."""
    first, *others = (ROOT / ".dockerignore").read_text(encoding="utf-8").partition("*\n")[2].splitlines()
    for line in (first, *others):
        if line.startswith("!"):
            source, target = ROOT / line[1:], folder / line[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, target)
    return folder


def build() -> Stage:
    """Follow the Dockerfile, an instruction at a time; return its last stage."""
    stages: dict[str, Stage] = {}
    shutil.rmtree(WORK / "stages", ignore_errors=True)
    files = context(WORK / "stages" / "context")
    stage = Stage(Path())
    for word, rest in instructions():
        print(f"{word} {rest}"[:110], flush=True)  # noqa: T201 - it reports to whoever runs it
        match word:
            case "FROM":
                name = rest.partition(" AS ")[2] or "image"
                stage = stages[name] = Stage(WORK / "stages" / name)
                subprocess.run(["cp", "-a", base(), stage.root], check=True)
            case "RUN":
                stage.run(rest)
            case "COPY":
                stage.copy(rest, files, stages)
            case "ARG" | "VOLUME" | "HEALTHCHECK" | "CMD":
                pass
            case _:
                stage.note(word, rest)
    return stage


def main() -> None:
    if os.geteuid() != 0:
        sys.exit("it needs root")
    image = build()
    entry = " ".join(image.command)
    assert image.run("id -u").strip() == "10001"
    image.run(f"{entry} --version")
    compiled = image.run("python -c 'import escapement.backtest.engine as it; print(it.__file__)'").strip()
    assert compiled.endswith(".so"), f"{compiled} is not compiled"
    assert not image.run("ls /build /opt/compiler 2>/dev/null || true")
    told = image.run(f"{entry} demo")
    assert re.search(r"[\d,]+ bars", told), told
    assert image.run("ls /var/lib/escapement/postgres/PG_VERSION")
    size = subprocess.run(["du", "-sm", image.root / "opt"], check=True, capture_output=True, text=True).stdout.split()
    print(f"{told}\nthe program and its libraries take {size[0]} MB")  # noqa: T201


if __name__ == "__main__":
    main()
