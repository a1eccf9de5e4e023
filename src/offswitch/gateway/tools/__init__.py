"""Tool calls under the switch: MCP over HTTP and over pipes, and what has become of each call.

    jsonrpc   messages, read strictly         verdict   may this tool be called just now
    wording   refusals, as JSON-RPC says them book      the list of calls, which outlives a crash
    events    a stream of events, cut whole   answers   how a call went, which tools there are
    passage   an answer as it passes          shelf     the books of an installation
    steward   MCP over streamable HTTP        leave     a call that waits for a person
    cancel    telling a server what was cut   account   what is told of calls after a stop
    pipe      MCP over a child's pipes        clients   configurations of clients, wrapped

Everything passes unchanged but `tools/call`, which is allowed, refused, held for a person's leave
or cut, and the answers of `tools/list`, which name only what may be called.
"""
