"""The venue's refusals by name. Source: the error codes of each endpoint in the venue's documentation."""

from __future__ import annotations

from escapement.errors import GatewayRefused


class InvalidCredentials(GatewayRefused):
    """User name or API key is wrong; check PROJECTX_USERNAME (the platform login) and PROJECTX_API_KEY."""


class AgreementsNotSigned(GatewayRefused):
    """Agreements are not signed; sign them on the platform."""


class SubscriptionMissing(GatewayRefused):
    """There is no API subscription; order API access on the platform and link it to the firm's profile."""


class ApiKeyDisabled(GatewayRefused):
    """Log-in by API key is switched off; ask the firm."""


class ApplicationRefused(GatewayRefused):
    """The venue does not know this kind of log-in; log in with user name and API key."""


class SessionInvalid(GatewayRefused):
    """The session is unknown or has ended; log in again."""


class AccountNotFound(GatewayRefused):
    """The account is unknown; list the accounts and check its number."""


class ContractNotFound(GatewayRefused):
    """The contract is unknown, or too old to be served; search it."""


class ContractNotActive(GatewayRefused):
    """The contract trades no more; use the front contract."""


class OrderNotFound(GatewayRefused):
    """The order is unknown; search the account's orders."""


class PositionNotFound(GatewayRefused):
    """The account holds nothing of that contract."""


class OrderRejected(GatewayRefused):
    """The venue rejected the order; the message says why, and an order id may still exist."""


class InsufficientFunds(GatewayRefused):
    """The account's money does not suffice; trade smaller."""


class AccountViolation(GatewayRefused):
    """A rule of the account forbids the order; look at the account on the platform."""


class AccountRejected(GatewayRefused):
    """The account may not do that; look at the account on the platform."""


class OutsideTradingHours(GatewayRefused):
    """The market is closed; try again when it trades."""


class OrderPending(GatewayRefused):
    """An order is still being worked on; look at it again before sending another."""


class InvalidCloseSize(GatewayRefused):
    """More would be closed than is held; look at the position."""


class InvalidBarRequest(GatewayRefused):
    """Unit, number of units or limit of the bars asked for is not served."""


class VenueFault(GatewayRefused):
    """The venue does not say what is wrong; try later, or ask the firm."""


_Kinds = dict[int, type[GatewayRefused]]

_LOGIN: _Kinds = {
    1: InvalidCredentials, 2: InvalidCredentials, 3: InvalidCredentials, 4: ApplicationRefused, 5: ApplicationRefused,
    6: ApplicationRefused, 7: AgreementsNotSigned, 8: VenueFault, 9: SubscriptionMissing, 10: ApiKeyDisabled,
}  # fmt: skip
_ACCOUNT: _Kinds = {1: AccountNotFound}
_CLOSE: _Kinds = {
    1: AccountNotFound, 2: PositionNotFound, 3: ContractNotFound, 4: ContractNotActive, 5: OrderRejected,
    6: OrderPending, 7: VenueFault, 8: AccountRejected,
}  # fmt: skip
_CHANGE: _Kinds = {
    1: AccountNotFound, 2: OrderNotFound, 3: OrderRejected, 4: OrderPending, 5: VenueFault, 6: AccountRejected,
}  # fmt: skip
REFUSALS: dict[str, _Kinds] = {
    "Auth/loginKey": _LOGIN,
    "Auth/validate": {1: SessionInvalid, 2: SessionInvalid, 3: SessionInvalid, 4: VenueFault},
    "Auth/logout": {1: SessionInvalid, 2: VenueFault},
    "Contract/searchById": {1: ContractNotFound},
    "History/retrieveBars": {
        1: ContractNotFound, 2: InvalidBarRequest, 3: InvalidBarRequest, 4: InvalidBarRequest,
    },
    "Order/place": {
        1: AccountNotFound, 2: OrderRejected, 3: InsufficientFunds, 4: AccountViolation, 5: OutsideTradingHours,
        6: OrderPending, 7: VenueFault, 8: ContractNotFound, 9: ContractNotActive, 10: AccountRejected,
    },
    "Order/modify": _CHANGE | {7: ContractNotFound},
    "Order/cancel": _CHANGE,
    "Order/search": _ACCOUNT,
    "Order/searchOpen": _ACCOUNT,
    "Order/v2/query": _ACCOUNT,
    "Order/searchById": {1: OrderNotFound},
    "Position/searchOpen": _ACCOUNT,
    "Position/closeContract": _CLOSE,
    "Position/partialCloseContract": {
        **_CLOSE, 5: InvalidCloseSize, 6: OrderRejected, 7: OrderPending, 8: VenueFault, 9: AccountRejected,
    },
    "Trade/search": _ACCOUNT,
}  # fmt: skip


def refusal(endpoint: str, code: object, message: object) -> GatewayRefused:
    """Return the named refusal of an endpoint's error code; its text carries the venue's own words and what to do."""
    number = code if isinstance(code, int) else None
    kind = REFUSALS.get(endpoint, {}).get(number or 0, GatewayRefused)
    said = f" ({message})" if isinstance(message, str) and message else ""
    advice = kind.__doc__.splitlines()[0] if kind is not GatewayRefused and kind.__doc__ else "the venue refused it."
    return kind(f"{endpoint}: code {code}{said}: {advice}", endpoint=endpoint, code=number)
