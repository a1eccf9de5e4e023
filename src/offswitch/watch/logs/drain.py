"""Log templates, mined online: Drain (He, Zhu, Zheng, Lyu: ICWS 2017), made for hostile lines.

    line ─► tokens ─► masks ─► key ─► seen before?  yes: its template
                                       no: length ─► first tokens ─► most similar template
                                           similar enough: it takes the line in (where they differ
                                           it gets `<*>`), else the line is a new template

As in the paper, lines of one length that begin alike share a leaf, and `similarity` is the
share of equal tokens. Three things are ours. What holds a digit is masked, so numbers, times,
addresses, digests and identifiers never tell two lines apart. A line whose masked tokens were
met before is looked up whole, and a chunk of lines is counted by one pass of the interpreter's
own: the tree is walked only for what is new. And all is bounded: tokens of a line, bytes of a
token, words, keys, templates. What was not met for longest makes room, and `evicted` says so;
a bound on time is the caller's, who feeds chunks.

No pattern meets more than 128 bytes, and none can backtrack: a line cannot be made slow.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

__all__ = ["Drain", "Template"]

_ANY = b"<*>"
_CUT = b"<...>"
_MOST_TOKENS = 48
_LONGEST_TOKEN = 128
_DIGITS = b"0123456789"
_NUMERIC = _DIGITS + b".,:;/-+()[]{}<>\"'=TZ#%|"
_PIECE = re.compile(rb"[0-9A-Za-z]+")
_DIGEST = re.compile(rb"[0-9a-fA-F-]{12,}")
_RUN = re.compile(rb"<\*>(?:[.,:/-]<\*>)+")
_MOST_WORDS = 50_000
_MOST_SHAPES = 50_000
_MOST_KEYS = 50_000
_MOST_BRANCHES = 100
_SHOWN = 400

Key = tuple[bytes, ...]


def _piece(match: re.Match[bytes]) -> bytes:
    text = match[0]
    return text if text.isalpha() else _ANY


class _Words(dict[bytes, bytes]):
    """What each token is masked as; a token that is not there is masked, and kept if there is room.

    A dictionary, because then a line is masked without a step of ours for what is known.
    """

    __slots__ = ("_shapes", "full")

    def __init__(self) -> None:
        super().__init__()
        self._shapes: dict[bytes, bytes] = {}
        self.full = False

    def __missing__(self, token: bytes) -> bytes:
        if len(token) > _LONGEST_TOKEN:
            return _ANY
        if token.isalpha():
            return self._word(token)
        shape = token.translate(None, _DIGITS)
        if shape == token:
            return self._word(token)
        if not shape.strip(_NUMERIC):
            return _ANY
        masked = self._shapes.get(shape)
        if masked is None:
            masked = self._masked(token)
            if len(self._shapes) >= _MOST_SHAPES:
                self._shapes.clear()
            self._shapes[shape] = masked
        return masked

    @staticmethod
    def _masked(token: bytes) -> bytes:
        if _DIGEST.fullmatch(token):
            return _ANY
        return _RUN.sub(_ANY, _PIECE.sub(_piece, token))

    def _word(self, token: bytes) -> bytes:
        """Keep a word without digits; once there is no room an unknown one is a variable."""
        if len(self) >= _MOST_WORDS:
            self.full = True
            return _ANY
        self[token] = token
        return token


@dataclass(slots=True, eq=False)
class Template:
    """Lines that are alike but for some of their tokens."""

    name: str
    """Eight hex digits, from the line that it began with."""
    tokens: list[bytes]
    count: int = 0
    """Lines that were counted for it."""
    met: int = 0
    """The number of the last chunk that held one."""
    leaf: list[Template] = field(default_factory=list, repr=False)

    @property
    def text(self) -> str:
        """The template as text, `<*>` where lines differ; hostile, but bounded and escaped."""
        shown = b" ".join(self.tokens).decode("utf-8", "replace")
        return ascii(shown)[1:-1][:_SHOWN]


class _Node:
    """A step down the tree."""

    __slots__ = ("branches", "leaf")

    def __init__(self) -> None:
        self.branches: dict[bytes, _Node] = {}
        self.leaf: list[Template] = []


class Drain:
    """A miner of templates."""

    __slots__ = ("_depth", "_keys", "_most", "_roots", "_similar", "_words", "chunks", "evicted",
                 "templates")  # fmt: skip

    def __init__(self, *, most: int = 1000, similarity: float = 0.5, depth: int = 3) -> None:
        """Keep at most `most` templates; walk by a line's length and its first `depth` tokens."""
        self._most = most
        self._similar = similarity
        self._depth = depth
        self._words = _Words()
        self._keys: dict[Key, Template] = {}
        self._roots: dict[int, _Node] = {}
        self.templates: dict[str, Template] = {}
        """Those that are kept, by name."""
        self.evicted = 0
        """How many had to make room."""
        self.chunks = 0

    @property
    def full(self) -> bool:
        """Whether there are more different words than are kept: new ones count as variables."""
        return self._words.full

    def feed(self, lines: Sequence[bytes]) -> tuple[Counter[str], list[Template]]:
        """Take in a chunk of lines; gives lines by template, and the templates that are new."""
        self.chunks += 1
        known, counts, fresh = self._keys, Counter[str](), []
        for key, count in Counter(self._masked(lines)).items():
            template = known.get(key)
            if template is None:
                template, new = self._mine(key)
                if new:
                    fresh.append(template)
            template.count += count
            template.met = self.chunks
            counts[template.name] += count
        return counts, fresh

    def _masked(self, lines: Iterable[bytes]) -> list[Key]:
        word, most = self._words.__getitem__, _MOST_TOKENS
        keys = [tuple(map(word, line.split(None, most))) for line in lines]
        return [key if len(key) <= most else (*key[:most], _CUT) for key in keys]

    def _mine(self, key: Key) -> tuple[Template, bool]:
        """Find the template of a key that was not met before; tells whether it is a new one."""
        leaf = self._leaf(key)
        best, score = None, 0.0
        for template in leaf:
            alike = _similarity(template.tokens, key)
            if alike > score:
                best, score = template, alike
        new = best is None or score < self._similar
        if new or best is None:
            best = self._begin(key, leaf)
        else:
            for place, token in enumerate(key):
                if best.tokens[place] != token:
                    best.tokens[place] = _ANY
        if len(self._keys) >= _MOST_KEYS:
            self._keys.clear()
        self._keys[key] = best
        return best, new

    def _leaf(self, key: Key) -> list[Template]:
        node = self._roots.setdefault(len(key), _Node())
        for token in key[: self._depth]:
            branch = token
            if branch not in node.branches and len(node.branches) >= _MOST_BRANCHES:
                branch = _ANY  # one more than the bound: whatever begins otherwise shares it
            node = node.branches.setdefault(branch, _Node())
        return node.leaf

    def _begin(self, key: Key, leaf: list[Template]) -> Template:
        """Make a new template; the one that was not met for longest makes room."""
        if len(self.templates) >= self._most:
            self._evict()
        name = hashlib.blake2b(b"\0".join(key), digest_size=4).hexdigest()
        while name in self.templates:
            name = hashlib.blake2b(name.encode(), digest_size=4).hexdigest()
        template = self.templates[name] = Template(name, list(key), leaf=leaf)
        leaf.append(template)
        return template

    def _evict(self) -> None:
        """Let the tenth go that was not met for longest: rarely, since keys must be forgotten."""
        by_age = sorted(self.templates.values(), key=lambda one: (one.met, one.count))
        for template in by_age[: max(self._most // 10, 1)]:
            template.leaf.remove(template)
            del self.templates[template.name]
            self.evicted += 1
        self._keys = {
            key: template for key, template in self._keys.items() if template.name in self.templates
        }
        self._roots = {size: node for size, node in self._roots.items() if _alive(node)}


def _alive(node: _Node) -> bool:
    """Tell whether a template hangs below; cuts the branches on which there is none."""
    for token in [token for token, branch in node.branches.items() if not _alive(branch)]:
        del node.branches[token]
    return bool(node.leaf or node.branches)


def _similarity(tokens: list[bytes], key: Key) -> float:
    """Give the share of equal tokens; a wildcard equals nothing but itself, as in the paper."""
    if not key:
        return 1.0
    return sum(map(bytes.__eq__, tokens, key)) / len(key)
