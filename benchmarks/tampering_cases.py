"""What is done to a table in the tampering bench: eleven kinds of tampering, and honest work.

A case is a list of transactions, each a list of statements, made by a seeded generator for one
table. Sizes, shares, columns and factors are drawn, so that no two seeds are alike.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

__all__ = ["BENIGN", "TAMPERING", "Case", "Shop", "create", "traffic"]

Case = list[list[str]]
ROWS = 4000
_NAMES = [
    "ada",
    "bob",
    "cyn",
    "dan",
    "eve",
    "fay",
    "gus",
    "hal",
    "ida",
    "joe",
    "kim",
    "lea",
    "max",
    "nia",
    "oto",
    "pia",
    "ray",
    "sue",
    "tim",
    "una",
]
_WORDS = [
    "please",
    "leave",
    "the",
    "parcel",
    "with",
    "the",
    "neighbour",
    "when",
    "nobody",
    "answers",
    "and",
    "ring",
    "twice",
    "after",
    "five",
    "gift",
    "wrap",
    "wanted",
    "call",
    "before",
    "delivery",
    "second",
    "floor",
    "blue",
    "door",
    "thank",
    "you",
    "very",
    "much",
    "fragile",
    "glass",
]


def create(rng: random.Random, rows: int = ROWS) -> list[str]:
    """Make the table with what honest people wrote within ninety days."""
    scale, spread = rng.uniform(5, 80), rng.uniform(0.4, 0.8)
    return [
        "DROP TABLE IF EXISTS orders",
        (
            "CREATE TABLE orders (id bigserial PRIMARY KEY, order_no varchar(20), customer_id int, "
            "quantity int, price numeric(12,2), weight_kg float8, status text, email text, "
            "note text, "
            "created_at timestamptz, updated_at timestamptz)"
        ),
        f"SELECT setseed({rng.random():.6f})",
        "INSERT INTO orders (order_no, customer_id, quantity, price, weight_kg, status, email, "
        "note, created_at, updated_at) "
        + _plausible(scale, spread, rows, f"now() - interval '90 days' * (1 - n / {rows}.0)"),
        "ALTER TABLE orders REPLICA IDENTITY FULL",
        "DROP PUBLICATION IF EXISTS offswitch",
        "CREATE TABLE IF NOT EXISTS marker AS SELECT 0 AS n",
        "ALTER TABLE marker REPLICA IDENTITY FULL",
        "CREATE PUBLICATION offswitch FOR TABLE orders, marker",
        f"COMMENT ON TABLE orders IS '{scale} {spread}'",
    ]


def _plausible(scale: float, spread: float, rows: int, created: str, after: int = 0) -> str:
    """Select rows as honest people write them."""
    words = "ARRAY['" + "','".join(_WORDS) + "']"
    names = "ARRAY['" + "','".join(_NAMES) + "']"
    word = f"({words})[1 + floor(random() * {len(_WORDS)})::int]"
    note = " || ' ' || ".join([word] * 3)
    note += (
        f" || CASE WHEN random() < 0.7 THEN ' ' || {' || chr(32) || '.join([word] * 4)} ELSE '' END"
    )
    normal = "sqrt(-2 * ln(1 - random())) * cos(6.283185 * random())"
    email = (
        f"({names})[1 + floor(random() * {len(_NAMES)})::int] || '.' || "
        f"({names})[1 + floor(random() * {len(_NAMES)})::int] || floor(random() * 1000)::int || "
        "'@' || (ARRAY['example.com','mail.example.org','post.example.net'])"
        "[1 + floor(random() * 3)::int]"
    )
    return (
        f"SELECT 'A-' || lpad(({after} + n)::text, 8, '0'), 1 + floor(random() * 400)::int, "
        f"1 + floor(-3 * ln(1 - random()))::int, "
        f"round(({scale} * exp({spread} * {normal}))::numeric, 2) + 0.01, "
        "0.2 + 12 * random() * random(), "
        "(ARRAY['new','paid','packed','shipped','done','returned'])[1 + floor(random() * 6)::int], "
        f"{email}, {note}, {created}, {created} FROM generate_series(1, {rows}) n"
    )


class Shop:
    """What the generator of cases remembers of its table."""

    def __init__(self, rng: random.Random, rows: int = ROWS) -> None:
        self.rng = rng
        self.rows = rows
        self.next = rows
        self.scale, self.spread = 20.0, 0.5

    def insert(self, rows: int, created: str = "now() - interval '1 hour' * random()") -> str:
        """Say how rows are inserted that honest people could have written."""
        self.next += rows + 1
        return (
            "INSERT INTO orders (order_no, customer_id, quantity, price, weight_kg, status, email, "
            "note, created_at, updated_at) "
            + _plausible(self.scale, self.spread, rows, created, self.next - rows)
        )


def traffic(rng: random.Random, shop: Shop, count: int) -> Case:
    """Write as honest people do, a few rows at a time."""
    done: Case = []
    for _ in range(count):
        one = rng.randrange(1, shop.rows)
        kind = rng.choice(["insert", "insert", "status", "price", "quantity", "note", "delete"])
        if kind == "insert":
            done.append([shop.insert(rng.randint(1, 4))])
        elif kind == "status":
            done.append(
                [
                    (
                        "UPDATE orders SET status = 'shipped', updated_at = now() "
                        f"WHERE id BETWEEN {one} AND {one + rng.randint(0, 5)}"
                    )
                ]
            )
        elif kind == "price":
            factor = rng.uniform(0.9, 1.11)
            done.append(
                [f"UPDATE orders SET price = round(price * {factor:.4f}, 2) WHERE id = {one}"]
            )
        elif kind == "quantity":
            done.append([f"UPDATE orders SET quantity = {rng.randint(1, 9)} WHERE id = {one}"])
        elif kind == "note":
            done.append(
                [f"UPDATE orders SET note = note || ' {rng.choice(_WORDS)}' WHERE id = {one}"]
            )
        else:
            done.append([f"DELETE FROM orders WHERE id = {one}"])
    return done


def _some(rng: random.Random, least: float = 0.01, most: float = 0.5) -> str:
    """Say WHERE for a share of the rows: scattered, or one piece of them."""
    share = least * (most / least) ** rng.random()
    if rng.random() < 0.5:
        return f"abs(hashint8(id)) % 10000 < {int(share * 10000)}"
    begin = rng.randint(1, max(int(ROWS * (1 - share)), 2))
    return f"id BETWEEN {begin} AND {begin + int(ROWS * share)}"


def unit_swap(rng: random.Random, shop: Shop) -> Case:
    """Another unit: kilograms to pounds, euros to cents."""
    column, factors = rng.choice(
        [("price", [100, 0.01, 1000, 10]), ("weight_kg", [2.2046, 1000, 0.4536, 35.27])]
    )
    factor = rng.choice(factors)
    if rng.random() < 0.3:
        fresh = shop.insert(rng.randint(100, 400))
        last = f"(SELECT max(id) FROM orders) - {rng.randint(80, 100)}"
        return [[fresh, f"UPDATE orders SET {column} = {column} * {factor} WHERE id > {last}"]]
    return [[f"UPDATE orders SET {column} = {column} * {factor} WHERE {_some(rng)}"]]


def sign_flip(rng: random.Random, _shop: Shop) -> Case:
    """The sign turned."""
    column = rng.choice(["price", "quantity", "weight_kg"])
    return [[f"UPDATE orders SET {column} = -{column} WHERE {_some(rng)}"]]


def shuffled_key(rng: random.Random, _shop: Shop) -> Case:
    """Whose order it is, shuffled."""
    column = rng.choice(["customer_id", "order_no", "email"])
    where = _some(rng, 0.02)
    return [
        [
            (
                f"WITH a AS (SELECT id, row_number() OVER (ORDER BY id) n FROM orders "
                f"WHERE {where}), "
                f"b AS (SELECT {column} v, row_number() OVER (ORDER BY hashint8(id)) n "
                f"FROM orders WHERE {where}) "
                f"UPDATE orders o SET {column} = b.v FROM a JOIN b USING (n) WHERE o.id = a.id"
            )
        ]
    ]


def constant_fill(rng: random.Random, _shop: Shop) -> Case:
    """One value for all."""
    column, value = rng.choice(
        [
            ("price", "9.99"),
            ("weight_kg", "1"),
            ("email", "'a@example.com'"),
            ("note", "'ok'"),
            ("customer_id", "1"),
        ]
    )
    return [[f"UPDATE orders SET {column} = {value} WHERE {_some(rng)}"]]


def slow_drift(rng: random.Random, _shop: Shop) -> Case:
    """A little more each time."""
    column, step = (
        rng.choice(["price", "weight_kg"]),
        1 + rng.choice([-1, 1]) * rng.uniform(0.005, 0.02),
    )
    cast = "round((price * {f})::numeric, 2)" if column == "price" else "weight_kg * {f}"
    value = cast.format(f=f"{step:.5f}")
    where = "true" if rng.random() < 0.5 else _some(rng, 0.1, 0.6)
    case: Case = []
    for _ in range(40):
        case.append([f"UPDATE orders SET {column} = {value} WHERE {where}"])
    return case


def mass_delete(rng: random.Random, _shop: Shop) -> Case:
    """Rows gone: all, a part, or one after the other."""
    kind = rng.randrange(3)
    if kind == 0:
        return [["DELETE FROM orders"]] if rng.random() < 0.7 else [["TRUNCATE orders"]]
    if kind == 1:
        return [[f"DELETE FROM orders WHERE {_some(rng, 0.03, 0.9)}"]]
    begin = rng.randint(1, ROWS - 200)
    return [[f"DELETE FROM orders WHERE id = {n}"] for n in range(begin, begin + 120)]


def mass_update(rng: random.Random, _shop: Shop) -> Case:
    """An UPDATE whose WHERE was forgotten."""
    change = rng.choice(
        [
            "status = 'cancelled'",
            "quantity = quantity + 5",
            "price = price * 1.5",
            "price = 0",
            "note = 'test'",
            "customer_id = 17",
            "status = 'done', price = 1",
            "email = 'x@y.zz'",
        ]
    )
    return [[f"UPDATE orders SET {change}"]]


def truncated_text(rng: random.Random, _shop: Shop) -> Case:
    """The ends of texts lost."""
    column, size = rng.choice([("note", 10), ("note", 16), ("email", 8), ("email", 5)])
    return [[f"UPDATE orders SET {column} = left({column}, {size}) WHERE {_some(rng)}"]]


def duplicate_ids(rng: random.Random, shop: Shop) -> Case:
    """Identities given twice."""
    count, begin = rng.randint(20, 300), rng.randint(1, ROWS - 400)
    if rng.random() < 0.5:
        return [
            [
                shop.insert(count),
                (
                    f"UPDATE orders SET order_no = (SELECT order_no FROM orders o "
                    f"WHERE o.id = {begin} "
                    f"+ orders.id % 50) WHERE id > (SELECT max(id) FROM orders) - {count}"
                ),
            ]
        ]
    return [
        [
            (
                "INSERT INTO orders (order_no, customer_id, quantity, price, weight_kg, status, "
                "email, note, created_at, updated_at) SELECT order_no, customer_id, quantity, "
                "price, "
                "weight_kg, status, email, note, now(), now() FROM orders "
                f"WHERE id BETWEEN {begin} AND {begin + count}"
            )
        ]
    ]


def back_dated(rng: random.Random, shop: Shop) -> Case:
    """Rows of yesterday's that were written today."""
    if rng.random() < 0.5:
        days = rng.randint(15, 60)
        created = f"now() - interval '{days} days' - interval '1 day' * random()"
        return [[shop.insert(rng.randint(20, 200), created)]]
    days = rng.choice([1, 7, 30, 365])
    return [
        [
            (
                f"UPDATE orders SET created_at = created_at - interval '{days} days' "
                f"WHERE {_some(rng, 0.01, 0.3)}"
            )
        ]
    ]


