"""The gateway: in front of model servers and tool servers; it refuses, cuts in flight, and senses.

    client ─ head ─► plan: which target? ─► word: may it? ─► steward: rewrite, refuse, pass
                                                                  │
    client ◄─ bytes, unchanged ─ word, at each chunk ─ tap ◄── upstream

Each request belongs to a target; the page's word of that target is tested for each request and
each chunk. A stop ends what is in flight at a boundary, in the words of the API that is spoken,
and aborts the upstream first. That it stopped is what the observer saw, never the gateway's word.

    exchange  what is handed between the parts    words   the page, as a worker reads it
    plan      what the configuration says         wire    bytes in and out
    stop      sweeping and ending                 api     the shapes of model APIs
    tools     MCP and tool calls                  sense   counters, ring, tap
    evidence  has the upstream really stopped     fronts  for those who keep their own front
"""
