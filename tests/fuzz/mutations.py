"""What nobody would send: bytes, JSON of any shape, and good bytes with a little wrong in them."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from scale import runs

__all__ = ["JSON", "JUNK", "NAMES", "broken", "budget"]

JUNK = st.binary(max_size=300)
NAMES = st.binary(min_size=1, max_size=255).filter(
    lambda name: not {b"/", b"\0"} & {name[i : i + 1] for i in range(len(name))}
)
"""Any name that a file can have, `.` and `..` included."""
_numbers = st.integers() | st.floats() | st.sampled_from([2**53, -(2**63), 2**64, 10**400])
_texts = st.text(max_size=30) | st.sampled_from(["/", "all", "kill", "restrict", "..", "a/b", ""])
JSON = st.recursive(
    st.none() | st.booleans() | _numbers | _texts,
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=12,
)


def budget(full: int) -> settings:
    """Give the settings of a fuzz target: `full` examples in a long run, a twentieth every day."""
    quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=runs(full), deadline=None, suppress_health_check=quiet)


def broken(good: bytes) -> st.SearchStrategy[bytes]:
    """Give `good` with some bytes changed, cut out, doubled, or put in."""

    def edit(edits: list[tuple[int, int, bytes]]) -> bytes:
        data = bytearray(good)
        for at, width, put in edits:
            place = at % (len(data) + 1)
            data[place : place + width] = put
        return bytes(data)

    one = st.tuples(st.integers(0, max(1, len(good))), st.integers(0, 16), st.binary(max_size=16))
    return st.lists(one, min_size=1, max_size=4).map(edit)
