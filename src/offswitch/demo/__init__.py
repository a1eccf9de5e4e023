"""The demonstration: a real little fleet, in an installation of its own, and nothing acted.

`actors/` holds the programs: they know nothing of us and would run without us. `stage`
sets up and clears away, `fleet` runs the programs and reads what they really did, `story`
is the order of events, `timeline` takes the figures from the record and from what the
programs left behind. Whatever is told was measured in this very run.
"""
