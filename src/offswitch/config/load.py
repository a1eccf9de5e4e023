"""Reading the configuration: trusted, parsed, validated, each error with its line.

The place is `$OFFSWITCH_CONFIG` or `$OFFSWITCH_HOME/offswitch.toml`, never the current
directory (SR-1). Without the file there is an empty configuration, unless it was named. A
file that somebody else could have written is refused for root, and told as *degraded*
otherwise. Everything wrong is told at once, line by line, with the nearest known key.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial, reduce
from operator import or_
from typing import Annotated, Any, Literal, get_origin

from pydantic import Field, SerializeAsAny, ValidationError, create_model
from pydantic_core import ErrorDetails

from offswitch.config.crosscheck import Implicit, problems
from offswitch.config.declared import Config, Rule
from offswitch.config.lines import Path, key_lines, line_of
from offswitch.config.notify import KINDS as NOTIFY_KINDS
from offswitch.config.section import SensorSection
from offswitch.config.trust import others_could_write
from offswitch.errors import BadConfig
from offswitch.plugins import ACTUATORS, DETECTORS, SENSORS, Plugin, installed

__all__ = ["Kinds", "Loaded", "installed_kinds", "load", "parse", "schema"]

_LARGEST = 4 << 20
_MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Kinds:
    """The kinds of sensors, detectors and actuators that a configuration may name."""

    sensors: Mapping[str, Plugin]
    detectors: Mapping[str, Plugin]
    actuators: Mapping[str, Plugin] = field(default_factory=dict)

    @property
    def implicit(self) -> Implicit:
        """The sensors that every target has without a word in the file, by name."""
        return {
            plugin.cls.IMPLICIT: partial(_implicit, plugin)
            for plugin in self.sensors.values()
            if getattr(plugin.cls, "IMPLICIT", None)
        }

    @property
    def dependent(self) -> frozenset[str]:
        """The kinds of detectors that must not stop anything alone (DET-7)."""
        kinds = self.detectors.items()
        return frozenset(kind for kind, one in kinds if not getattr(one.cls, "ALONE", True))


def _implicit(plugin: Plugin, target: str) -> SensorSection:
    """Make the section that a target has without a word in the file."""
    cls = plugin.cls
    section: SensorSection = cls.Settings(name=cls.IMPLICIT, target=target, kind=plugin.kind)
    return section


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that was read."""

    config: Config
    kinds: Kinds
    path: str
    sha256: str
    """Of the file's bytes; empty where there is no file."""
    degraded: tuple[str, ...] = ()
    """Why somebody else could have written it, and what it gives up; empty: neither."""


@dataclass(slots=True)
class _Errors:
    """Collects what is wrong, each with its line."""

    path: str
    lines: Mapping[Path, int]
    found: list[tuple[int, str]] = field(default_factory=list)

    def add(self, where: Path, what: str) -> None:
        self.found.append((line_of(dict(self.lines), where), what))

    def raise_if_any(self) -> None:
        if not self.found:
            return
        told = [f"{self.path}:{line}: {what}" for line, what in sorted(set(self.found))]
        if len(told) > _MOST_SHOWN:
            told[_MOST_SHOWN:] = [f"… and {len(told) - _MOST_SHOWN} more"]
        raise BadConfig("\n".join(told), "correct it, then: offswitch config check")


def installed_kinds() -> Kinds:
    """Load the plugins of this environment."""
    return Kinds(installed(SENSORS), installed(DETECTORS), installed(ACTUATORS))


