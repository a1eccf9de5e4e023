"""For those who keep a front of their own: what a stop does there, and what it cannot do.

    warden ─ words, turn N ─► following ─► haproxy     maintenance, sessions shut, seen to be gone
                                       └─► standing    a health check: may it be sent to?
    LiteLLM ─ its kill switch ─► kill_webhook ─ stop ─► warden
            └ its pre-call hook ─► litellm_hook ─ reads the page

None of them is the gateway: they act at the pace of what they act on, they end no stream in the
words of its API, and nothing of them is counted as *confirmed*. Behind any front the gateway itself
can stand as its upstream, and then all that is promised of it holds there.
"""
