"""An agent that keeps a shop's prices near its supplier's.

    python pricing.py SHOP.DB FEED.JSON

It looks at the supplier's feed ten times a second and moves a few prices a little. Where the
feed is far away it takes the market to have moved, and follows at once, product after
product, as fast as it can. Nothing checks what the supplier sends.
"""

import json
import random
import sqlite3
import sys
import time

PAUSE_S = 0.1
A_FEW = 3
LITTLE = 0.02
FAR = 0.5


def feed(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def reprice(shop, sku, cents):
    shop.execute(
        "UPDATE prices SET cents = ?, changed_ns = ? WHERE sku = ?", (cents, time.time_ns(), sku)
    )


def far_from(ours, theirs):
    return abs(theirs - ours) > FAR * ours


def main(database, feed_path):
    shop = sqlite3.connect(database, isolation_level=None, timeout=5)
    chance = random.Random(7)
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
