"""Dealing for one account: what may be done, how large, and what to do next."""

from escapement.core.dealing.dealer import OTHERS, Dealer, LastPrice, Situation
from escapement.core.dealing.terms import DealParams, Foreign, product_of

__all__ = ["OTHERS", "DealParams", "Dealer", "Foreign", "LastPrice", "Situation", "product_of"]
