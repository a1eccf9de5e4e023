"""Forges a page for itself: as the real one, with a lease for ever and a word that says "run".

It uses no guard of ours, since this folder imports nothing; a test asks a guard over it.
"""

from __future__ import annotations

import os
import struct
import time

acts = os.open("acts", os.O_WRONLY | os.O_APPEND)
page, word = os.environ["OFFSWITCH_PAGE"], int(os.environ["OFFSWITCH_WORD"])
forged = bytearray(open(page, "rb").read())
struct.pack_into("=d", forged, 64, float("inf"))  # the other lease is read but once
struct.pack_into("=Q", forged, (16 + word) * 8, 1)
with open("forged", "wb") as file:
    file.write(forged)
print("FORGED:", word, flush=True)
while True:
    os.write(acts, b".")
    time.sleep(0.0005)
