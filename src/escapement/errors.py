"""Every error this package raises, grouped by what the operator or supervisor does next.

EscapementError
├─ ConfigurationError      a person edits a file or a command; exit code 2
│  └─ InvalidTimeframe · InvalidInput
├─ FeedError               reconnect with backoff and record the hole
│  ├─ FeedDisconnected
│  └─ FeedProtocolError    the venue sent something that cannot be read
├─ StorageError            retry the transaction, then stop
│  ├─ StorageUnavailable · SchemaMismatch
│  └─ LeaseLost            another process does this work now: stop, and wait for one's turn
├─ GatewayError            read the answer; reconcile before sending anything else
│  ├─ GatewayUnavailable · GatewayRefused · GatewayProtocolError · OutcomeUnknown
├─ AnalyzerFault           leave that analyzer out, tell, and go on with the others
└─ InvariantViolated       a defect of ours: stop, never retry
"""

from __future__ import annotations

import sys


class EscapementError(Exception):
    """Root of all errors raised on purpose."""


class ConfigurationError(EscapementError):
    """A setting, an argument or an input file is wrong; a person has to change it."""


def not_installed(what: str, extra: str, instead: str = "") -> ConfigurationError:
    """Return the error of a library of an extra that is not there: ``what`` it does, and what to do ``instead``."""
    remedy = f"{sys.executable} -m pip install 'escapement[{extra}]'"
    return ConfigurationError(f"{what} and is not installed; {remedy}{', or ' if instead else ''}{instead}")


class InvalidTimeframe(ConfigurationError, ValueError):
    """The text or numbers name no timeframe."""


class InvalidInput(ConfigurationError, ValueError):
    """A file or argument holds a value that cannot be used; the message names place, field, value and remedy."""


class FeedError(EscapementError):
    """The stream of market data failed."""


class FeedDisconnected(FeedError):
    """The connection to a hub ended."""


class FeedProtocolError(FeedError):
    """The venue sent a record that does not follow its protocol."""


class StorageError(EscapementError):
    """The database could not do what was asked."""


class StorageUnavailable(StorageError):
    """The database does not answer; a later try may succeed."""


class SchemaMismatch(StorageError):
    """The database has another schema version than this program; run ``escapement db init``."""


class LeaseLost(StorageError):
    """The lease that allows a write or an order went to another process; stop, and wait until it is free again."""


class GatewayError(EscapementError):
    """A call to the gateway failed."""


class GatewayUnavailable(GatewayError):
    """The gateway did not answer a call that changes nothing; a later try may succeed."""


class GatewayRefused(GatewayError):
    """The gateway answered that it will not do what was asked; ``code`` is the endpoint's own error number."""

    def __init__(self, message: str, *, endpoint: str = "", code: int | None = None) -> None:
        super().__init__(message)
        self.endpoint = endpoint
        self.code = code


class GatewayProtocolError(GatewayError):
    """The gateway's answer does not follow its protocol."""


class OutcomeUnknown(GatewayError):
    """A call that changes something was sent and its answer was lost; find out before sending anything else."""


class AnalyzerFault(EscapementError):
    """An analyzer raised, or returned what its protocol does not allow."""


class InvariantViolated(EscapementError):
    """Something that cannot happen did: a defect of this program."""