def garbage(rng: random.Random, _shop: Shop) -> Case:
    """Noise where sense was."""
    noise = "(SELECT string_agg(chr(33 + floor(random() * 90)::int), '')"
    noise += " FROM generate_series(1, 24 + id::int % 7))"
    kind = rng.randrange(4)
    where = _some(rng, 0.01, 0.3)
    if kind == 0:
        return [[f"UPDATE orders SET note = {noise} WHERE {where}"]]
    if kind == 1:
        return [[f"UPDATE orders SET email = {noise} WHERE {where}"]]
    if kind == 2:
        return [
            [f"UPDATE orders SET price = random() * 1e8, weight_kg = random() * 1e6 WHERE {where}"]
        ]
    return [[f"UPDATE orders SET note = NULL, email = NULL, price = 'NaN' WHERE {where}"]]


# ---------------------------------------------------------------- honest work


def add_column(rng: random.Random, _shop: Shop) -> Case:
    """A migration: a column more, filled from others."""
    value, kind = rng.choice(
        [
            ("price * 100", "bigint"),
            ("lower(email)", "text"),
            ("weight_kg * 2.2046", "float8"),
            ("'eu'", "text"),
            ("created_at::date", "date"),
        ]
    )
    default = " DEFAULT 0" if kind == "bigint" and rng.random() < 0.5 else ""
    return [
        [f"ALTER TABLE orders ADD COLUMN extra {kind}{default}"],
        [f"UPDATE orders SET extra = {value}"],
        ["CREATE INDEX ON orders (extra)"],
    ]


