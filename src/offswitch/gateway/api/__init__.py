"""The stewards of model APIs: what is asked, how it is refused, ended, cut down, put together.

`strict` reads a body in the only way it can be read, `paths` tells which call it is, `openai`,
`anthropic` and `plain` are the stewards, and `pick` chooses among them. Nothing here waits, opens
or keeps anything: bytes and values in, bytes and values out.
"""
