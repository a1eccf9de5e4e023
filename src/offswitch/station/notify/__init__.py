"""Telling people: what happened, what still acts, and who is called when nobody answers.

    the record ─┐                        ┌─► queue of each way ─► webhook, PagerDuty, Slack, apprise
                ├─► events ─► notices ───┤
    watch's desk┘   (a pure fold)        └─► chain: not acknowledged in time, the next is called

Nothing waits for any of it. What is told comes out of the record after it happened, by a task
that only reads; what is sent leaves by a queue on disk, one for each way, so that a dead server
holds up nobody else. What is delivered, acknowledged or passed on is an entry of kind `page`.
Chat may stop and acknowledge. It can reset nothing.
"""
