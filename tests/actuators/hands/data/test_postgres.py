"""PostgreSQL, cut on a real server: rights, login and sessions, and what a hostile role tries."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from pydantic import ValidationError

from offswitch.actuators.contract import Readiness, Ready
from offswitch.actuators.hands.contract import Acted, Context, Role, Trouble
from offswitch.actuators.hands.data.postgres.hand import Postgres
from offswitch.actuators.hands.data.postgres.section import PostgresSection
from postgres_server import PostgresServer

ROLES = ("agent", "app", "off", "onlooker", "writers", "bob", '"odd; -- role"')
ALL = ("DELETE", "INSERT", "REFERENCES", "SELECT", "TRIGGER", "TRUNCATE", "UPDATE")
MAKE = f"""
DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO PUBLIC;
DROP ROLE IF EXISTS {", ".join(ROLES)};
CREATE ROLE agent LOGIN PASSWORD 'the agent''s own';
CREATE ROLE app; CREATE ROLE bob LOGIN; CREATE ROLE writers;
CREATE ROLE off LOGIN CREATEROLE PASSWORD 'may stop';
CREATE ROLE onlooker LOGIN PASSWORD 'may look';
GRANT app, pg_signal_backend, pg_read_all_stats TO off;
CREATE TABLE prices (id bigint PRIMARY KEY, n bigint, note text);
CREATE TABLE orders (id bigserial PRIMARY KEY, n bigint);
INSERT INTO prices SELECT n, 0 FROM generate_series(1, 20) n;
ALTER TABLE prices OWNER TO app;
ALTER TABLE orders OWNER TO app;
GRANT SELECT, INSERT, UPDATE ON prices TO agent;
GRANT SELECT, UPDATE (n) ON orders TO agent;
GRANT USAGE ON SEQUENCE orders_id_seq TO agent;
"""


class Ground:
    """A server with two databases, a role that acts as a target, and hands that stop it."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        server.execute(MAKE, database="shop")
        self.made: list[Postgres] = []
        self.agents: list[psycopg.Connection[Any]] = []

    def hand(self, part: Role = Role.ACT, **more: object) -> Postgres:
        keys = {
            "name": "orders-db",
            "target": "shop/agent",
            "kind": "postgres",
            "dsn": self.server.tcp("shop", "off"),
            "password_file": "/run/off.password",
            "look_dsn": self.server.tcp("shop", "onlooker"),
            "look_password_file": "/run/onlooker.password",
            "role": "agent",
        }
        secrets = {"password_file": "may stop"}
        if part is Role.LOOK:
            secrets = {"look_password_file": "may look"}
        if "token_file" in more:
            secrets["token_file"] = "the agent's own"
        settings = PostgresSection.model_validate({**keys, **more})
        made = Postgres(settings, Context(part, secrets))
        self.made.append(made)
        made.open()
        return made

    def agent(self, user: str = "agent") -> psycopg.Connection[Any]:
        connection = self.server.connect("shop", user)
        self.agents.append(connection)
        return connection

    def rights(self, role: str = "agent") -> set[tuple[Any, ...]]:
        query = """
            SELECT c.relname, a.attname, x.privilege_type, x.is_grantable, x.grantor::regrole::text
            FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attacl IS NOT NULL,
            LATERAL aclexplode(coalesce(a.attacl, c.relacl)) x WHERE x.grantee = %s::regrole"""
        with self.server.connect("shop") as db:
            return set(db.execute(query, [role]).fetchall())

    def close(self) -> None:
        for hand in self.made:
            hand.close()
        for agent in self.agents:
            agent.close()


@pytest.fixture(scope="module")
def server(postgres: PostgresServer) -> PostgresServer:
    for name in ("shop", "books"):
        postgres.database(name)
    return postgres


@pytest.fixture
def ground(server: PostgresServer) -> Iterator[Ground]:
    ground = Ground(server)
    yield ground
    ground.close()


def refused(agent: psycopg.Connection[Any], statement: str) -> str:
    with pytest.raises(psycopg.Error) as error:
        agent.execute(statement.encode())
    return str(error.value)


def proven(hand: Postgres) -> Readiness:
    readiness = hand.arm()
    assert readiness.state is Ready.READY, readiness
    return readiness


