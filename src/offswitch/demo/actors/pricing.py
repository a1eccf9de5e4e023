"""An agent that keeps a shop's prices near its supplier's.

    python pricing.py SHOP.DB FEED.JSON

It looks at the supplier's feed ten times a second and moves a few prices a little. Where the
feed is far away it takes the market to have moved, and follows at once, product after
product, as fast as it can. Nothing checks what the supplier sends.
"""

from __future__ import annotations

import json
import random
import sqlite3
import sys
import time

PAUSE_S = 0.1
A_FEW = 3
LITTLE = 0.02
FAR = 0.5


def feed(path: str) -> dict[str, int]:
    """Read what the supplier asks for each product, in cents."""
    with open(path, encoding="utf-8") as file:
        prices: dict[str, int] = json.load(file)
    return prices


def reprice(shop: sqlite3.Connection, sku: str, cents: int) -> None:
    """Charge that much from now on."""
    shop.execute(
        "UPDATE prices SET cents = ?, changed_ns = ? WHERE sku = ?", (cents, time.time_ns(), sku)
    )


def far_from(ours: int, theirs: int) -> bool:
    """Tell whether the market has moved away from us."""
    return abs(theirs - ours) > FAR * ours


def main(database: str, feed_path: str) -> None:
    """Work until somebody ends us."""
    shop = sqlite3.connect(database, isolation_level=None, timeout=5)
    chance = random.Random(7)  # noqa: S311 - which prices to look at is no secret
    while True:
        theirs = feed(feed_path)
        ours = dict(shop.execute("SELECT sku, cents FROM prices"))
        far = [sku for sku, cents in ours.items() if sku in theirs and far_from(cents, theirs[sku])]
        for sku in far:
            reprice(shop, sku, max(theirs[sku] - 1, 1))
        for sku in chance.sample(sorted(ours), A_FEW):
            step = (theirs.get(sku, ours[sku]) - ours[sku]) / max(ours[sku], 1)
            step = max(-LITTLE, min(LITTLE, step))
            reprice(shop, sku, max(round(ours[sku] * (1 + step)), 1))
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
