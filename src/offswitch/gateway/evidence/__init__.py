"""Has the upstream really stopped? A closed stream is no proof that a model has (VER-6).

    cut ─► its own abort API, for the answers that were cut, where it has one
        ─► after some time: what does it say is in work? ─► again, seldom, until nothing is
        ─► a note to the warden: *idle*, *still busy* or *not confirmed*, the layer's detail

    found      what was found, and how it is told     ask         one question over HTTP
    metrics    a page of metrics, read for gauges     inquiries   what is asked, and when
    llama_cpp  vllm  sglang  ollama  prometheus       who is asked, a file each

Whatever is found, the layer is not confirmed by it: it is the server's own word. Of a hosted API
nothing can be asked, so that *egress cut, upstream not confirmed* is all there is to say.
"""