def test_VER_2_what_is_cut_is_seen_by_another_and_what_is_not_is_not(ground: Ground) -> None:
    act, look = ground.hand(), ground.hand(Role.LOOK, token_file="/run/agent.password")
    agents = [ground.agent() for _ in range(3)]
    agents[0].execute("SELECT 1 FROM prices")
    assert "6 rights of agent" in proven(act).detail
    proven(look)
    assert look.look().stands is False, "it can log in"
    acted = act.trip("kill")
    assert acted.detail == "no login, 3 sessions ended, no right left"
    sight = look.look()
    assert (sight.stands, sight.detail[:28]) == (True, "no session, no login, no rig"), sight
    assert "not permitted to log in" in sight.detail
    assert ground.rights() == set()
    for agent in agents:
        assert "terminating connection" in refused(agent, "SELECT 1")
    again = act.trip("kill")
    assert again.detail == "no login, 3 sessions ended, no right left"


def test_a_rehearsal_changes_nothing(ground: Ground) -> None:
    act, agent = ground.hand(), ground.agent()
    before = ground.rights()
    for _ in range(3):
        proven(act)
    assert ground.rights() == before
    agent.execute("UPDATE prices SET n = 1")
    ground.agent().close()


def test_VER_2_a_rotated_password_is_found_though_the_held_session_lives(ground: Ground) -> None:
    act = ground.hand()
    proven(act)
    ground.server.execute("ALTER ROLE off PASSWORD 'another one'")
    with pytest.raises(Trouble, match="password authentication failed") as error:
        act.arm()
    assert "may stop" not in str(error.value)
    act.trip("kill")
    assert ground.hand(Role.LOOK).look().stands, "what is held still acts"


def test_VER_2_a_look_whose_password_was_rotated_proves_nothing(ground: Ground) -> None:
    look = ground.hand(Role.LOOK)
    proven(look)
    ground.server.execute("ALTER ROLE onlooker PASSWORD 'another one'")
    with pytest.raises(Trouble, match="password authentication failed"):
        look.arm()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("REVOKE pg_signal_backend FROM off", "it may not end sessions of agent"),
        ("ALTER ROLE off NOCREATEROLE", "it may not take the login"),
    ],
)
def test_VER_2_a_right_that_it_lacks_is_found(ground: Ground, change: str, why: str) -> None:
    act = ground.hand()
    proven(act)
    ground.server.execute(change)
    readiness = act.arm()
    assert readiness.state is Ready.UNPROVEN
    assert why in readiness.detail


def test_VER_2_rights_that_it_may_not_take_back_are_told(ground: Ground) -> None:
    act = ground.hand()
    ground.server.execute(
        "CREATE TABLE foreign_to_us (n int)", "GRANT ALL ON foreign_to_us TO agent", database="shop"
    )
    readiness = act.arm()
    assert readiness.state is Ready.DEGRADED
    assert "it may not take back" in readiness.detail
    assert "1 rights are left" not in act.trip("kill").detail
    assert ground.hand(Role.LOOK).look().detail.startswith("no session, no login, 1 rights left")


def test_VER_2_a_role_that_does_not_exist_and_our_own_are_not_ready(ground: Ground) -> None:
    with pytest.raises(Trouble, match="there is no role nobody_here"):
        ground.hand(role="nobody_here").arm()
    assert ground.hand(Role.LOOK, role="nobody_here").look().stands is None
    readiness = ground.hand(role="off").arm()
    assert (readiness.state, "whom it is to stop" in readiness.detail) == (Ready.UNPROVEN, True)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("ALTER TABLE prices OWNER TO agent", "owns 1 things and can grant itself their use"),
        ("ALTER ROLE agent CREATEROLE", "may make roles"),
        ("GRANT pg_signal_backend TO agent", "may end other sessions"),
    ],
)
def test_VER_2_a_role_that_no_REVOKE_holds_is_degraded_and_cut_all_the_same(
    ground: Ground, change: str, why: str
) -> None:
    act, agent = ground.hand(), ground.agent()
    ground.server.execute("GRANT agent TO off", change, database="shop")
    readiness = act.arm()
    assert readiness.state is Ready.DEGRADED, readiness
    assert why in readiness.detail
    assert "may not take back" not in readiness.detail
    assert act.trip("kill").detail.endswith("no right left")
    assert "terminating connection" in refused(agent, "GRANT ALL ON prices TO agent")
    assert ground.hand(Role.LOOK).look().stands


