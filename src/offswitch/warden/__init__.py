"""The warden: the hands of an installation, and what keeps it honest.

Its own process, at the top of this room:

    daemon       comes up, wires everything, ends    stopping     a stop, from press to proof
    loop         descriptors and timers              starting     births, and what follows an end
    crew         the processes beside it             recovery     what an earlier warden left
    page_writer  the word for guards, the lease      recording    what the ledger is told
    errands      whatever touches a disk             table        the targets it knows

    door/        who may come in, what can be asked  reset/       deliberate; it starts nothing
    cells/       what targets are born and held in   latch/       what stays latched, and where

Processes of their own: keeper/, its last hand; observer/, who looks; sweeper, who kills by
user id.

Standard library only. It decides nothing: it obeys any stop, and a reset only when that is
properly authorised.
"""
