"""The database sink: one transaction a batch, good results that stay visible, text as it was; on every engine."""

import json
from contextlib import closing
from dataclasses import replace

import by_url
import forks
import pytest
from conftest import MODEL, World
from sqlalchemy import create_engine, event, select, text, update
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.corrections.csv_import import ImportOptions, import_corrections
from cataloger.db import upsert
from cataloger.errors import DatabaseError, LeaseError
from cataloger.ledger import register_source
from cataloger.records import Failure, Prediction
from cataloger.schema import revisions
from cataloger.schema.models import Base, ItemRow, ResultRow
from cataloger.schema.views import IMAGE_TOP5

TABLES = ("item", "result", "current")


@pytest.fixture
def database(shared_database):
    return shared_database


def counts(world):
    """Return the number of items, results and pointers."""
    return [world.rows(f"SELECT COUNT(*) FROM cataloger_{name}")[0][0] for name in TABLES]


def seen(world, *columns):
    """Return columns of what the view shows, by key."""
    with world.database.read() as connection:
        query = select(*[IMAGE_TOP5.c[name] for name in columns]).order_by(IMAGE_TOP5.c.key)
        return [tuple(row) for row in connection.execute(query)]


def results(world, *columns):
    """Return columns of everything that was ever recorded, in order."""
    with world.database.read() as connection:
        query = select(*[getattr(ResultRow, name) for name in columns]).order_by(ResultRow.id)
        return [tuple(row) for row in connection.execute(query)]


def test_a_batch_is_recorded_with_everything_that_is_needed_later(world, make):
    world.sink.write([make.good("a", "v7", content="d"), make.bad("b", "v8", content="e", message="cut short")])
    identity = (world.run.id, world.model.weights_id, world.model.calibration_id, "fp32")
    assert results(world, "run_id", "weights_id", "calibration_id", "precision") == [identity] * 2
    columns = ("status", "version_token", "content_hash", "logits", "log_sum_exp", "width", "height", "error_text")
    assert results(world, *columns) == [
        ("ok", "v7", "d" * 64, [2.5, 1.5], 2.9, 30, 40, None),
        ("failed", "v8", "e" * 64, None, None, None, None, "cut short"),
    ]


def test_a_failure_without_logits_holds_null_and_not_the_json_word(world, make):
    world.sink.write([make.bad("a")])
    assert world.rows("SELECT COUNT(*) FROM cataloger_result WHERE logits IS NULL") == [(1,)]


def test_a_batch_is_one_transaction(world, make, at):
    during = []
    for point in ("before_commit", "after_commit"):
        at(point, lambda point=point: during.append((point, counts(world))))
    world.sink.write([make.good("a"), make.bad("b"), make.good("c")])
    assert during == [("before_commit", [0, 0, 0]), ("after_commit", [3, 3, 3])]


def test_a_batch_that_fails_leaves_nothing_and_says_nothing(world, make):
    told = []
    sink = replace(world.sink, on_recorded=told.append)
    with pytest.raises(DatabaseError) as caught:
        sink.write([make.good("a"), make.good("b"), make.good("a", "v2")])
    assert counts(world) == [0, 0, 0]
    assert told == []
    assert "\n" not in str(caught.value)


def test_the_ledger_is_told_after_the_commit(world, make):
    batch, told = [make.good("a"), make.bad("b")], []
    replace(world.sink, on_recorded=lambda results: told.append((list(results), counts(world)))).write(batch)
    assert told == [(batch, [2, 2, 2])]


KILLED = """if True:
    import json, os, signal, sys
    from cataloger.db.urls import DatabaseURL
    from cataloger.ledger.leases import Lease
    from cataloger.ledger import ModelRef, SourceRef
    from cataloger.ledger.product_results import ProductResults
    from cataloger.records import Item, Prediction
    from cataloger.schema import open_database
    from cataloger.sinks.database import DatabaseSink
    from cataloger.utils import failpoints

    url, source, run, fence, model = json.loads(sys.argv[1])
    database = open_database(DatabaseURL.parse(url))
    products = ProductResults(SourceRef(source, "/photos"), run, ModelRef(*model))
    sink = DatabaseSink(
        database, products, Lease(database, source, fence),
    )
    failpoints.set_action("before_commit", lambda: os.kill(os.getpid(), signal.SIGKILL))
    items = [Item(f"{number}", f"/photos/{number}", "v1", product_key=f"p{number // 2}") for number in range(600)]
    sink.write([Prediction(item, "1" * 64, 3, 4, ("Hat",), (0.5,), (1.0,), 2.0) for item in items])
"""


