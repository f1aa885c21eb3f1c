"""Passwords as argon2id hashes."""

from __future__ import annotations

import asyncio
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from pydantic import SecretStr

from escapement.errors import ConfigurationError, InvalidInput
from escapement.settings import DashboardSettings
from escapement.web.visitor import Role

LEAST_LENGTH: Final = 10
_MOST_LENGTH: Final = 1_000


def hash_of(password: str) -> str:
    """Return what the settings keep of a password.

    Raises:
        InvalidInput: it is too short, or longer than anybody types.
    """
    if not LEAST_LENGTH <= len(password) <= _MOST_LENGTH:
        raise InvalidInput(f"the password has {len(password)} characters; use {LEAST_LENGTH} to {_MOST_LENGTH}")
    return PasswordHasher().hash(password)


class Passwords:
    """The passwords of the settings; a try takes some 50 ms and 64 MB, so they are tried one after the other.

    Raises:
        ConfigurationError: a hash cannot be read.
    """

    def __init__(self, settings: DashboardSettings) -> None:
        hashes = {Role.OPERATOR: settings.password_hash, Role.VIEWER: settings.viewer_password_hash}
        self._hashes = {role: kept for role, kept in hashes.items() if kept is not None}
        for role, kept in self._hashes.items():
            _check(role, kept)
        self._turn = asyncio.Lock()

    @property
    def are_set(self) -> bool:
        """Whether anybody has to log in."""
        return bool(self._hashes)

    async def role_of(self, password: str) -> Role | None:
        """Return whose password it is, None for nobody's."""
        if not 0 < len(password) <= _MOST_LENGTH:
            return None
        async with self._turn:
            return await asyncio.to_thread(self._role_of, password)

    def _role_of(self, password: str) -> Role | None:
        for role, kept in self._hashes.items():
            try:
                if PasswordHasher().verify(kept.get_secret_value(), password):
                    return role
            except Argon2Error:
                continue
        return None


def _check(role: Role, kept: SecretStr) -> None:
    try:
        PasswordHasher().check_needs_rehash(kept.get_secret_value())
    except InvalidHashError:
        name = "password_hash" if role is Role.OPERATOR else "viewer_password_hash"
        raise ConfigurationError(
            f"dashboard.{name} cannot be read; make one with escapement dashboard password"
        ) from None
