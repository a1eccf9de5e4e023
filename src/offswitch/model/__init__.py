"""The seven nouns, and what they are about. Pure values: no I/O, no third party.

    Reading ─► Finding ─► Decision ─► Order ─► Latch ─► Receipt ─► Entry

Each noun has a module of its name; `target`, `scope`, `level`, `state` and `wire` are
what they speak of. Nothing is imported here, so that a caller pays only for what it uses.
"""
