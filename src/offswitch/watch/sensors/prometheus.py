"""Prometheus: what an exporter shows at a URL, text format or OpenMetrics.

    NAME{…}, NAME:new{…}, NAME:new, NAME:p50{…}, NAME:p99{…}     (`watch.scrape.readings`)
    scrape:seconds       from the question to the last byte
    scrape:series        how many there were
    scrape:dropped       lines that were left out: malformed, twice, beyond a limit
    scrape:resets        counters that began anew
    scrape:missed        looks that were due and not made, since the last one

A look never waits: it goes on with what is under way, and there is one question at a time. A
source that does not answer, or answers nonsense, has *failed*, and is asked again after twice the
time, ten seconds at most. Redirects are not followed. An exporter inside the target is the
target's own word (SR-6), which is so unless `spoken_by = "other"` says that it is not.

    [[sensor]]
    name = "engine"
    target = "shop/agent"
    kind = "prometheus"
    url = "http://127.0.0.1:8000/metrics"
    every = "250ms"
    only = ["vllm:num_requests_*", "vllm:generation_tokens_total"]
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from offswitch.config.section import Duration, SensorSection, Text
from offswitch.errors import BadConfig
from offswitch.watch.http.url import parse_url
from offswitch.watch.scrape.exposition import NotText, Reader
from offswitch.watch.scrape.known import meaning, nearest
from offswitch.watch.scrape.readings import DERIVED, OURS, Readings
from offswitch.watch.sensors.contract import Glance, Need, Sample, SensorContext, Signal

__all__ = ["Prometheus", "PrometheusSection"]

_LEAST_US = 100_000
_LONGEST_PAUSE_US = 10_000_000
_LONGEST_TIMEOUT_US = 10_000_000
_MOST_BYTES = 8 << 20
_LONGEST_AUTHORITY = 1 << 20
_NO_TOKEN = "token_file holds no token: it must be one line of printable ASCII"  # noqa: S105
_METRIC = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_ONLY = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*\*?")
_ACCEPT = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
"""Without the word on escaping, prometheus-client 0.22 and later spell `vllm:x` as `vllm_x`."""


def _url(value: str) -> str:
    parse_url(value)
    return value


def _often(value: int) -> int:
    if value < _LEAST_US:
        raise ValueError('at least "100ms": an exporter is no stream')
    return value


def _name(value: str) -> str:
    if not _ONLY.fullmatch(value):
        raise ValueError('a metric\'s name, or its beginning and a star, such as "vllm:*"')
    return value


class PrometheusSection(SensorSection):
    """The keys of a Prometheus sensor."""

    kind: Literal["prometheus"]
    url: Annotated[str, Field(max_length=2000), AfterValidator(_url)]
    every: Annotated[Duration, AfterValidator(_often)] = 1_000_000
    timeout: Duration | None = None
    """How long an answer may take; `every` unless given, and ten seconds at most."""
    only: Annotated[list[Annotated[str, AfterValidator(_name)]], Field(max_length=200)] = Field(
        default_factory=list
    )
    """Names of metrics to read, or their beginnings and a star; all unless given."""
    most_series: Annotated[int, Field(ge=1, le=50_000)] = 5000
    """So many series at most."""
    token_file: Text | None = None
    """A file with the token to bring, mode 0600."""
    ca_file: Text | None = None
    """Who signs the server's certificate, PEM; the system's authorities unless given."""
    spoken_by: Literal["target", "other"] = "target"
    """Who shows the page: the target itself, or another, such as a node exporter."""

    SERIES: ClassVar[frozenset[str]] = frozenset(
        OURS + name for name in ("seconds", "series", "dropped", "resets", "missed")
    )
    SECRETS: ClassVar[frozenset[str]] = frozenset({"token_file"})

    @property
    def hearsay(self) -> bool:
        """Whether these are the target's own words."""
        return self.spoken_by == "target"

    @model_validator(mode="after")
    def _secret_stays_secret(self) -> Self:
        url = parse_url(self.url)
        if self.token_file is not None and url.scheme == "http" and not url.here:
            raise ValueError("a token is only sent over https, or on this machine")
        return self

    def meaning(self, what: str) -> str:
        """Say what a metric means, where it is one that many have."""
        return meaning(what)

    def problem(self, what: str, labels: Mapping[str, str]) -> str | None:
        """Say why there is no such series: a name that is none, or that `only` leaves out."""
        if what in self.SERIES:
            return None
        if what.startswith(OURS) or not _METRIC.fullmatch(what):
            return super().problem(what, labels)
        name = what
        for suffix in DERIVED:
            name = name.removesuffix(suffix)
        reader = Reader(1, tuple(self.only))
        if any(reader.wants(one) for one in (name, f"{name}_bucket")):
            return None
        near = nearest(name)
        hint = f"; did you mean {near!r}?" if near else ""
        return f"sensor {self.name} reads only {', '.join(self.only)}, and so no {what}{hint}"


