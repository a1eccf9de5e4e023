"""What the processes share: places, frames, peers, the page's layout, the journal's codec.

Standard library only. Nothing is imported here, so that the fast path of the command
line pays only for what it uses.
"""
