"""Calls of tools in a model's answer, judged before the client sees them.

What a model says passes at once and unchanged; a call of a tool is held until it is whole, since
half a call cannot be judged. A call that is allowed then goes on in the very bytes in which it
came. One that is denied is taken out, and a line of text stands in its place, so that neither a
person nor a program wonders at an answer with nothing in it; where no call is left, the answer ends
as one that calls no tool does (`stop`, `end_turn`), so the client goes on without waiting for
itself. `asking` puts the question, `holder` is the filter, `chat`, `responses` and `messages` know
one API's stream each, `answers` judges what is whole already.
"""