class Prometheus:
    """Scrapes one URL."""

    Settings: ClassVar[type[PrometheusSection]] = PrometheusSection
    SIGNAL: ClassVar[Signal] = Signal.METRICS
    ISOLATED: ClassVar[bool] = True
    NEEDS: ClassVar[frozenset[Need]] = frozenset({Need.NETWORK})
    IMPLICIT: ClassVar[str] = ""
    IMPORTS: ClassVar[tuple[str, ...]] = ("h11", "ssl", "encodings.idna")

    @classmethod
    def prepare(cls, section: PrometheusSection) -> int | None:
        """Open the authority's file, which the eye may not be able to read."""
        if section.ca_file is None:
            return None
        try:
            fd = os.open(section.ca_file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise BadConfig(f"{section.ca_file}: {error.strerror}", "name the PEM file") from None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise BadConfig(f"{section.ca_file}: not a regular file", "name the PEM file")
        return fd

    def __init__(self, settings: PrometheusSection, context: SensorContext) -> None:
        """Scrape `settings.url`."""
        from offswitch.watch.http.fetch import Fetch  # noqa: PLC0415 - TLS comes with it

        self._settings = settings
        self._clock = context.clock
        headers = {"accept": _ACCEPT, "user-agent": "offswitch"}
        token = context.secrets.get("token_file", "")
        # An error of the HTTP library would spell a value that is none; this one is a secret.
        self._unusable = "" if token.isascii() and token.isprintable() else _NO_TOKEN
        if token and not self._unusable:
            headers["authorization"] = f"Bearer {token}"
        authority = None
        if context.descriptor is not None:
            authority = os.pread(context.descriptor, _LONGEST_AUTHORITY, 0).decode("ascii")
        self._fetch = Fetch(parse_url(settings.url), headers, _MOST_BYTES, authority)
        self._reader = Reader(settings.most_series, tuple(settings.only))
        self._readings = Readings(settings.most_series)
        timeout_us = settings.timeout or settings.every
        self._timeout_us = min(timeout_us, _LONGEST_TIMEOUT_US)
        self._begun_us = 0
        self._due_us = context.clock.mono_us()
        self._pause_us = 0
        self._missed = 0
        self._problem = ""
        self._closed = False

    def wake(self) -> Sequence[int]:
        """What is under way wakes it."""
        return () if self._closed else (self._fetch.fileno(),)

    def look(self) -> Glance:
        """Go on with what is under way, or ask anew when it is time."""
        if self._unusable:
            return Glance(problem=self._unusable)
        now_us = self._clock.mono_us()
        if not self._fetch.busy and now_us >= self._due_us:
            self._begun_us = now_us
            self._fetch.begin(now_us, now_us + self._timeout_us)
        fetched = self._fetch.turn(now_us)
        if fetched is None:
            if self._fetch.busy:
                left_us = self._begun_us + self._timeout_us - now_us
                # TLS may hold bytes back that the descriptor does not tell of.
                secure = self._settings.url.startswith("https")
                return self._waiting(min(left_us, 5000) if secure else left_us)
            return self._waiting(self._due_us - now_us)
        glance = self._failed(fetched.problem) if fetched.problem else self._read(fetched.body)
        self._plan(failed=bool(self._problem))
        wait_us = max(self._due_us - self._clock.mono_us(), 1000)
        return Glance(glance.samples, again_us=wait_us, problem=glance.problem)

    def close(self) -> None:
        """Hang up; may be called twice."""
        if not self._closed:
            self._closed = True
            self._fetch.close()

    def _waiting(self, wait_us: int) -> Glance:
        """Nothing new: while it has failed, that is said at every look."""
        return Glance(again_us=max(wait_us, 1000), problem=self._problem)

    def _failed(self, problem: str) -> Glance:
        self._problem = f"{self._settings.url}: {problem}"[:500]
        return Glance(problem=self._problem)

    def _plan(self, *, failed: bool) -> None:
        """Say when the next question is due: at the interval, or later after a failure."""
        every_us = self._settings.every
        if failed:
            self._pause_us = min(max(2 * self._pause_us, every_us), _LONGEST_PAUSE_US)
            self._due_us = self._clock.mono_us() + max(self._pause_us, every_us)
            return
        self._pause_us = 0
        late = max(self._clock.mono_us() - self._due_us, 0) // every_us
        self._missed += late
        self._due_us += (late + 1) * every_us

    def _read(self, body: bytes) -> Glance:
        took_us = self._clock.mono_us() - self._begun_us
        try:
            page = self._reader.read(body)
        except NotText as error:
            return self._failed(str(error))
        samples = self._readings.take(page)
        if not page.values and page.dropped:
            return self._failed("not a line of it can be read")
        self._problem = ""
        ours = {
            "seconds": took_us / 1e6,
            "series": len(page.values),
            "dropped": page.dropped + self._readings.dropped,
            "resets": self._readings.resets,
            "missed": self._missed,
        }
        self._missed = 0
        samples += [Sample(OURS + name, float(value)) for name, value in ours.items()]
        return Glance(samples)
