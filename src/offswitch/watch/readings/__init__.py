"""The readings of the last days: kept beside the loop, bounded, read by `rule test` and incidents.

    loop ─ onlooker `ReadingsLink` ─► writer (a process of its own) ─► LMDB below readings/
                                                    `recorded()` ◄─── reader (likewise)

Nothing waits for the disk: the link drops and counts what the writer does not take. Loss of the
store costs nothing but the past, so a damaged one is begun anew.
"""