def test_a_process_that_is_killed_before_the_commit_leaves_nothing(world, make, module_url):
    model = world.model
    identity = (model.weights_id, model.calibration_id, model.name, model.version, model.location, model.labels)
    told = json.dumps([module_url, world.source.id, world.run.id, world.lease.fence, identity])
    assert forks.run(KILLED, told)[0] == -9
    assert counts(world) == [0, 0, 0]
    world.sink.write([make.good(f"{number}", product_key=f"p{number // 2}") for number in range(600)])
    assert counts(world) == [600, 600, 600]
    assert world.rows("SELECT images, COUNT(*) FROM cataloger_product_result GROUP BY images") == [(2, 300)]


def test_a_run_whose_source_was_taken_over_writes_nothing_of_a_large_batch(world, make):
    world.sink.write([make.good("a", product_key="p")])
    late = replace(world.sink, lease=replace(world.lease, fence=world.lease.fence - 1))
    with pytest.raises(LeaseError):
        late.write([make.good(f"{number}", product_key="p") for number in range(300)])
    assert counts(world) == [1, 1, 1]


def row_by_row(connection, insert, rows):
    """Insert rows as one statement each, in SQLAlchemy's own way."""
    connection.execute(upsert._insert_of(replace(insert, returning=()), connection.dialect.name), list(rows))


BYTES = bytes(range(256))
LABELS = ("NULL", "{", '"', "\\", "ä,")


def odd_results(make, run):
    """Yield results with odd values, other ones in each run; some items and products change."""
    yield from (make.good(key, f"{run} {key}", product_key=key, labels=(key[:200],)) for key in WEIRD)
    for number in range(40):
        item = make.item(f"{number}", f"v{run}", product_key=f"p{number // 3}" if number % 7 else None)
        if number % 5 == run:
            code = "io.unreadable" if number % 2 else "decode.truncated"
            yield Failure(item, code, '"{\\\\N,NULL}"', None)
            continue
        numbers = (1 / 3, 5e-324, 1.7976931348623157e308, -0.0, 1e16)[: 3 + run]
        item, content = replace(item, department=("Women", "NULL", None)[(number + run) % 3]), f"{number % 10}" * 64
        answer = (LABELS[: 3 + run], numbers, numbers, 1e-7, BYTES, 0.1, "review")
        yield Prediction(item, content, 2**31 - 1, number, *answer)


RESULT = [column.name for column in ResultRow.__table__.columns]
RESULT = ", ".join(f"r.{name}" for name in RESULT if name not in ("id", "item_id", "run_id", "tagged_at"))
RECORDED = {
    "images": f"""
        SELECT i.key, i.key_hash, i.product_key, i.product_hash, i.uri, i.department, i.gone_run_id IS NULL,
            c.result_id = r.id, c.latest_id = r.id, c.disagrees, {RESULT}
        FROM cataloger_item i JOIN cataloger_result r ON r.item_id = i.id
        JOIN cataloger_current c ON c.item_id = i.id AND c.weights_id = r.weights_id
        WHERE i.source_id = SOURCE ORDER BY i.key_hash, r.id""",
    "order": """
        SELECT i.key FROM cataloger_result r JOIN cataloger_item i ON i.id = r.item_id
        WHERE i.source_id = SOURCE ORDER BY r.id""",
    "products": """
        SELECT p.product_key, p.product_hash, p.weights_id, p.images, p.decision, p.label_1, p.confidence_1,
            p.label_5, c.result_id = p.id
        FROM cataloger_product_result p LEFT JOIN cataloger_product_current c
        ON c.source_id = p.source_id AND c.product_hash = p.product_hash
        WHERE p.source_id = SOURCE ORDER BY p.product_hash, p.id""",
}
"""Of a source all but times; ids are replaced by what they stand for."""


def test_a_batch_gives_the_tables_that_single_statements_give(database, make, monkeypatch):
    model = replace(MODEL, labels=("Dress", "Hat", *LABELS))
    recorded = []
    for root, way in (("/by batch", upsert._write), ("/row by row", row_by_row)):
        world = World(database, register_source(database, kind="folder", root=root), model)
        monkeypatch.setattr(upsert, "_write", way)
        for run in range(3):
            world.begin().sink.write(list(odd_results(make, run)))
            with database.begin() as connection:
                three = (ItemRow.source_id == world.source.id) & (ItemRow.key == "3")
                connection.execute(update(ItemRow).where(three).values(gone_run_id=world.run.id))
        world.end()
        queries = [query.replace("SOURCE", str(world.source.id)) for query in RECORDED.values()]
        recorded.append([[repr(row) for row in world.rows(query)] for query in queries])
    assert len(recorded[0][0]) == 3 * (len(WEIRD) + 40)
    assert recorded[0] == recorded[1]


