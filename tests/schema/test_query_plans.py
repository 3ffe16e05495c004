"""In large tables PostgreSQL finds what a batch needs through its indexes, with its default settings."""

import re

import pytest
from by_url import open_source
from sqlalchemy import create_engine, event, text

from cataloger.history import KnownPictures
from cataloger.ledger.presence import Presence
from cataloger.sources.table import TableSource
from cataloger.table_options import TableOptions

pytestmark = pytest.mark.slow

ITEMS = 250_000
"""To read a table through costs in proportion to its rows, an index hardly more: what finds its index among so many
rows does so among a million."""

FILL = """
INSERT INTO cataloger_item (id, source_id, key, key_hash, product_key, product_hash, uri)
SELECT n, :source, sku, digest, sku, digest, '/photos/' || n
FROM generate_series(1, :items) n, LATERAL (SELECT 'sku' || n AS sku) named,
    LATERAL (SELECT encode(sha256(sku::bytea), 'hex') AS digest) hashed;
INSERT INTO cataloger_result (id, item_id, run_id, weights_id, calibration_id, precision, content_hash, version_token,
    status, label_1, confidence_1, logits, log_sum_exp, width, height, tagged_at)
SELECT n, n, :run, :weights, :weights, 'fp32', encode(sha256(n::text::bytea), 'hex'), 'v1',
    'ok', 'Hat', 1, '[1]', 1, 30, 40, now()
FROM generate_series(1, :items) n;
INSERT INTO cataloger_product_result (id, source_id, run_id, weights_id, product_key, product_hash, images, tagged_at)
SELECT id, :source, :run, :weights, product_key, product_hash, 1, now() FROM cataloger_item;
INSERT INTO cataloger_product_current (source_id, product_hash, weights_id, result_id)
SELECT :source, product_hash, :weights, id FROM cataloger_item;
INSERT INTO cataloger_current (item_id, weights_id, result_id, latest_id)
SELECT n, :weights, n, n FROM generate_series(1, :items) n;
CREATE TABLE products (sku TEXT PRIMARY KEY, photo TEXT, picture BYTEA);
INSERT INTO products SELECT 'sku' || n, '/photos/' || n, 'x' FROM generate_series(1, :items) n;
SELECT setval(pg_get_serial_sequence('cataloger_item', 'id'), :items);
SELECT setval(pg_get_serial_sequence('cataloger_result', 'id'), :items);
SELECT setval(pg_get_serial_sequence('cataloger_product_result', 'id'), :items)
"""
FILLED = "item", "result", "product_result", "product_current", "current"
# An index that is made of all its rows at once costs a fraction of one that each row is put into.
UPKEEP = "UPDATE pg_index SET indisready = :is_kept WHERE indrelid = to_regclass(:name)"

# What a batch asks for -> how its statement begins, and the index that answers it.
QUERIES = {
    "a page of products": (r'SELECT "products"\."sku" AS c0.*WHERE', "products_pkey"),
    "the bytes of some products": (r'SELECT "products"\."sku", "products"\."picture"', "products_pkey"),
    "what is known of a chunk": (
        r"SELECT cataloger_item\.key_hash, cataloger_item\.id, cataloger_item\.gone_run_id, cataloger_item\.product",
        "uq_cataloger_item",
    ),
    "what is known of pictures": (r"SELECT cataloger_result\.content_hash, ", "ix_cataloger_result_content_hash"),
    "renew the lease": (r"UPDATE cataloger_lease", "cataloger_lease"),
    "make items known": (r"INSERT INTO cataloger_item", "uq_cataloger_item"),
    "what is known of a batch": (
        r"SELECT cataloger_item\.key_hash, cataloger_item\.id, cataloger_item\.gone_run_id, cataloger_item\.uri",
        "uq_cataloger_item",
    ),
    "the good results before": (
        r"SELECT cataloger_item\.key_hash, cataloger_item\.id, cataloger_item\.gone_run_id, cataloger_item\.uri",
        "pk_cataloger_current",
    ),
    "append results": (r"INSERT INTO cataloger_result", "Insert on cataloger_result"),
    "move the pointers": (r"INSERT INTO cataloger_current", "pk_cataloger_current"),
    "the images of products": (r"SELECT cataloger_item\.product_hash, ", "ix_cataloger_item_source_id_product_hash"),
    "record the answers for products": (r"INSERT INTO cataloger_product_result", "uq_cataloger_product_result"),
    "point to the answers": (r"INSERT INTO cataloger_product_current", "pk_cataloger_product_current"),
    "a page of items to look for missing ones": (
        r"SELECT cataloger_item\.id, cataloger_item\.key",
        "pk_cataloger_item",
    ),
    "remember that items went": (r"INSERT INTO cataloger_presence", "pk_cataloger_presence"),
    "take items out of the views": (r"UPDATE cataloger_item SET gone_run_id", "pk_cataloger_item"),
}

