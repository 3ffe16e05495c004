"""Answers in tables of MyISAM, which has no transactions: intended, made, confirmed, and killed in between."""

import contextlib
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import sync_rig

from cataloger.errors import LeaseError, UsageError
from cataloger.schema.models import LeaseRow
from cataloger.writeback.flags import OtherWrites

other = sync_rig.load(Path(__file__).parent / "test_other_tables.py")
EAV, LINKS, VALUE, ANSWERS = other.EAV, other.LINKS, other.VALUE, other.ANSWERS
BOTH = replace(EAV, links=LINKS.links)
POINTS = ("after_intended", "after_made", "before_commit", "after_commit")
LAST = [(1, 87, 0, 10, None), (2, 87, 0, 20, None), (3, 87, 0, 20, None)]


class Shop(other.Shop):
    storage = "MyISAM"

    def intended(self):
        return self.rows("SELECT column_name, new_value FROM cataloger_write WHERE state = 'intended'")

    def write(self, **more):
        return self.sync(BOTH, "category=label_1", **more)


class Killed(BaseException):
    """The process is no more: nothing that it would do afterwards is done."""


@pytest.fixture(scope="module")
def module_url(tmp_path_factory, make_tables):
    return make_tables("mariadb", tmp_path_factory.mktemp("module"))


@pytest.fixture
def database(shared_database):
    return shared_database


@pytest.fixture
def shop(world, make):
    found = Shop(world, make)
    yield found
    world.end()
    found.drop()


@pytest.mark.parametrize(
    "scenario",
    [
        other.test_a_row_is_updated_or_added_and_undone,
        other.test_a_category_is_linked_and_moves_with_the_answer,
        other.test_after_undo_the_tables_are_as_a_colleague_alone_has_made_them,
        other.test_an_undo_in_another_order_ends_the_same,
        other.test_what_was_pruned_is_still_our_own,
        other.test_several_targets_of_one_table_are_told_apart,
        other.test_no_row_is_added_where_only_existing_ones_are_to_be_written,
        other.test_a_product_is_linked_with_likely_further_categories_and_with_parents,
    ],
)
def test_all_is_as_in_a_table_with_transactions(shop, scenario):
    scenario(shop)
    assert shop.intended() == []


def killing(at, point, number):
    """Kill the process when it reaches a point for the nth time."""
    left = iter(range(number - 1, -1, -1))

    def die():
        if next(left, 1) == 0:
            raise Killed

    at(point, die)


@pytest.mark.parametrize("point", POINTS)
def test_whatever_moment_a_run_is_killed_at_the_next_one_puts_right(shop, at, point):
    before = shop.everything()
    reached = 0
    for number in range(1, 9):
        killing(at, point, number)
        with contextlib.suppress(Killed):
            shop.write(answers={"1": other.LABELS[1 + number % 2]})
            at(point, lambda: None)
            break
        reached += 1
        at(point, lambda: None)
        shop.write(answers={"1": "Dress"})
        assert (shop.eav(), len(shop.links()), shop.intended()) == (LAST, 3, [])
        assert shop.rows("SELECT category FROM products") == [(10,), (20,), (20,)]
    assert reached >= (1 if point == "after_commit" else 3)
    for (run,) in reversed(shop.rows("SELECT id FROM cataloger_run WHERE command = 'tag'")):
        with contextlib.suppress(UsageError):
            shop.undo(run)
    assert shop.everything() == before


@pytest.mark.parametrize("point", POINTS[:3])
def test_an_undo_that_is_killed_is_resumed(shop, at, point):
    before = shop.everything()
    run, _ = shop.write()
    for number in (1, 2, 3):
        killing(at, point, number)
        with contextlib.suppress(Killed):
            shop.undo(run)
            break
        shop.execute("UPDATE cataloger_lease SET owner = ''")
        at(point, lambda: None)
    at(point, lambda: None)
    with contextlib.suppress(UsageError):  # undone already
        shop.undo(run)
    assert (shop.everything(), shop.intended()) == (before, [])


def test_a_killed_run_is_undone_with_what_it_has_made_and_no_more(shop, at):
    before = shop.everything()
    killing(at, "after_made", 2)
    with contextlib.suppress(Killed):
        shop.write()
    assert shop.intended() != []
    assert shop.everything() != before
    shop.world.end()
    shop.undo(shop.world.run.id)
    assert (shop.everything(), shop.intended()) == (before, [])


def colleague(shop):
    shop.execute(
        "INSERT INTO links VALUES (3, 20, 1)",
        "INSERT INTO eav (product, attribute, store, value) VALUES (3, 87, 0, 30)",
    )


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_change_of_a_colleague_in_between_stays(shop, at, is_killed):
    done = []

    def edit():
        if not done:
            done.append(colleague(shop))
        if is_killed:
            raise Killed

    at("after_intended", edit)
    with contextlib.suppress(Killed):
        shop.write()
    at("after_intended", lambda: None)
    for _ in range(2):
        shop.write(overwrite=True)
    assert (3, 87, 0, 30, None) in shop.eav()  # something else was intended there
    assert (3, 20, 1) in shop.links()