def test_VER_2_a_superuser_is_degraded_and_only_a_superuser_stops_it(ground: Ground) -> None:
    ground.server.execute("ALTER ROLE agent SUPERUSER")
    assert ground.hand().arm().state is Ready.UNPROVEN
    act, agent = ground.hand(dsn=ground.server.dsn("shop")), ground.agent()
    readiness = act.arm()
    assert readiness.state is Ready.DEGRADED
    assert "no REVOKE binds it" in readiness.detail
    act.trip("kill")
    assert "terminating connection" in refused(agent, "SELECT 1")
    ground.server.execute("ALTER ROLE agent NOSUPERUSER")


def test_VER_2_an_agent_that_is_still_connected_does_not_stand(ground: Ground) -> None:
    look, agent = ground.hand(Role.LOOK), ground.agent()
    ground.server.execute("ALTER ROLE agent NOLOGIN")
    sight = look.look()
    assert (sight.stands, sight.detail) == (False, "1 sessions of agent")
    agent.close()


def test_VER_3_a_login_that_is_given_back_is_seen(ground: Ground) -> None:
    act, look = ground.hand(), ground.hand(Role.LOOK, token_file="/run/agent.password")
    act.trip("kill")
    assert look.look().stands
    ground.server.execute("ALTER ROLE agent LOGIN")
    assert look.look().stands is False


def test_VER_2_a_token_that_is_refused_before_any_stop_proves_nothing(ground: Ground) -> None:
    look = ground.hand(Role.LOOK, token_file="/run/agent.password")
    ground.server.execute("ALTER ROLE agent PASSWORD 'rotated'")
    readiness = look.arm()
    assert readiness.state is Ready.UNPROVEN
    assert "a refusal would prove nothing" in readiness.detail
    assert "the agent's own" not in readiness.detail


def test_a_look_by_the_credential_that_acts_is_degraded(ground: Ground) -> None:
    settings = ground.hand(look_dsn=None, look_password_file=None).settings
    look = Postgres(settings, Context(Role.LOOK, {"password_file": "may stop"}))
    readiness = look.arm()
    look.close()
    assert readiness.state is Ready.DEGRADED
    assert readiness.detail == "it looks by the credential that acts"


def test_no_lock_of_the_agent_holds_up_a_stop(ground: Ground) -> None:
    """It locks its table, its own entry among the roles, and, as its owner, the table's entry."""
    ground.server.execute(
        "GRANT app TO agent", "CREATE TABLE own (n int)", "ALTER TABLE own OWNER TO agent",
        database="shop",
    )  # fmt: skip
    act = ground.hand()
    ground.server.execute("GRANT agent TO off")
    act.arm()
    agents = [ground.agent() for _ in range(3)]
    for agent, statement in zip(
        agents,
        (
            "LOCK TABLE prices IN ACCESS EXCLUSIVE MODE",
            "ALTER ROLE agent PASSWORD 'mine alone'",
            "ALTER TABLE own ADD COLUMN more int",
        ),
        strict=True,
    ):
        agent.execute("BEGIN")
        agent.execute(statement.encode())
    begin = time.monotonic()
    acted = act.trip("kill")
    took_s = time.monotonic() - begin
    assert acted.detail == "no login, 3 sessions ended, no right left"
    assert took_s < 0.5, took_s
    assert ground.hand(Role.LOOK).look().stands


def test_what_the_agent_drops_or_makes_in_time_spoils_nothing(ground: Ground) -> None:
    """A statement names many tables, and one that is gone meanwhile makes it fail."""
    ground.server.execute("GRANT CREATE ON SCHEMA public TO agent", database="shop")
    act, agent = ground.hand(dsn=ground.server.dsn("shop")), ground.agent()
    agent.execute("CREATE TABLE mine (id bigserial PRIMARY KEY, note text)")
    agent.execute("CREATE TEMPORARY TABLE passing (n int)")
    assert "may not take back" not in act.arm().detail
    agent.execute("DROP TABLE mine")
    agent.execute("CREATE TABLE another (n int)")
    act._strike({})
    assert ground.rights() <= {("another", None, name, False, "agent") for name in ALL}
    assert act.trip("kill").detail.endswith("no right left")


