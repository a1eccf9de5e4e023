"""Orders from outside (DEC-8): a customer, regulator or insurer asks; a person here decides.

signed file ─► does it hold? ─no─► refused, recorded
                    │yes
                    ▼
                 ticket ─► accepted by a person: a stop of theirs, channel `ticket`
                    │    └► declined by a person, with a reason
                    └─► nobody answers: a reminder at a third and at two thirds of the time,
                        at its deadline it is overdue, and people are called. It never acts by
                        itself, and never lapses: it stays until a person has answered it
"""
