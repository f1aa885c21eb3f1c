"""Log-ins as signed cookies."""

from __future__ import annotations

import hmac
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
import structlog
from itsdangerous import BadData, URLSafeTimedSerializer

from escapement.errors import ConfigurationError
from escapement.settings import DashboardSettings
from escapement.web.visitor import Role

log = structlog.get_logger(service="dashboard")

_KEY_BYTES: Final = 32
_PLAIN_NAME: Final = "escapement_session"


@dataclass(frozen=True, slots=True)
class Session:
    """A log-in: what it may do, what tells it from others, and until when it lasts (seconds since 1970)."""

    role: Role
    number: str
    until_s: float


class Sessions:
    """Makes and reads the cookies; a changed password ends every log-in of before.

    Args:
        key: what they are signed with.
        hours: how long a log-in lasts.
        ended: the file that keeps which were ended before their time, so that they stay so when this starts again.
    """

    def __init__(self, key: bytes, hours: float, ended: Path | None = None) -> None:
        self._key = key
        self._serializer = URLSafeTimedSerializer(key, salt="escapement.session")
        self._length_s = hours * 3_600.0
        self._file = ended
        self._ended = {} if ended is None else _read(ended)

    @property
    def length_s(self) -> float:
        """How long a log-in lasts, seconds."""
        return self._length_s

    def secret_for(self, purpose: str) -> str:
        """Return a secret of its own for something else that is signed."""
        return hmac.digest(self._key, purpose.encode(), "sha256").hex()

    def begin(self, role: Role) -> str:
        """Return the cookie's value of a new log-in."""
        return str(self._serializer.dumps([str(role), secrets.token_urlsafe(12)]))

    def read(self, value: str) -> Session | None:
        """Return the log-in of a cookie; None for one that is forged, over or ended."""
        try:
            content, made_at = self._serializer.loads(value, max_age=int(self._length_s), return_timestamp=True)
            role, number = content
            session = Session(Role(role), str(number), made_at.timestamp() + self._length_s)
        except (BadData, ValueError, TypeError):
            return None
        return None if self.has_ended(session.number) or time.time() >= session.until_s else session

    def end(self, session: str, until_s: float) -> None:
        """Let a log-in count no more."""
        now_s = time.time()
        self._ended = {number: last_s for number, last_s in self._ended.items() if last_s > now_s}
        self._ended[session] = until_s
        if self._file is not None:
            try:
                _write(self._file, orjson.dumps(self._ended))
            except OSError as error:
                log.warning("log_out_not_kept", reason=str(error))

    def has_ended(self, session: str) -> bool:
        """Whether a log-in was ended before its time."""
        return session in self._ended


def cookie_name(*, secure: bool) -> str:
    """Return the cookie's name; browsers take the first only from this very host, over TLS."""
    return f"__Host-{_PLAIN_NAME}" if secure else _PLAIN_NAME


def _read(file: Path) -> dict[str, float]:
    try:
        return {str(number): float(last_s) for number, last_s in orjson.loads(file.read_bytes()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write(file: Path, content: bytes) -> None:
    temporary = file.with_name(f"{file.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(file)


def signing_key(settings: DashboardSettings, data_dir: Path) -> bytes:
    """Return the key of this machine, made when there is none, together with the passwords in force.

    Raises:
        ConfigurationError: it can be neither read nor written.
    """
    file = data_dir / "dashboard.key"
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            temporary = data_dir / f"dashboard.key.{os.getpid()}"
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as made:
                made.write(secrets.token_bytes(_KEY_BYTES))
            try:
                os.link(temporary, file)  # never over one that another dashboard made meanwhile
            except FileExistsError:
                pass
            finally:
                temporary.unlink()
        key = file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"data_dir {str(data_dir)!r}: {error.strerror}; name a folder to write to") from error
    if len(key) < _KEY_BYTES:
        raise ConfigurationError(f"{file} is spoilt; remove it, and everybody has to log in anew")
    hashes = settings.password_hash, settings.viewer_password_hash
    return key + b"|".join(b"" if each is None else each.get_secret_value().encode() for each in hashes)
