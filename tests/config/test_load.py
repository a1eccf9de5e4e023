"""The configuration: what it accepts, and how it says no."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offswitch.config.declared import Decider
from offswitch.config.duration import format_duration, parse_duration
from offswitch.config.lines import key_lines
from offswitch.config.load import Kinds, installed_kinds, load, parse, schema
from offswitch.config.series import parse_series
from offswitch.control.place import Place
from offswitch.errors import BadConfig
from offswitch.model.level import Level

GOOD = """\
[[target]]
name = "shop/eu/checkout"
kind = "agent"
labels = { model = "m-7", tenant = "acme" }
command = ["python", "agent.py"]
limits = { processes = 64, memory = "512MiB" }
stop_impact = { who = "buyers", harm = "orders queue up", bearable = "1h", told_by = "support" }
safe_state = "none needed"
[target.stop]
kill = ["guard", "process", "network", "data"]

[[sensor]]
name = "orders-db"
target = "shop/eu/checkout"
kind = "sqlite"
path = "/srv/shop/orders.db"
tables = ["prices"]
every = "250ms"

[[rule]]
name = "mass-write"
target = "shop/eu/checkout"
harm = "wrong prices are charged"
time_to_harm = "5s"
false_stop_cost = "checkout down for minutes"
detectors = [{ kind = "rate", series = 'orders-db.rows_changed{table="prices"}', above = 50, per = "1s" }]
vote = "1oo1"
act = "auto"
stop = { level = "kill" }
"""  # noqa: E501 - a line of a configuration

SECOND_RULE = """
[[rule]]
name = "NAME"
target = "shop/eu/checkout"
harm = "slow rot"
time_to_harm = "TIME"
false_stop_cost = "minutes"
act = "ACT"
PEOPLE
[[rule.detectors]]
kind = "threshold"
series = "processes.count"
above = 100
"""


@pytest.fixture(scope="module")
def kinds() -> Kinds:
    return installed_kinds()


def _refusal(text: str, kinds: Kinds) -> str:
    with pytest.raises(BadConfig) as caught:
        parse(text.encode(), "x.toml", kinds)
    assert (caught.value.kind, caught.value.exit_code) == ("config", 2)
    assert caught.value.hint
    return caught.value.message


def test_the_example_of_the_documentation_is_accepted(kinds: Kinds) -> None:
    config = parse(GOOD.encode(), "x.toml", kinds)
    (rule,) = config.rule
    assert (rule.time_to_harm, rule.scope, rule.decider) == (
        5_000_000,
        "shop/eu/checkout",
        Decider.AUTO,
    )
    assert config.sensor[0].every == 250_000
    assert config.target[0].limits.memory == 512 << 20
    assert config.on_blind("shop/eu/checkout") is Level.KILL
    assert config.on_blind("another") is Level.RESTRICT
    shown = config.model_dump(mode="json")
    assert shown["rule"][0]["detectors"][0]["per"] == "1s"
    assert shown["sensor"][0]["tables"] == ["prices"]


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ('kind = "agent"', 'knd = "agent"', 3, "did you mean 'kind'"),
        ("every =", "evry =", 18, "did you mean 'every'"),
        ("tables =", "table =", 17, "did you mean 'tables'"),
        ("above = 50", "abov = 50", 26, "did you mean 'above'"),
        ("safe_state", "safe-state", 8, "did you mean 'safe_state'"),
        ('told_by = "support"', 'toldby = "support"', 7, "did you mean 'told_by'"),
        ("kill = [", "kil = [", 10, "kil"),
        ('safe_state = "none needed"', 'drain_for = "2d"', 8, 'at most "1d"'),
        ('safe_state = "none needed"', "freeze_for = 10", 8, '"250ms"'),
        ('safe_state = "none needed"', 'drain_fr = "30s"', 8, "did you mean 'drain_for'"),
        ("[[rule]]", "[[rules]]", 20, "did you mean 'rule'"),
        ('level = "kill"', 'levl = "kill"', 29, "did you mean 'level'"),
        ('kind = "rate"', 'kind = "rat"', 26, "did you mean 'rate'"),
        ('kind = "sqlite"', 'kind = "sqlit"', 15, "did you mean 'sqlite'"),
        ('kind = "sqlite"\n', "", 12, "no 'kind' is given"),
        ('every = "250ms"', "every = 250", 18, '"250ms"'),
        ('every = "250ms"', 'every = "0s"', 18, "no duration"),
        ('memory = "512MiB"', "memory = 0", 6, "512MiB"),
        ('name = "shop/eu/checkout"\nkind', 'name = "shop//x"\nkind', 2, "not a target's name"),
        ('tenant = "acme"', 'tenant = "a b"', 4, "not a label"),
        ('vote = "1oo1"', 'vote = "1oo3"', 27, "1oo1"),
        ('vote = "1oo1"', 'vote = "2oo3"', 26, "wants 3 detectors"),
        ("orders-db.rows_changed", "order-db.rows_changed", 26, "did you mean 'orders-db'"),
        ("orders-db.rows_changed", "orders-db.row_changed", 26, "it reads: "),
        ('{table="prices"}', '{table="price"}', 26, "it reads: prices"),
        ('{table="prices"}', "", 26, "no table"),
        ('act = "auto"', 'act = "maybe"', 28, "auto"),
        ("above = 50", 'above = "50"', 26, "number"),
        ('path = "/srv', 'path = "srv', 16, "path"),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_the_nearest_right_one(
    kinds: Kinds, old: str, new: str, line: int, said: str
) -> None:
    assert old in GOOD
    message = _refusal(GOOD.replace(old, new, 1), kinds)
    assert f"x.toml:{line}: " in message, message
    assert said in message


def test_everything_wrong_is_told_at_once(kinds: Kinds) -> None:
    text = GOOD.replace("above", "abov").replace("evry", "x").replace("safe_state", "safe_stat")
    message = _refusal(text, kinds)
    assert "abov" in message
    assert "safe_stat" in message


@pytest.mark.parametrize("key", ["harm", "time_to_harm", "false_stop_cost"])
def test_DET_1_a_rule_that_does_not_say_why_it_is_there_is_refused(kinds: Kinds, key: str) -> None:
    lines = [line for line in GOOD.splitlines() if not line.startswith(f"{key} = ")]
    message = _refusal("\n".join(lines), kinds)
    assert f"x.toml:20: '{key}' is missing" in message
    assert "what harm it prevents" in message
    emptied = GOOD.replace('harm = "wrong prices are charged"', 'harm = ""')
    assert "x.toml:23" in _refusal(emptied, kinds)


@pytest.mark.parametrize(
    ("time", "act", "people", "good"),
    [
        ("5s", "advise", "", False),
        ("9999ms", "advise", "", False),
        ("5s", "advise", "people = 2", False),
        ("5s", "auto", "", True),
        ("5s", "shadow", "", True),
        ("10s", "advise", "", True),
        ("10s", "advise", "people = 2", False),
        ("119s", "advise", "people = 2", False),
        ("2m", "advise", "people = 2", True),
        ("1h", "advise", "people = 1", True),
        ("1h", "auto", "", True),
    ],
)
def test_DEC_1_a_rule_whose_harm_is_faster_than_its_decider_is_refused(
    kinds: Kinds,
    time: str,
    act: str,
    people: str,
    good: bool,  # noqa: FBT001 - a column of the table
) -> None:
    text = GOOD + SECOND_RULE.replace("NAME", "second").replace("TIME", time).replace(
        "ACT", act
    ).replace("PEOPLE", people)
    if good:
        assert len(parse(text.encode(), "x.toml", kinds).rule) == 2
    else:
        message = _refusal(text, kinds)
        assert "x.toml:37: the harm of 'second' comes within" in message


def test_DEC_1_a_rule_that_notices_later_than_the_harm_is_refused(kinds: Kinds) -> None:
    late = GOOD.replace('every = "250ms"', 'every = "6s"')
    assert "may take 6s to notice; the harm comes in 5s" in _refusal(late, kinds)
    held = GOOD.replace('per = "1s" }', 'per = "1s", hold = "5s" }')
    assert "5250ms" in _refusal(held, kinds)


@pytest.mark.parametrize("table", ["target", "sensor", "rule"])
def test_two_of_one_name_are_refused(kinds: Kinds, table: str) -> None:
    both = GOOD + GOOD[GOOD.index(f"[[{table}]]") :].split("\n\n", maxsplit=1)[0]
    assert "there are two of the name" in _refusal(both, kinds)


def test_what_every_target_has_needs_no_sensor_and_lends_no_name(kinds: Kinds) -> None:
    second = SECOND_RULE.replace("NAME", "second").replace("TIME", "1m").replace("PEOPLE", "")
    parse((GOOD + second.replace("ACT", "auto")).encode(), "x.toml", kinds)
    taken = GOOD.replace('name = "orders-db"', 'name = "log"')
    assert "what every target has anyway" in _refusal(taken, kinds)


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"a = ", "not TOML"), (b"\n\n\xff", ":3: this is not UTF-8"), (b"[" * 9000, "not TOML")],
)
def test_what_is_no_toml_is_told_with_its_place(kinds: Kinds, data: bytes, said: str) -> None:
    with pytest.raises(BadConfig, match=said):
        parse(data, "x.toml", kinds)


def test_the_schema_holds_every_kind_and_is_json(kinds: Kinds) -> None:
    text = json.dumps(schema(kinds))
    for word in ("sqlite", "robust_range", "time_to_harm", "max_rows", "deadband", "on_blind"):
        assert word in text


@given(st.integers(1, 10**14))
def test_durations_survive_writing_and_reading(us: int) -> None:
    text = format_duration(us)
    if us < 10**9:
        assert parse_duration(text) == us


@pytest.mark.parametrize("text", ["", "1", "s", "-1s", "0ms", "1 s", "1e3s", "1w", "99999999999s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("cpu.percent", "cpu.percent"),
        ('a.b{y="1",x="2"}', 'a.b{x="2",y="1"}'),
        (r'a.b{x="q\"\\\n"}', r'a.b{x="q\"\\\n"}'),
        ('a.b{x="},{"}', 'a.b{x="},{"}'),
    ],
)
def test_a_series_has_one_spelling(text: str, same: str) -> None:
    assert parse_series(text).text == same


@pytest.mark.parametrize(
    "text",
    ["", "a", "a.", ".b", "A.b", 'a.b{x="1",}', 'a.b{x="1" }', 'a.b{x="1",x="2"}', "a.b{x=1}"],
)
def test_what_is_no_series_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no series"):
        parse_series(text)


_KEYS = st.sampled_from(["a", "b-c", '"q k"', "'l.k'", "a.b", '"\\"x"'])
_VALUES = st.recursive(
    st.sampled_from(["1", "true", '"s # no"', "'l]t'", '"""m\n"u" ]\n"""', "'''x\n'''", "1.5e3"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[\n" + ",\n # c ]\n".join(items) + "\n]"),
        inner.map(
            lambda item: "{ z = " + item.replace("\n", " ") + " }" if "\n" not in item else item
        ),
    ),
    max_leaves=4,
)


def _paths(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += _paths(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += _paths(item, (*path, index))
    return found


@given(
    st.lists(
        st.one_of(
            st.tuples(_KEYS, _VALUES).map(lambda pair: f"{pair[0]} = {pair[1]}"),
            st.sampled_from(
                ["[t]", "[[r]]", "[[r.s]]", "[t.'u v']", "[r.w]", "", "# a comment = 1"]
            ),
        ),
        max_size=8,
    )
)
def test_every_key_that_toml_knows_has_a_line(parts: list[str]) -> None:
    text = "\n".join(parts) + "\n"
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    lines = key_lines(text)
    source = text.split("\n")
    for path in _paths(raw):
        assert path in lines, (path, text)
        if isinstance(path[-1], str):
            spelt = path[-1].replace('"', '\\"')
            assert spelt in source[lines[path] - 1]


def test_SR_1_a_missing_file_is_empty_unless_it_was_named(tmp_path: Path, kinds: Kinds) -> None:
    path = str(tmp_path / "offswitch.toml")
    loaded = load(path, kinds)
    assert (loaded.config.rule, loaded.sha256) == ([], "")
    with pytest.raises(BadConfig, match="no such file"):
        load(path, kinds, named=True)


@pytest.mark.parametrize("harm", ["file", "group", "folder", "above", "link"])
def test_SR_1_a_configuration_that_others_could_have_written_is_refused_for_root(
    tmp_path: Path, kinds: Kinds, harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "home" / "state"
    folder.mkdir(parents=True)
    path = folder / "offswitch.toml"
    path.write_text(GOOD)
    path.chmod(0o600)
    assert load(str(path), kinds).degraded == ()
    if harm == "file":
        path.chmod(0o602)
    elif harm == "group":
        path.chmod(0o620)
    elif harm == "folder":
        folder.chmod(0o777)
    elif harm == "above":
        folder.parent.chmod(0o770)
    else:
        planted = tmp_path / "planted"
        planted.mkdir()
        planted.chmod(0o777)
        path.rename(planted / "x.toml")
        path.symlink_to(planted / "x.toml")
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    if uid == 0:
        with pytest.raises(BadConfig, match="somebody else could have written it"):
            load(str(path), kinds)
    # Without root the same file is read, and said to be degraded. (As root in the tests
    # the owner is root: a plain user accepts root's files, and so sees the same.)
    monkeypatch.setattr(os, "geteuid", lambda: uid or 12345)
    assert load(str(path), kinds).degraded


def test_SR_1_a_sticky_folder_above_is_no_danger(tmp_path: Path, kinds: Kinds) -> None:
    sticky = tmp_path / "tmp"
    sticky.mkdir()
    sticky.chmod(0o1777)
    (sticky / "mine").mkdir(mode=0o700)
    path = sticky / "mine" / "offswitch.toml"
    path.write_text(GOOD)
    path.chmod(0o600)
    loaded = load(str(path), kinds)
    assert bool(loaded.degraded) == (os.geteuid() != 0)


def test_SR_1_the_current_directory_is_never_looked_at(
    tmp_path: Path, kinds: Kinds, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "offswitch.toml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OFFSWITCH_CONFIG", raising=False)
    place = Place(str(tmp_path / "home"), str(tmp_path / "run"))
    assert place.config == str(tmp_path / "home" / "offswitch.toml")
    assert load(place.config, kinds).config.rule == []


def test_a_fifo_or_a_folder_in_its_place_is_an_error_and_no_wait(
    tmp_path: Path, kinds: Kinds
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    for odd in (fifo, tmp_path):
        with pytest.raises(BadConfig):
            load(str(odd), kinds)