def test_an_item_is_written_again_only_where_it_has_changed(world, make):
    written = []
    batch = [make.good(f"{number}", product_key="p") for number in range(20)]
    world.sink.write(batch)
    event.listen(world.database.engine, "before_cursor_execute", lambda *about: written.append(about[2]))
    world.begin().sink.write(batch)
    assert [text for text in written if "INSERT INTO cataloger_result" in text]
    assert not [text for text in written if "INSERT INTO cataloger_item" in text]
    world.begin().sink.write([*batch[:-1], make.good("19", product_key="p", uri="/moved")])
    assert ("/moved",) in seen(world, "uri")
    assert len(seen(world, "uri")) == 20


NAN = float("nan")
BAD = {
    "half": {"labels": ("\ud83d", "Hat")},
    "width": {"width": 2**70},
    "long": {"labels": ("x" * 300, "Hat")},
    "nul": {"labels": ("a\0", "Hat")},
    "nan": {"confidences": (NAN, NAN)},
    "json": {"logits": (NAN, NAN)},
}
REFUSED = {
    "sqlite": {"half", "width"},
    "postgresql": {"half", "width", "long", "nul", "json"},
    "mariadb": {"half", "width", "long", "nan", "json"},
}


def test_a_bad_row_of_a_large_batch_costs_no_other_row(world, make):
    batch = [make.good(f"{number}", product_key="p") for number in range(300)]
    for position, (key, values) in enumerate(BAD.items()):
        batch.insert(50 * position + 7, replace(make.good(key, product_key=key), **values))
    recorded = world.sink.write(batch)
    refused = {each.item.key for each in recorded if isinstance(each, Failure)}
    assert refused == REFUSED[world.database.url.backend.replace("mysql", "mariadb")]
    assert [each.item.key for each in recorded] == [each.item.key for each in batch]
    assert counts(world) == [306, 306, 306]
    failed = {(key, code) for key, code in seen(world, "key", "error_code") if code is not None}
    assert failed == {(key, "record.refused") for key in refused}
    assert world.rows("SELECT images FROM cataloger_product_result WHERE product_key = 'p'") == [(300,)]


def test_a_good_result_replaces_the_one_before_and_history_stays(world, make):
    world.sink.write([make.good("a", "v1", content="1")])
    world.begin().sink.write([make.good("a", "v2", content="2", labels=("Sock",))])
    assert seen(world, "label_1", "run_id") == [("Sock", world.run.id)]
    assert results(world, "version_token", "label_1") == [("v1", "Dress"), ("v2", "Sock")]


def current(world):
    """Return the current and the latest result of the only image: status and version."""
    query = "SELECT r.status, r.version_token FROM cataloger_current c JOIN cataloger_result r ON r.id = c.{}"
    return [world.rows(query.format(pointer))[0] for pointer in ("result_id", "latest_id")]


@pytest.mark.parametrize("code", ["io.unreadable", "fetch.timeout"])
def test_a_failure_in_passing_keeps_the_good_result_visible(world, make, code):
    world.sink.write([make.good("a", "v1")])
    run_id = world.run.id
    world.begin().sink.write([make.bad("a", "v2", code=code, content=None)])
    assert seen(world, "status", "error_code", "label_1", "run_id") == [("ok", None, "Dress", run_id)]
    assert current(world) == [("ok", "v1"), ("failed", "v2")]


def test_a_failure_on_the_same_bytes_keeps_the_good_result_visible(world, make):
    world.sink.write([make.good("a", "v1", content="1")])
    world.begin().sink.write([make.bad("a", "v2", code="decode.crashed", content="1")])
    assert seen(world, "status", "label_1") == [("ok", "Dress")]
    assert current(world) == [("ok", "v1"), ("failed", "v2")]


def test_a_failure_on_changed_bytes_replaces_the_good_result(world, make):
    world.sink.write([make.good("a", "v1", content="1")])
    world.begin().sink.write([make.bad("a", "v2", content="2")])
    assert seen(world, "status", "error_code", "label_1", "run_id") == [
        ("failed", "decode.truncated", None, world.run.id)
    ]
    assert current(world) == [("failed", "v2"), ("failed", "v2")]


