"""The venue as a client: wire format, REST, hubs and rate limits."""

from escapement.projectx.firms import Endpoints, endpoints, firm_names
from escapement.projectx.hub import HubParams
from escapement.projectx.limits import RateLimit
from escapement.projectx.market import FeedStatistics, MarketFeed
from escapement.projectx.rest import GatewayClient, GatewayParams
from escapement.projectx.user import UserEvent, UserFeed

__all__ = [
    "Endpoints",
    "FeedStatistics",
    "GatewayClient",
    "GatewayParams",
    "HubParams",
    "MarketFeed",
    "RateLimit",
    "UserEvent",
    "UserFeed",
    "endpoints",
    "firm_names",
]
