"""Where each firm's gateway is. Source: public client code; other firms can be named by their URLs in the settings."""

from __future__ import annotations

from dataclasses import dataclass

from escapement.errors import InvalidInput

_FIRMS = (
    "toponefutures", "tickticktrader", "alphaticks", "aquafutures", "blueguardianfutures", "blusky", "bulenox", "e8",
    "fundingfutures", "thefuturesdesk", "futureselite", "fxifyfutures", "goatfundedfutures", "holaprime", "nexgen",
    "tx3funding", "daytraders",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The base URL of the REST API and the URLs of both hubs, without a slash at the end."""

    api_url: str
    market_hub_url: str
    user_hub_url: str


def firm_names() -> tuple[str, ...]:
    """Return the firms that ``endpoints`` knows."""
    return ("topstepx", *_FIRMS, "demo")


def endpoints(firm: str) -> Endpoints:
    """Return where a firm's gateway is.

    Raises:
        InvalidInput: the firm is not known.
    """
    if firm == "topstepx":
        return _pair("api.topstepx.com", "rtc.topstepx.com")
    if firm == "demo":
        return _pair("gateway-api-demo.s2f.projectx.com", "gateway-rtc-demo.s2f.projectx.com")
    if firm not in _FIRMS:
        raise InvalidInput(
            f"gateway.firm {firm!r} is unknown; use one of {', '.join(firm_names())}, or give the URLs yourself"
        )
    return _pair(f"api.{firm}.projectx.com", f"rtc.{firm}.projectx.com")


def _pair(api_host: str, hub_host: str) -> Endpoints:
    return Endpoints(f"https://{api_host}", f"https://{hub_host}/hubs/market", f"https://{hub_host}/hubs/user")