LARGE = re.compile(r"Seq Scan on (cataloger_(item|result|current|product_result|product_current)|products)")


@pytest.fixture
def large(world, url):
    """A world of so many items that are tagged, in a run of its own."""
    values = {"source": world.source.id, "run": world.run.id, "weights": world.model.weights_id, "items": ITEMS}
    with world.database.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))  # no check of each foreign key
        keep_indexes(connection, False)
        for statement in FILL.split(";"):
            connection.execute(text(statement), values)
        keep_indexes(connection, True)
        for name in FILLED:
            connection.execute(text(f"REINDEX TABLE cataloger_{name}"))
    world.begin()
    engine = create_engine(world.database.engine.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("VACUUM ANALYZE"))
    engine.dispose()
    return world


def keep_indexes(connection, is_kept):
    for name in FILLED:
        connection.execute(text(UPKEEP), {"is_kept": is_kept, "name": f"cataloger_{name}"})


def statements_of_a_batch(world, url, make):
    """Do everything that a batch does; return each statement with its parameters, as it went to the driver."""
    seen = {}

    def note(_connection, _cursor, statement, parameters, _context, executemany):
        first = parameters[0] if executemany else parameters
        seen.setdefault(statement, first)

    shop = open_source(url)
    engines = (world.database.engine, shop.engine)
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    paths = TableSource(shop, TableOptions(table="products", ids=("sku",), image="photo"))
    items = [next(scan) for scan in [paths.scan()] for _ in range(1500)]
    blobs = TableSource(shop, TableOptions(table="products", ids=("sku",), image="picture"))
    blobs.read_blobs([next(scan) for scan in [blobs.scan()] for _ in range(32)])
    list(world.ledger.plan(items))
    KnownPictures(world.database, world.model, "pillow").find([f"{number:064}" for number in range(32)])
    world.sink.write([make.good(item.key, product_key=item.key) for item in items[:64]])
    presence = Presence(world.database, world.source)
    for item_id in range(3, ITEMS + 1):
        presence.see(item_id, False)
    assert presence.remove_missing(world.run.id) == 2
    for engine in engines:
        event.remove(engine, "before_cursor_execute", note)
    shop.close()
    return seen


@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)
def test_every_query_of_a_batch_uses_its_index(large, url, make):
    seen = statements_of_a_batch(large, url, make)
    wrong = []
    with large.database.begin() as connection:
        for name, (beginning, index) in QUERIES.items():
            found = [statement for statement in seen if re.match(beginning, statement, re.DOTALL)]
            assert found, f"{name}: no such statement among {[statement[:200] for statement in seen]}"
            for statement in found:
                rows = connection.exec_driver_sql(f"EXPLAIN {statement}", seen[statement])
                plan = "\n".join(row[0] for row in rows)
                if index not in plan or LARGE.search(plan):
                    wrong.append(f"{name}: expected {index}\n{plan}")
    assert not wrong, "\n\n".join(wrong)