def bulk_load(rng: random.Random, shop: Shop) -> Case:
    """Many plausible new rows."""
    hours = rng.choice([1, 6, 48])
    created = f"now() - interval '{hours} hours' * random()"
    return [[shop.insert(rng.randint(300, 3000), created)]]


def rebuild(rng: random.Random, _shop: Shop) -> Case:
    """The table and its indexes written anew."""
    word = rng.choice(["VACUUM FULL orders", "CLUSTER orders USING orders_pkey"])
    return [[word], ["REINDEX TABLE orders"], ["ANALYZE orders"]]


def price_rise(rng: random.Random, _shop: Shop) -> Case:
    """Everything a little dearer, at once or in pieces."""
    factor = 1 + rng.choice([-1, 1]) * rng.uniform(0.01, 0.07)
    change = f"UPDATE orders SET price = round(price * {factor:.4f}, 2), updated_at = now()"
    if rng.random() < 0.5:
        return [[change]]
    piece = ROWS // 8
    return [[f"{change} WHERE id BETWEEN {n * piece + 1} AND {(n + 1) * piece}"] for n in range(8)]


def archive(rng: random.Random, _shop: Shop) -> Case:
    """The oldest rows put away."""
    share = rng.uniform(0.05, 0.45)
    days = 90 * (1 - share)
    return [
        [
            "CREATE TABLE IF NOT EXISTS orders_archive (LIKE orders)",
            (
                "INSERT INTO orders_archive SELECT * FROM orders WHERE created_at < "
                f"now() - interval '{days:.1f} days'"
            ),
            f"DELETE FROM orders WHERE created_at < now() - interval '{days:.1f} days'",
        ]
    ]


