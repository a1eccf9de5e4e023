"""The eyes and the judgement: sensors, detectors, and the loop that joins them to rules.

    eye (a process for each hostile source) ── readings ──► loop ── detectors ── rules ── arbiter
                                                             │
                                     stop order ──► warden   └─► findings, decisions ──► recorder

Nothing is imported here.
"""