def test_a_good_result_replaces_a_failure_and_a_failure_a_failure(world, make):
    world.sink.write([make.bad("a", code="decode.truncated")])
    world.begin().sink.write([make.bad("a", code="decode.bomb")])
    assert seen(world, "error_code") == [("decode.bomb",)]
    world.begin().sink.write([make.good("a")])
    assert seen(world, "status", "error_code", "label_1") == [("ok", None, "Dress")]


def test_a_good_result_that_was_kept_survives_any_number_of_failures(world, make):
    world.sink.write([make.good("a", "v1")])
    for code, content in (("io.unreadable", None), ("decode.crashed", "1"), ("fetch.timeout", None)):
        world.begin().sink.write([make.bad("a", "v2", code=code, content=content)])
    assert seen(world, "label_1") == [("Dress",)]
    assert len(results(world, "id")) == 4


def test_a_failure_under_another_model_leaves_the_first_model_alone(world, make):
    world.sink.write([make.good("a")])
    mine = world.model
    world.begin(make.other_model).sink.write([make.bad("a", code="io.unreadable", content=None)])
    assert seen(world, "model", "status") == [("other 2.0", "failed")]
    assert seen(world.begin(mine), "model", "status") == [("shipped 1.0", "ok")]


def test_the_product_follows_the_source(world, make):
    world.sink.write([make.good("a", product_key="sku 1"), make.good("b")])
    assert seen(world, "product_key") == [("sku 1",), (None,)]
    world.begin().sink.write([make.good("a", product_key="sku 2"), make.bad("b")])
    assert seen(world, "product_key") == [("sku 2",), (None,)]
    world.begin().sink.write([make.good("a", uri="/moved/a")])
    assert seen(world, "uri", "product_key") == [("/moved/a", None), ("/photos/b", None)]


def test_an_image_that_was_gone_and_came_back_is_seen_again(world, make):
    world.sink.write([make.good("a")])
    with world.database.begin() as connection:
        connection.execute(text("UPDATE cataloger_item SET gone_run_id = :run"), {"run": world.run.id})
    assert seen(world, "key") == []
    world.begin().sink.write([make.good("a")])
    assert seen(world, "key") == [("a",)]
    assert counts(world)[0] == 1


WEIRD = [
    "a'b\"c`d",
    "%s %(x)s :x ?",
    "back\\slash",
    "tab\tline\nend ",
    "é e\u0301",
    "👗" * 50,
    "x" * 5000,
    "\u202egpj",
]


def test_weird_text_comes_back_as_it_was(world, make):
    world.sink.write([make.good(key, f"version {key}", product_key=key, labels=(key[:200],)) for key in WEIRD])
    assert seen(world, "key", "uri", "product_key", "label_1") == [
        (key, f"/photos/{key}", key, key[:200]) for key in sorted(WEIRD)
    ]
    assert sorted(results(world, "version_token")) == sorted((f"version {key}",) for key in WEIRD)


def test_text_that_no_engine_stores_is_made_storable(world, make):
    world.sink.write([make.good("nul\0 half\ud83d", uri="u\0\ud83d", product_key="p\0\ud83d")])
    assert seen(world, "key", "uri", "product_key") == [("nul half\\ud83d", "u\\ud83d", "p\\ud83d")]


def test_keys_that_are_stored_alike_stay_two_images(world, make):
    world.sink.write([make.good("a\0"), make.good("a", labels=("Sock",))])
    assert sorted(seen(world, "label_1")) == [("Dress",), ("Sock",)]


def test_long_messages_of_failures_are_cut(world, make):
    world.sink.write([make.bad("a", message="\0" + "é\n👗" * 400), Failure(make.item("b"), "io.unreadable", "")])
    assert results(world, "error_text") == [(("é\n👗" * 400)[:500],), ("",)]


NARROW = {
    "postgresql": "CREATE DATABASE narrow ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'",
    "mariadb": "CREATE DATABASE narrow CHARACTER SET latin1",
}


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def narrow_database(request):
    """A database that holds Western European text alone; tables of ours that are in utf8mb4 become so."""
    server = request.getfixturevalue(f"{request.param}_server")
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS narrow"))
        connection.execute(text(NARROW[request.param]))
    engine.dispose()
    url = server.set(drivername=server.get_backend_name(), database="narrow").render_as_string(hide_password=False)
    by_url.upgrade(url)
    database = by_url.open_database(url)
    if request.param == "mariadb":
        with database.begin() as connection:
            short, long = "VARCHAR(255) CHARACTER SET latin1", "LONGTEXT CHARACTER SET latin1"
            narrowed = {("item", "uri"): long, ("result", "label_1"): short}
            narrowed |= {("correction", "label"): short, ("correction", "note"): long}
            for (table, column), kind in narrowed.items():
                connection.execute(text(f"ALTER TABLE cataloger_{table} MODIFY {column} {kind}"))
    yield database
    database.close()