def test_rights_that_were_passed_on_or_come_by_membership_go_too(ground: Ground) -> None:
    ground.server.execute(
        "GRANT UPDATE ON prices TO writers",
        "GRANT writers TO agent",
        "GRANT SELECT ON orders TO bob WITH GRANT OPTION",
        "GRANT INSERT ON orders TO agent WITH GRANT OPTION",
        database="shop",
    )
    ground.agent("bob").execute("GRANT SELECT ON orders TO agent")
    act, agent = ground.hand(dsn=ground.server.dsn("shop")), ground.agent()
    proven(act)
    agent.execute("GRANT INSERT ON orders TO bob")
    assert act.trip("kill").detail.endswith("no right left")
    assert ground.rights() == set()
    assert {right[2] for right in ground.rights("bob")} == {"SELECT"}, "it has what was its own"
    with ground.server.connect("shop") as db:
        [row] = db.execute("SELECT pg_has_role('agent', 'writers', 'MEMBER')").fetchall()
    assert row == (False,)


def test_rights_in_every_other_database_are_found_and_go_too(ground: Ground) -> None:
    ground.server.execute(
        "CREATE TABLE pages (n int)", "ALTER TABLE pages OWNER TO app",
        "GRANT ALL ON pages TO agent", database="books",
    )  # fmt: skip
    act, named = ground.hand(), ground.hand(databases=["shop"])
    assert "13 rights" in proven(act).detail
    readiness = named.arm()
    assert readiness.state is Ready.DEGRADED
    assert "it has rights in books, too, unnamed" in readiness.detail
    acted = act.trip("kill")
    assert '\\connect "books"' in acted.reissue
    with ground.server.connect("books") as db:
        [(acl,)] = db.execute("SELECT relacl::text FROM pg_class WHERE relname = 'pages'")
        db.execute("DROP TABLE pages")
    assert "agent" not in acl


def test_VER_2_a_server_that_became_read_only_is_found(ground: Ground) -> None:
    """As a primary does that another one has taken the place of."""
    act = ground.hand()
    proven(act)
    ground.server.execute("ALTER ROLE off SET default_transaction_read_only = on")
    act.close()
    readiness = act.arm()
    assert readiness.state is Ready.UNPROVEN
    assert "read-only transaction" in readiness.detail


def test_a_held_session_that_was_lost_is_opened_once_more(ground: Ground) -> None:
    act = ground.hand()
    proven(act)
    ground.server.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'off'"
    )
    act.trip("kill")
    assert ground.hand(Role.LOOK).look().stands


def test_one_that_was_never_proven_acts_all_the_same(ground: Ground) -> None:
    agent = ground.agent()
    acted = ground.hand().trip("kill")
    assert acted.detail == "no login, 1 sessions ended, no right left"
    assert "terminating connection" in refused(agent, "SELECT 1")


def test_ACT_9_what_was_under_way_is_listed_with_how_it_ended(ground: Ground) -> None:
    act = ground.hand()
    proven(act)
    idle, writes, reads, odd = (ground.agent() for _ in range(4))
    odd.execute("SET application_name = E'a\\x1b[31mred'")
    for one in (writes, reads, odd):
        one.execute("BEGIN")
    writes.execute("UPDATE prices SET n = 7, note = 'card 4111' WHERE id = 3")
    reads.execute("SELECT count(*) FROM prices")
    odd.execute("SELECT $$hidden$$")
    idle.execute("SELECT 1")
    happened = act.trip("kill").happened
    assert len(happened) == 3, happened
    [written] = [line for line in happened if "UPDATE" in line]
    assert written.endswith("last UPDATE prices SET n = 7, note = …: rolled back")
    assert any("SELECT count(*) FROM prices: ended, it had written nothing" in x for x in happened)
    text = "\n".join(happened)
    assert "4111" not in text
    assert "hidden" not in text
    assert "\x1b" not in text
    with ground.server.connect("shop") as db:
        assert db.execute("SELECT n FROM prices WHERE id = 3").fetchall() == [(0,)]


def granted_again(ground: Ground, acted: Acted) -> None:
    """Do what a person does with the SQL of a record."""
    database = "shop"
    for line in acted.reissue:
        if line.startswith("\\connect"):
            database = line.split('"')[1]
        else:
            ground.server.execute(line, database=database)


