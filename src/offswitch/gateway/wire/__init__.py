"""Bytes in and out: clients, upstreams, and what stands between them."""
