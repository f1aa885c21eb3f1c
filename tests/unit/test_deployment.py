"""The files that put the program on a server say what the program, its settings and the platforms understand."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from commands import refusal
from escapement.settings import LIVE_VARIABLE, LOCATION_VARIABLE, load_settings, setting_paths
from escapement.settings.sources import VARIABLES

ROOT = Path(__file__).parents[2]
RAILWAY = sorted((ROOT / "deploy" / "railway").glob("*.json"))
KNOWN = {LIVE_VARIABLE, LOCATION_VARIABLE, *VARIABLES} | {
    f"ESCAPEMENT_{path.upper().replace('.', '__')}" for path in setting_paths()
}
GATEWAY = {name for name, path in VARIABLES.items() if path.startswith("gateway.")}
# What docs.railway.com/config-as-code/reference lists, as numbers and words its parser takes.
RAILWAY_FIELDS: dict[str, dict[str, type | tuple[str, ...]]] = {
    "build": {"builder": ("DOCKERFILE",), "dockerfilePath": str, "watchPatterns": list},
    "deploy": {
        "startCommand": str, "preDeployCommand": list, "restartPolicyType": ("ON_FAILURE", "ALWAYS", "NEVER"),
        "numReplicas": int, "overlapSeconds": int, "drainingSeconds": int, "healthcheckPath": str,
        "healthcheckTimeout": int,
    },
}  # fmt: skip


def compose() -> Any:
    return yaml.safe_load((ROOT / "deploy" / "docker-compose.yml").read_text(encoding="utf-8"))


SERVICES: dict[str, dict[str, Any]] = compose()["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}


def test_compose_follows_the_schema_of_compose() -> None:
    file = ROOT / "deploy" / "docker-compose.yml"
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    done = subprocess.run(check, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", list(SERVICES))
def test_each_container_is_bounded_watched_and_built_or_pinned(name: str) -> None:
    service = SERVICES[name]
    limits = service["deploy"]["resources"]["limits"]
    assert set(limits) == {"cpus", "memory", "pids"}
    assert service["logging"]["options"]["max-size"]
    assert service["restart"] == ("no" if name == "migrate" else "unless-stopped")
    assert "build" in service or ("healthcheck" in service and re.search(r":\d", service["image"]))
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    declared = compose()["volumes"]
    assert all(
        volume.partition(":")[0] in declared for volume in service.get("volumes", []) if not volume.startswith(".")
    )


@pytest.mark.parametrize("name", list(OURS))
def test_our_containers_run_commands_and_settings_that_exist_and_may_little(name: str) -> None:
    service = OURS[name]
    assert refusal(service["command"]) is None
    assert set(service["environment"]) <= KNOWN
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert float(service["stop_grace_period"].rstrip("s")) > load_settings(environ={}).run.grace_seconds
    calls_the_gateway = any(word in " ".join(service["command"]) for word in ("ingest", "execute")) or name == "trader"
    assert bool(GATEWAY & set(service["environment"])) == calls_the_gateway


def test_no_file_of_deployment_holds_a_credential() -> None:
    for file in [*RAILWAY, ROOT / "deploy" / "docker-compose.yml", ROOT / "deploy" / "Dockerfile"]:
        text = file.read_text(encoding="utf-8")
        for word, value in re.findall(
            r"(?i)(?<!\$\{)\b(\w*(?:password|api_key|token|secret))\b[\"']?\s*[:=]\s*(\S+)", text
        ):
            assert value.startswith("${"), f"{file.name}: {word}"
        assert not re.search(r"://[^\s$:@]+:[^$@\s]+@", text)


def test_nothing_but_what_is_named_reaches_whoever_builds_the_image() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    first, *others = [line for line in lines if not line.startswith("#")]
    assert first == "*"
    let_through = [line[1:] for line in others if line.startswith("!")]
    assert [name for name in let_through if not (ROOT / name).exists() or name.startswith(".")] == []
    copied = re.findall(r"^COPY (?!--from|\. )(.*) \S+$", (ROOT / "deploy/Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert set(" ".join(copied).split()) <= set(let_through)


@pytest.mark.parametrize("file", RAILWAY, ids=lambda file: file.stem)
def test_railway_files_hold_fields_railway_knows_and_commands_we_know(file: Path) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    assert content.pop("$schema") == "https://railway.com/railway.schema.json"
    assert set(content) == set(RAILWAY_FIELDS)
    for section, fields in content.items():
        for name, value in fields.items():
            kind = RAILWAY_FIELDS[section][name]
            assert value in kind if isinstance(kind, tuple) else type(value) is kind, f"{section}.{name}"
    assert (ROOT / content["build"]["dockerfilePath"]).is_file()
    deploy = content["deploy"]
    for command in [deploy["startCommand"], *deploy["preDeployCommand"]]:
        words = shlex.split(command)
        if words[:2] == ["/bin/sh", "-c"]:
            words = shlex.split(words[2].removeprefix("exec "))
        assert words[0] == "escapement"
        assert refusal(words[1:]) is None
    assert deploy.get("drainingSeconds", 1_000) > load_settings(environ={}).run.grace_seconds


def test_the_environment_alone_sets_up_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(environ={
        "DATABASE_URL": "postgresql://me:hidden@db.internal:5432/railway", "PROJECTX_API_TOKEN": "key",
        "USERNAME_FOR_TOKEN_GENERATION": "me", "ESCAPEMENT_PRODUCTS": "MES,MNQ", "ESCAPEMENT_LOGGING__STREAM": "stdout",
        "ESCAPEMENT_LOGGING__EVENT_KEY": "message", "PORT": "8080", "RAILWAY_SERVICE_NAME": "trader",
    })  # fmt: skip
    assert settings.database.url is not None
    assert settings.gateway.api_key is not None
    assert (settings.gateway.user_name, settings.gateway.api_key.get_secret_value()) == ("me", "key")
    assert [each.code for each in settings.products] == ["MES", "MNQ"]
    assert (settings.logging.stream, settings.logging.event_key) == ("stdout", "message")


DOCKER = """#!/bin/sh
echo "$@" >>"$CALLS"
[ "$1" != container ] || [ -e "$CALLS.made" ] || exit 1
case $1 in run) touch "$CALLS.made"; printf '%s' "$POSTGRES_PASSWORD" >"$CALLS.password" ;; esac
"""


def run_timescaledb(folder: Path, *arguments: str) -> Iterator[str]:
    """Run the script in a folder of its own, with a Docker that only notes what it is asked."""
    script = folder / "run_timescaledb_docker.sh"
    script.write_text((ROOT / script.name).read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "docker").write_text(DOCKER, encoding="utf-8")
    (folder / "docker").chmod(0o755)
    variables = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "CALLS": str(folder / "calls")}
    done = subprocess.run(["sh", script, *arguments], check=False, capture_output=True, text=True, env=variables)
    assert done.returncode == 0, done.stderr
    yield from done.stdout.splitlines()
    yield from (folder / "calls").read_text(encoding="utf-8").splitlines()


def test_the_script_for_a_database_in_docker_keeps_its_password_in_dotenv_and_out_of_commands(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PROJECTX_USERNAME=me\nDATABASE_URL=\n", encoding="utf-8")
    first = list(run_timescaledb(tmp_path, "5544"))
    dotenv = tmp_path / ".env"
    assert stat.S_IMODE(dotenv.stat().st_mode) == 0o600
    kept = dict(line.split("=", 1) for line in dotenv.read_text(encoding="utf-8").splitlines())
    password = kept["POSTGRES_PASSWORD"]
    assert len(password) == 48
    assert (kept["PROJECTX_USERNAME"], kept["DATABASE_URL"]) == (
        "me", f"postgresql://escapement:{password}@127.0.0.1:5544/escapement",
    )  # fmt: skip
    assert (tmp_path / "calls.password").read_text(encoding="utf-8") == password
    assert password not in "".join(first)
    assert any("--publish 127.0.0.1:5544:5432" in line for line in first)
    # Two servers on the same files ruin them, and neither sees the other from its container.
    shared = [each["name"] for each in compose()["volumes"].values()]
    assert not any(f"--volume {name}:" in line for line in first for name in shared)
    before = dotenv.read_text(encoding="utf-8")
    second = list(run_timescaledb(tmp_path))
    assert dotenv.read_text(encoding="utf-8") == before
    assert "start escapement-timescaledb" in second
    assert sum(line.startswith("run ") for line in second) == 1
