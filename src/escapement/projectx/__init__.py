"""The venue as a client: wire format, REST, hubs and rate limits."""

from escapement.projectx.firms import Endpoints, endpoints, firm_names
from escapement.projectx.hub import HubParams
from escapement.projectx.limits import RateLimit
from escapement.projectx.market import FeedStatistics, MarketFeed
from escapement.projectx.rest import GatewayClient, GatewayParams

__all__ = [
    "Endpoints",
    "FeedStatistics",
    "GatewayClient",
    "GatewayParams",
    "HubParams",
    "MarketFeed",
    "RateLimit",
    "endpoints",
    "firm_names",
]