@pytest.fixture
def narrow(narrow_database, make_world):
    """A world in that database, which is emptied afterwards."""
    yield make_world(narrow_database)
    with narrow_database.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())


def test_text_that_the_database_cannot_hold_is_the_failure_of_its_image(narrow, make):
    images = [
        make.good("a.jpg"),
        make.good("日本.jpg", product_key="p"),
        make.good("é.jpg", product_key="é"),
        make.good("b"),
    ]
    labels = replace(make.good("c"), labels=("帽子", "Hat"))
    broken = make.bad("\U0001f600.jpg", message="in 服")
    recorded = narrow.sink.write([*images, labels, broken])
    codes = [each.code if isinstance(each, Failure) else None for each in recorded]
    assert codes == [None, "record.refused", None, None, "record.refused", "decode.truncated"]
    assert seen(narrow, "key", "error_code") == sorted(
        [
            ("a.jpg", None),
            ("b", None),
            ("c", "record.refused"),
            ("é.jpg", None),
            ("\\u65e5\\u672c.jpg", "record.refused"),
            ("\\U0001f600.jpg", "decode.truncated"),
        ]
    )
    # It is known by its name: the next run has nothing to do.
    assert narrow.plan(make.item("日本.jpg", product_key="p"), make.item("a.jpg")) == ["-duplicate", "-duplicate"]
    narrow.begin()
    assert narrow.plan(make.item("日本.jpg", product_key="p"), make.item("a.jpg")) == ["-failed_before", "-unchanged"]


def test_an_upgrade_says_what_the_database_cannot_hold(narrow_database):
    url = narrow_database.url
    found = revisions.encoding_limits(url)
    assert "record.refused" in found
    assert ("LATIN1" in found) or ("cataloger_item.uri" in found and "latin1" in found)
    full = url.parsed.render_as_string(hide_password=False)
    result = CliRunner().invoke(app, ["db", "upgrade", "--db", full])
    assert result.exit_code == 0
    assert found in result.stderr


def test_a_database_in_utf8_can_hold_all(database):
    assert revisions.encoding_limits(database.url) is None


def test_a_correction_that_the_database_cannot_hold_is_the_problem_of_its_row(narrow, make, tmp_path):
    narrow.sink.write([make.good(name) for name in ("one", "two", "three", "four")])
    path = tmp_path / "x.csv"
    path.write_text("key,label,note\none,Hat,\ntwo,帽子,\nthree,Sock,服\nfour,Été,\n")
    report = import_corrections(narrow.database, path, ImportOptions("ann", new_labels=True))
    assert (report.saved, [line for line, *_ in report.notes]) == (2, [3, 4])


def reading(database, action):
    """Return what PostgreSQL does for the first look-up by hashes of an action, as its plan with numbers."""
    seen = []

    def note(_connection, _cursor, statement, parameters, _context, _many):
        if statement.startswith("SELECT cataloger_item.key_hash") and not seen:
            seen.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        action()
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
    (statement, parameters) = seen[0]
    with database.read() as connection:
        rows = connection.exec_driver_sql(f"EXPLAIN (ANALYZE) {statement}", parameters)
        return "\n".join(row[0] for row in rows)


def test_a_source_that_postgresql_has_not_heard_of_is_read_by_its_keys(make_tables, tmp_path, make, make_world):
    """Beside a large one, of which it has statistics; its own process that renews them has not looked since."""
    with closing(by_url.open_database(make_tables("postgresql", tmp_path))) as database:
        first = make_world(database)
        first.sink.write([make.good(f"{n}.jpg") for n in range(5000)])
        with database.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE cataloger_item SET (autovacuum_enabled = off)")
            connection.exec_driver_sql("ANALYZE cataloger_item")
        source = register_source(database, kind="folder", root="/others")
        second = World(database, source, MODEL).begin()
        for start in range(0, 2000, 250):
            second.sink.write([make.good(f"{n}.jpg") for n in range(start, start + 250)])
        plan = reading(database, lambda: second.sink.write([make.good(f"{n}.jpg") for n in range(2000, 2020)]))
        assert "Rows Removed by Filter" not in plan, plan
        # Somebody who may not renew statistics: the values are a constant, of which there is a hash table.
        assert "::cstring" not in plan, plan