def test_RST_8_nothing_is_given_back_and_a_person_has_the_SQL_to_do_it(ground: Ground) -> None:
    ground.server.execute(
        "GRANT writers TO agent", "GRANT DELETE ON orders TO agent WITH GRANT OPTION",
        database="shop",
    )  # fmt: skip
    act, look = ground.hand(dsn=ground.server.dsn("shop")), ground.hand(Role.LOOK)
    before = ground.rights()
    assert before
    proven(act)
    acted = act.trip("kill")
    act.trip("kill")
    released = act.release()
    assert released.reissue == acted.reissue
    assert ground.rights() == set()
    assert look.look().stands, "a reset gives nothing back"
    assert not any("the agent's own" in line for line in acted.reissue)
    granted_again(ground, acted)
    assert ground.rights() == before
    assert look.look().stands is False
    other = ground.hand(dsn=ground.server.dsn("shop"))
    other.trip("kill")
    new = ground.hand(dsn=ground.server.dsn("shop"))
    assert new.trip("kill").reissue == (), "who came up under a stop knows nothing of before"


def test_RST_8_a_right_to_many_columns_is_spelt_in_lines_that_a_record_keeps_whole(
    ground: Ground,
) -> None:
    columns = ", ".join(f'"a rather long name of a column, number {n}" int' for n in range(40))
    names = ", ".join(f'"a rather long name of a column, number {n}"' for n in range(40))
    ground.server.execute(
        f"CREATE TABLE wide ({columns})", "ALTER TABLE wide OWNER TO app",
        f"GRANT UPDATE ({names}) ON wide TO agent", database="shop",
    )  # fmt: skip
    before, acted = ground.rights(), ground.hand().trip("kill")
    assert max(map(len, acted.reissue)) < 400
    granted_again(ground, acted)
    assert ground.rights() == before


def test_names_are_quoted_whatever_they_hold(ground: Ground) -> None:
    role = "odd; -- role"
    ground.server.execute(
        f'CREATE ROLE "{role}" LOGIN',
        'CREATE TABLE "a; DROP TABLE prices" (n int)',
        'ALTER TABLE "a; DROP TABLE prices" OWNER TO app',
        f'GRANT INSERT ON "a; DROP TABLE prices" TO "{role}"', database="shop",
    )  # fmt: skip
    act = ground.hand(role=role)
    assert act.arm().state is Ready.READY
    acted = act.trip("kill")
    assert acted.detail.endswith("no right left")
    assert any('"a; DROP TABLE prices"' in line for line in acted.reissue)
    with ground.server.connect("shop") as db:
        assert db.execute("SELECT count(*) FROM prices").fetchall() == [(20,)]


def test_what_it_holds_and_rests_on_is_told_without_a_secret(ground: Ground) -> None:
    act, look = ground.hand(), ground.hand(Role.LOOK)
    ground.agent()
    assert "agent: UPDATE (n) ON TABLE public.orders" in act.holds()
    assert "agent: 1 sessions, may log in" in act.holds()
    route, other = act.route(), look.route()
    assert (route.transport, route.component) == ("tcp", "PostgreSQL")
    assert route.host == f"127.0.0.1:{ground.server.port}"
    assert (route.credential, other.credential) == ("/run/off.password", "/run/onlooker.password")
    shown = repr(act) + repr(act.context) + repr(vars(act)) + repr(act._main)
    assert "may stop" not in shown.replace(repr(act._password), "")


def test_a_server_that_is_not_there_is_a_trouble_and_no_wait(ground: Ground) -> None:
    dsn = f"host=127.0.0.1 port={ground.server.port + 1} dbname=shop user=off"
    with pytest.raises(Trouble, match="refused"):
        ground.hand(dsn=dsn)


def test_without_psycopg_it_says_what_to_install(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    act = ground.hand()
    act.close()
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for begin in (act.prepare, act.open):
        with pytest.raises(Trouble) as error:
            begin()
        assert "pip install 'offswitch[postgres]'" in str(error.value)


def test_certificates_that_the_dsn_names_may_be_read(ground: Ground) -> None:
    dsn = f"{ground.server.dsn('shop', 'off')} sslrootcert=/etc/ca.pem"
    settings = ground.hand(dsn=dsn, look_dsn="postgresql://a/b?sslrootcert=%2Fca&sslcrl=/l")
    assert settings.settings.reads() == ("/etc/ca.pem", "/ca", "/l")


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"dsn": "host=a password=x"}, "no password here"),
        ({"look_dsn": "postgresql://me:x@a/b"}, "no password here"),
        ({"role": ["a", "b"], "token_file": "/run/x"}, "token_file is the password of one role"),
        ({"role": "a'; DROP ROLE b"}, "role"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(
    ground: Ground, keys: dict[str, object], why: str
) -> None:
    with pytest.raises(ValidationError, match=why):
        ground.hand(**keys)
