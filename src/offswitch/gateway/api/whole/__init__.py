"""Answers put together from their streams: what the API would have said at once.

A server notices at the end of a stream that nobody listens; at a whole answer most do not, and go
on computing. So a stream is asked for upstream even where the client wants none (the route may opt
out), and `assembler` gives the client the whole answer. `merge` is how pieces of values add up;
`chat`, `responses` and `messages` know one API's stream each.
"""
