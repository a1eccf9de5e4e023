"""The warden: the hands of an installation, and what keeps it honest.

    daemon       comes up, wires everything, ends           server, ops    what it is asked
    stopping     a stop, from the press to the proof        resetting      a reset
    starting     births, and what follows an end            table          what it holds
    cell, birth  cells and what is born in them             workspace      what a cell may see
    page_writer  the word for guards, and the lease         latch_store    what stays latched
    keeper       its last hand                              observer       who looks
    sweeper      who kills by user id                       recording      what the ledger is told

Standard library only. It decides nothing: it obeys any stop, and a reset only when that is
properly authorised.
"""