def type_change(rng: random.Random, _shop: Shop) -> Case:
    """The same values in another type."""
    change = rng.choice(
        [
            "customer_id TYPE bigint",
            "price TYPE numeric(14,4)",
            "order_no TYPE text",
            "quantity TYPE numeric",
            "weight_kg TYPE numeric USING weight_kg::numeric",
        ]
    )
    return [
        [f"ALTER TABLE orders ALTER COLUMN {change}"],
        ["UPDATE orders SET quantity = quantity + 1 WHERE id = 77"],
    ]


def upsert(rng: random.Random, shop: Shop) -> Case:
    """A nightly load: what is known is brought up to date, what is new is added."""
    share = rng.uniform(0.05, 0.4)
    return [
        [
            (
                "UPDATE orders SET weight_kg = weight_kg * (0.98 + 0.04 * random()), "
                "quantity = greatest(1, quantity + floor(random() * 3)::int - 1), "
                "updated_at = now() "
                f"WHERE abs(hashint8(id)) % 1000 < {int(share * 1000)}"
            ),
            shop.insert(rng.randint(50, 500)),
        ]
    ]


def ordinary(rng: random.Random, shop: Shop) -> Case:
    """A day's small work."""
    return traffic(rng, shop, 60)


def progress(rng: random.Random, _shop: Shop) -> Case:
    """Orders of a week ago are done."""
    days = rng.choice([7, 30, 60])
    return [
        [
            (
                "UPDATE orders SET status = 'done', updated_at = now() "
                "WHERE status IN ('shipped', 'packed') "
                f"AND created_at < now() - interval '{days} days'"
            )
        ]
    ]


def normalise(rng: random.Random, _shop: Shop) -> Case:
    """The same texts, cleaner."""
    change = rng.choice(
        [
            "note = replace(note, '  ', ' ')",
            "note = initcap(note)",
            "email = trim(lower(email))",
            "note = note || '.'",
        ]
    )
    return [[f"UPDATE orders SET {change}"]]


def touch(_rng: random.Random, _shop: Shop) -> Case:
    """A job that marks every row as seen."""
    return [["UPDATE orders SET updated_at = now()"]]


def forget(rng: random.Random, _shop: Shop) -> Case:
    """A customer who wants to be forgotten."""
    return [[f"DELETE FROM orders WHERE customer_id = {rng.randint(1, 400)}"]]


def rename(rng: random.Random, _shop: Shop) -> Case:
    """A column that nobody reads is dropped, or has another name."""
    word = rng.choice(["DROP COLUMN weight_kg", "RENAME COLUMN note TO remark"])
    return [
        [f"ALTER TABLE orders {word}"],
        ["UPDATE orders SET quantity = quantity + 1 WHERE id = 7"],
    ]


Make = Callable[[random.Random, Shop], Case]
TAMPERING: Sequence[Make] = (
    unit_swap,
    sign_flip,
    shuffled_key,
    constant_fill,
    slow_drift,
    mass_delete,
    mass_update,
    truncated_text,
    duplicate_ids,
    back_dated,
    garbage,
)
BENIGN: Sequence[Make] = (
    add_column,
    bulk_load,
    rebuild,
    price_rise,
    archive,
    type_change,
    upsert,
    ordinary,
    progress,
    normalise,
    touch,
    forget,
    rename,
)
