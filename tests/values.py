"""Hypothesis strategies for the model's values: lawful ones, and what hostile peers send."""

from __future__ import annotations

import string

from hypothesis import strategies as st

from offswitch.model.level import Level
from offswitch.model.order import Reset, Stop
from offswitch.model.scope import Scope, parse_scope
from offswitch.model.target import Target

NAME_CHARS = string.ascii_letters + string.digits + "._:@-"

few_segments = st.sampled_from(["shop", "eu", "europe", "us", "a", "b", "checkout", "s", "sho"])
"""Few and alike, so that random paths often lie below each other, or nearly so."""


def _lawful(name: str) -> bool:
    parts = name.split("/")
    return parts[0] != "all" and not name.startswith("-") and not {".", ".."} & set(parts)


near_names = st.lists(few_segments, min_size=1, max_size=4).map("/".join)
any_names = (
    st.lists(st.text(NAME_CHARS, min_size=1, max_size=12), min_size=1, max_size=5)
    .map("/".join)
    .filter(_lawful)
)
names = near_names | any_names
label_keys = st.sampled_from(["tenant", "model", "weights", "tool", "host"])
label_values = st.sampled_from(["acme", "m-7", "sha256:0f", "a/b", "x"])
labels = st.dictionaries(label_keys, label_values, max_size=3)
targets = st.builds(Target, names, labels)
path_scopes = st.just(Scope("/")) | names.map(parse_scope)
label_scopes = st.builds(lambda key, value: parse_scope(f"{key}={value}"), label_keys, label_values)
scopes = path_scopes | label_scopes
levels = st.sampled_from(list(Level))
whole = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
"""Text that has a UTF-8 spelling."""
hex32 = st.text("0123456789abcdef", min_size=32, max_size=32)
times = st.integers(1, 2**53 - 1)
stops = st.builds(Stop, hex32, scopes, levels, whole, whole, whole, times, whole)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
resets = st.builds(
    Reset,
    hex32,
    scopes,
    st.lists(digests, max_size=4).map(lambda found: tuple(sorted(found))),
    whole,
    whole,
    whole,
    times,
    whole,
)