def config_model(kinds: Kinds) -> type[Config]:
    """Make the model of the whole file for these kinds of sensors, detectors and actuators."""
    rule = create_model("Rule", __base__=Rule, __doc__=Rule.__doc__)
    fields: dict[str, Any] = {}
    detector = _one_of(kinds.detectors)
    if detector is not None:
        several = Annotated[list[SerializeAsAny[detector]], Field(min_length=1, max_length=3)]  # type: ignore[valid-type]
        rule = create_model("Rule", __base__=Rule, __doc__=Rule.__doc__, detectors=(several, ...))
    fields["rule"] = (list[rule], Field(default_factory=list))  # type: ignore[valid-type]
    sensor = _one_of(kinds.sensors)
    if sensor is not None:
        fields["sensor"] = (list[SerializeAsAny[sensor]], Field(default_factory=list))  # type: ignore[valid-type]
    actuator = _one_of(kinds.actuators)
    if actuator is not None:
        fields["actuator"] = (list[SerializeAsAny[actuator]], Field(default_factory=list))  # type: ignore[valid-type]
    return create_model("Config", __base__=Config, __doc__=Config.__doc__, **fields)


def _one_of(plugins: Mapping[str, Plugin]) -> Any:  # noqa: ANN401 - a type made at run time
    """Make the type *one of these kinds*, told apart by the key `kind`."""
    settings = [_of_one_kind(plugin) for plugin in plugins.values()]
    if not settings:
        return None
    if len(settings) == 1:
        return settings[0]
    return Annotated[reduce(or_, settings), Field(discriminator="kind")]


def _of_one_kind(plugin: Plugin) -> Any:  # noqa: ANN401 - a model made at run time
    """Give a plugin's keys, with a `kind` that says only its own: by it tables are told apart."""
    settings = plugin.cls.Settings
    if get_origin(settings.model_fields["kind"].annotation) is Literal:
        return settings
    only: Any = Literal.__getitem__(plugin.kind)
    return create_model(settings.__name__, __base__=settings, kind=(only, ...))


def schema(kinds: Kinds) -> dict[str, Any]:
    """Give the JSON schema of the file, plugins' keys included."""
    return config_model(kinds).model_json_schema()


def parse(data: bytes, path: str, kinds: Kinds) -> Config:
    """Make a configuration of a file's bytes; `BadConfig` names each error with its line."""
    try:
        text = data.decode().replace("\r\n", "\n")
        raw = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadConfig(f"{path}:{line}: this is not UTF-8", "write it as UTF-8") from None
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is a ValueError
        raise BadConfig(f"{path}: not TOML: {error}", "see https://toml.io") from None
    errors = _Errors(path, key_lines(text))
    model = config_model(kinds)
    try:
        config = model.model_validate(raw)
    except ValidationError as error:
        for detail in error.errors():
            where, what = _explain(detail, raw, kinds, model)
            errors.add(where, what)
        errors.raise_if_any()
        raise  # pragma: no cover - a ValidationError has at least one error
    for where, what in problems(config, kinds.implicit, kinds.dependent):
        errors.add(where, what)
    errors.raise_if_any()
    return config


def _real_path(location: tuple[int | str, ...], raw: object) -> Path:
    """Drop from pydantic's location what is not in the file (the tags of `kind`)."""
    path: list[int | str] = []
    here: object = raw
    for position, step in enumerate(location):
        last = position == len(location) - 1
        if isinstance(here, dict) and (step in here or last):
            here = here.get(step)
        elif isinstance(here, list) and isinstance(step, int) and step < len(here):
            here = here[step]
        else:
            continue
        path.append(step)
    return tuple(path)


def _explain(
    detail: ErrorDetails, raw: Mapping[str, Any], kinds: Kinds, model: type[Config]
) -> tuple[Path, str]:
    """Say in words what pydantic found, and where it stands."""
    where = _real_path(detail["loc"], raw)
    key = where[-1] if where else ""
    given = detail.get("input")
    match detail["type"]:
        case "extra_forbidden":
            near = difflib.get_close_matches(
                str(key), _known_keys(where, raw, kinds, model), 1, 0.5
            )
            hint = f"; did you mean {near[0]!r}?" if near else ""
            return where, f"unknown key {key!r}{hint}"
        case "missing":
            why = _WHY.get(str(key), "")
            return where, f"{key!r} is missing{why}"
        case "union_tag_invalid" | "union_tag_not_found":
            table = _kinds_at(where, kinds)
            kind = given.get("kind") if isinstance(given, dict) else None
            near = difflib.get_close_matches(str(kind), table, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(table)}"
            said = "no 'kind' is given" if kind is None else f"unknown kind {kind!r}"
            return (*where, "kind"), f"{said}; {hint}"
        case "value_error":
            return where, f"{key}: {detail['msg'].removeprefix('Value error, ')}"
        case _:
            return where, f"{key}: {detail['msg']}"