def test_a_cell_that_is_not_as_it_was_read_is_not_set(shop):
    plan = shop.plans(OtherWrites(), "category=label_1")[0]
    with shop.world.database.begin() as connection:
        row = plan.table.any_row(connection)
        shop.execute(f"UPDATE products SET category = 2 WHERE id = {row.ids[0]}")
        plan.table.update(connection, [(row, {"category": 10})])
    assert shop.rows(f"SELECT category FROM products WHERE id = {row.ids[0]}") == [(2,)]


def test_a_run_that_another_one_has_taken_over_writes_nothing_more(shop, at):
    def take_over():
        with shop.world.database.begin() as connection:
            connection.execute(LeaseRow.__table__.update().values(fence=LeaseRow.fence + 1))

    at("after_intended", take_over)
    with pytest.raises(LeaseError, match="taken over"):
        shop.write()
    at("after_intended", lambda: None)
    assert (shop.eav(), shop.links()) == ([], [])
    assert shop.intended() != []
    shop.world.lease = None
    shop.execute("UPDATE cataloger_lease SET owner = ''")
    shop.write()
    assert (shop.eav(), shop.intended()) == (LAST, [])


def test_a_value_that_the_table_refuses_is_counted_and_the_others_are_written(shop):
    shop.execute(
        "CREATE TRIGGER refusing BEFORE UPDATE ON products FOR EACH ROW IF NEW.category = 20 AND NEW.id = 2 THEN "
        "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this one'; END IF"
    )
    _, counts = shop.sync(OtherWrites(), "category=label_1")
    assert shop.rows("SELECT category FROM products") == [(10,), (20,), (None,)]
    assert (counts.refused > 0, "not this one" in counts.reasons[0], shop.intended()) == (True, True, [])


def test_what_cannot_be_written_is_refused_before_any_work_and_nothing_is_tried_on_the_table(shop):
    shop.create("notes (product INTEGER PRIMARY KEY, value ENUM('10', '20') NOT NULL)")
    shop.execute("INSERT INTO notes VALUES (1, '20'), (2, '10')")
    with pytest.raises(UsageError, match="notes does not accept '30'"):
        shop.plans(OtherWrites(("notes:value=label_1",), ("product",)))
    assert shop.rows("SELECT * FROM notes") == [(1, "20"), (2, "10")]
    shop.execute("ALTER TABLE notes MODIFY value VARCHAR(9)")
    shop.sync(OtherWrites(("notes:value=label_1",), ("product",)), overwrite=True)
    assert shop.rows("SELECT * FROM notes") == [(1, "10"), (2, "20"), (3, "20")]
    shop.plans(LINKS)  # on a copy, which hides the table from this session no longer
    assert shop.links() == []


def test_a_value_is_compared_to_the_letter(shop):
    """The server takes `dress` and `Dress` for the same; a colleague does not."""
    shop.create("notes (product INTEGER PRIMARY KEY, value VARCHAR(20))")
    shop.execute("INSERT INTO notes VALUES (1, 'dress')")
    plan = shop.plans(OtherWrites(("notes:value=name_1",), ("product",)))[0]
    with shop.world.database.begin() as connection:
        row = plan.table.any_row(connection)
        shop.execute("UPDATE notes SET value = 'DRESS'")
        plan.table.update(connection, [(row, {"value": "Hats"})])
    assert shop.rows("SELECT value FROM notes") == [("DRESS",)]


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_what_the_next_run_puts_right(mariadb_url, tmp_path):
    photos = dict(list(sync_rig.pictures().items())[:4])
    shop = sync_rig.Shop(mariadb_url, "path", tmp_path, photos=photos)
    try:
        shop.execute("ALTER TABLE products ADD category VARCHAR(40), ENGINE=MyISAM")
        sync_rig.CliRunner().invoke(sync_rig.app, ["db", "upgrade", "--db", mariadb_url])
        flags = (
            "--write",
            "category=label_1",
            *(f"--only-decision={each}" for each in ("accept", "review", "abstain")),
        )
        for point in ("after_intended", "after_made"):
            with shop.syncing(f"failpoints.set_action({point!r}, die)", *flags) as program:
                status, _, err = program.end()
            assert status == -signal.SIGKILL, err
        written = shop.sync(*flags)["write_back"]["written"]
        assert sum(written.values()) <= 4
        shown = dict(sync_rig.rows(mariadb_url, "SELECT product_key, label_1 FROM cataloger_product_top5"))
        assert dict(sync_rig.rows(mariadb_url, "SELECT sku, category FROM products")) == shown
        assert sync_rig.rows(mariadb_url, "SELECT 1 FROM cataloger_write WHERE state = 'intended'") == []
    finally:
        shop.stop()
