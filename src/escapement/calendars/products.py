"""Which calendar the well-known products follow, by the product code in the gateway's contract ids.

Codes such as EP for the E-mini S&P 500 are the venue's (its contract search lists them); exchange symbols are accepted
too.
"""

from __future__ import annotations

_PRODUCTS = {
    "cme_equity": "EP ES MES ENQ NQ MNQ RTY M2K YM MYM NKD",
    "cme_fx": "EU6 6E BP6 6B M6B M6E JY6 6J AD6 DA6 6A M6A CA6 6C SF6 6S MX6 6M NE6 6N EEU E7",
    "cme_rates": "TYA ZN TNA TN FVA ZF TUA ZT USA ZB ULA UB",
    "cme_energy": "CLE CL MCLE MCL NQM QM NGE NG MNG NQG QG RBE RB HOE HO",
    "cme_metals": "GCE GC MGC SIE SI SIL HGE CPE HG MHG PLE PL",
    "cme_crypto": "MBT BTC GMET MET ETH",
}
CALENDAR_OF_PRODUCT = {code: name for name, codes in _PRODUCTS.items() for code in codes.split()}