def _kinds_at(where: Path, kinds: Kinds) -> Mapping[str, object]:
    """Give what the key `kind` of the table at `where` may say."""
    if where[:1] == ("notify",):
        return NOTIFY_KINDS
    if where[:1] == ("actuator",):
        return kinds.actuators
    return kinds.sensors if where[:1] == ("sensor",) else kinds.detectors


_REQUIRED = " (a rule says what harm it prevents, how soon that comes and what a false stop costs)"
_WHY = {
    "harm": _REQUIRED,
    "time_to_harm": _REQUIRED,
    "false_stop_cost": _REQUIRED,
    "act": ": shadow (would stop), advise (asks) or auto (stops by itself)",
}


def _known_keys(
    where: Path, raw: Mapping[str, Any], kinds: Kinds, model: type[Config]
) -> list[str]:
    """List the keys that the table at `where` may have."""
    match where[:-1]:
        case ():
            return list(model.model_fields)
        case ("sensor", int(index)):
            return _keys_of(kinds.sensors, raw["sensor"][index])
        case ("actuator", int(index)):
            return _keys_of(kinds.actuators, raw["actuator"][index])
        case ("notify", int(index)):
            section = NOTIFY_KINDS.get(str(raw["notify"][index].get("kind")))
            return list(section.model_fields) if section else []
        case ("rule", int(index), "detectors", int(number)):
            return _keys_of(kinds.detectors, raw["rule"][index]["detectors"][number])
        case _:
            return _walk(model, where[:-1])


def _keys_of(plugins: Mapping[str, Plugin], table: Mapping[str, Any]) -> list[str]:
    plugin = plugins.get(str(table.get("kind")))
    return list(plugin.cls.Settings.model_fields) if plugin else []


def _walk(model: type[Config], path: Path) -> list[str]:
    """Follow a path of keys through the models; the keys of the last one."""
    schema_: dict[str, Any] = model.model_json_schema()
    here = schema_
    for step in path:
        here = (
            here.get("items", {})
            if isinstance(step, int)
            else here.get("properties", {}).get(step, {})
        )
        for option in here.get("anyOf", ()):
            here = option if "$ref" in option else here
        if "$ref" in here:
            here = schema_["$defs"][here["$ref"].rpartition("/")[2]]
    return list(here.get("properties", {}))


def load(path: str, kinds: Kinds, *, named: bool = False) -> Loaded:
    """Read the file at `path`; a missing one is an empty configuration unless it was `named`."""
    uid = os.geteuid()
    try:
        reasons = others_could_write(path, uid)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise BadConfig(f"{path}: not a regular file", "put the configuration there")
            data = file.read(_LARGEST + 1)
    except FileNotFoundError:
        if named:
            hint = "OFFSWITCH_CONFIG names it: create it, or unset that"
            raise BadConfig(f"{path}: there is no such file", hint) from None
        return Loaded(parse(b"", path, kinds), kinds, path, "")
    except OSError as error:
        raise BadConfig(f"{path}: {error.strerror}", "see its rights: ls -l") from None
    if reasons and uid == 0:
        told = "\n".join(f"{path}: {reason}" for reason in reasons)
        hint = "chown it to root and take write rights from the others, its folders included"
        raise BadConfig(f"{told}\nso somebody else could have written it", hint)
    if len(data) > _LARGEST:
        raise BadConfig(f"{path}: more than {_LARGEST} bytes", "that is no configuration")
    config = parse(data, path, kinds)
    degraded = (*reasons, *config.drill.degraded())
    return Loaded(config, kinds, path, hashlib.sha256(data).hexdigest(), degraded)
