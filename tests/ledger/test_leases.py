"""Leases and runs: one writer a source, and whoever is late is stopped; on every engine."""

import json
import subprocess
import sys
import threading
from datetime import timedelta

import pytest
from patience import wait_until
from sqlalchemy import text, update

from cataloger.db.clock import utc_now
from cataloger.errors import LeaseError, UsageError
from cataloger.ledger import leases, register_source
from cataloger.ledger.runs import open_run
from cataloger.options import Shard
from cataloger.schema.hashing import key_hash
from cataloger.schema.models import LeaseRow, ShardRow
from cataloger.utils.process_identity import this_process


@pytest.fixture
def database(shared_database):
    return shared_database


def set_lease(world, **values):
    """Change the lease, e.g. its owner, or let it be silent for some seconds."""
    seconds = values.pop("silent", 0)
    with world.database.begin() as connection:
        heartbeat = utc_now(connection) - timedelta(seconds=seconds)
        connection.execute(update(LeaseRow).values(heartbeat_at=heartbeat, **values))


def dead_owner():
    """Return the identity of a process of this machine that has ended."""
    code = "from cataloger.utils.process_identity import this_process; print(this_process(), end='')"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_a_live_run_excludes_another_and_is_named(world):
    with pytest.raises(LeaseError, match=rf"run {world.run.id} is working on this source \(process \d+ on .*wait"):
        leases.acquire(world.database, world.source.id, world.run.id)


def test_another_source_is_free(world):
    other = register_source(world.database, kind="folder", root="/other")
    assert leases.acquire(world.database, other.id, world.run.id).fence == 1


def test_a_released_lease_is_free_at_once_and_the_fence_grows(world):
    before = world.lease.fence
    world.lease.release()
    assert leases.acquire(world.database, world.source.id, world.run.id).fence == before + 1


def test_a_dead_process_of_this_machine_is_taken_over_at_once(world):
    set_lease(world, owner=dead_owner())
    assert leases.acquire(world.database, world.source.id, world.run.id).fence == world.lease.fence + 1


def test_another_machine_is_given_a_minute(world):
    elsewhere = "|".join(["elsewhere", *this_process().split("|")[1:]])
    set_lease(world, owner=elsewhere, silent=50)
    with pytest.raises(LeaseError, match=r"on elsewhere, last heartbeat 5\d seconds ago"):
        leases.acquire(world.database, world.source.id, world.run.id)
    set_lease(world, owner=elsewhere, silent=61)
    assert leases.acquire(world.database, world.source.id, world.run.id).fence == world.lease.fence + 1


def test_a_heartbeat_from_before_the_clock_was_put_back_does_not_hold_for_ever(world, make):
    elsewhere = "|".join(["elsewhere", *this_process().split("|")[1:]])
    set_lease(world, owner=elsewhere, silent=-50)
    with pytest.raises(LeaseError, match="on elsewhere, last heartbeat"):
        leases.acquire(world.database, world.source.id, world.run.id)
    set_lease(world, owner=elsewhere, silent=-86_400 * 365)
    assert leases.acquire(world.database, world.source.id, world.run.id).fence == world.lease.fence + 1
    with pytest.raises(LeaseError, match="taken over this source"):
        world.sink.write([make.good("a")])


def test_an_owner_whose_clock_was_put_back_goes_on(world, make):
    set_lease(world, silent=-86_400)
    world.sink.write([make.good("a")])
    with pytest.raises(LeaseError, match=r"last heartbeat \d seconds ago"):
        leases.acquire(world.database, world.source.id, world.run.id)


def test_a_late_owner_cannot_commit(world, make):
    set_lease(world, silent=61)
    leases.acquire(world.database, world.source.id, world.run.id)
    with pytest.raises(LeaseError, match="taken over this source"):
        world.sink.write([make.good("a")])
    assert world.rows("SELECT COUNT(*) FROM cataloger_item") == [(0,)]


def test_a_late_owner_cannot_release_the_lease_of_the_next(world):
    set_lease(world, silent=61)
    leases.acquire(world.database, world.source.id, world.run.id)
    world.lease.release()
    with pytest.raises(LeaseError):
        leases.acquire(world.database, world.source.id, world.run.id)


def test_writing_renews_the_lease(world, make):
    set_lease(world, silent=59)
    world.sink.write([make.good("a")])
    with pytest.raises(LeaseError, match=r"last heartbeat \d seconds ago"):
        leases.acquire(world.database, world.source.id, world.run.id)


def test_a_silent_owner_that_was_not_taken_over_goes_on(world, make):
    set_lease(world, silent=600)
    world.sink.write([make.good("a")])
    assert world.rows("SELECT COUNT(*) FROM cataloger_result") == [(1,)]


def test_the_heartbeat_renews_the_lease_while_nothing_is_written(world, monkeypatch):
    monkeypatch.setattr(leases, "HEARTBEAT_SECONDS", 0.05)
    world.lease.release()

    def is_renewed():
        with world.database.begin() as connection:
            row = connection.execute(LeaseRow.__table__.select()).one()
            return utc_now(connection) - row.heartbeat_at < timedelta(seconds=25)

    with leases.hold_lease(world.database, world.source.id, world.run.id):
        set_lease(world, silent=50)
        wait_until(is_renewed, "the next heartbeat")
    assert leases.acquire(world.database, world.source.id, world.run.id)


def test_only_one_of_many_gets_the_lease(world):
    world.lease.release()
    start = threading.Barrier(4)
    won, lost = [], []

    def compete():
        start.wait()
        try:
            won.append(leases.acquire(world.database, world.source.id, world.run.id))
        except LeaseError as error:
            lost.append(error)

    threads = [threading.Thread(target=compete) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 3)


def test_a_run_records_how_it_went(world):
    world.run.close("interrupted", {"done": 3})
    [(command, outcome, counts)] = world.rows("SELECT command, outcome, counts FROM cataloger_run")
    counts = json.loads(counts) if isinstance(counts, str) else counts
    assert (command, outcome, counts) == ("tag", "interrupted", {"done": 3})


def test_runs_of_dead_processes_are_closed_as_abandoned_and_live_ones_are_not(world):
    dead = open_run(world.database, command="tag", options={}, device="cpu")
    with world.database.begin() as connection:
        owner = {"owner": dead_owner(), "id": dead.id}
        connection.execute(text("UPDATE cataloger_run SET owner = :owner WHERE id = :id"), owner)
    open_run(world.database, command="tag", options={}, device="cpu")
    outcomes = world.rows("SELECT outcome, ended_at IS NULL FROM cataloger_run ORDER BY id")
    assert [(outcome, bool(is_open)) for outcome, is_open in outcomes] == [
        (None, True),
        ("abandoned", False),
        (None, True),
    ]


def test_options_may_hold_names_that_are_not_utf8(world):
    run = open_run(world.database, command="tag", options={"paths": ["\udcff.jpg", "é", "👗"]}, device="cpu")
    assert world.rows(f"SELECT COUNT(options) FROM cataloger_run WHERE id = {run.id}") == [(1,)]


# --- shards


@pytest.fixture
def divided(world):
    """A source that no run has; take(text, run) takes a shard of it."""
    world.end()
    world.run = open_run(world.database, command="tag", options={}, device="cpu")
    return world


def take(world, text=None):
    return leases.acquire(world.database, world.source.id, world.run.id, None if text is None else Shard.parse(text))


def silence(world, seconds):
    """Let the shards be silent for so long, on another machine."""
    elsewhere = "|".join(["elsewhere", *this_process().split("|")[1:]])
    with world.database.begin() as connection:
        heartbeat = utc_now(connection) - timedelta(seconds=seconds)
        connection.execute(update(ShardRow).values(heartbeat_at=heartbeat, owner=elsewhere))


def test_shards_go_side_by_side_and_exclude_the_whole_and_themselves(divided):
    first, second = take(divided, "1/3"), take(divided, "2/3")
    with divided.database.begin() as connection:
        first.check(connection)
        second.check(connection)
    with pytest.raises(LeaseError, match=r"is working on shard 1/3 of this source \(process"):
        take(divided, "1/3")
    with pytest.raises(LeaseError, match="is working on shard 1/3 of this source"):
        take(divided)
    first.release()
    second.release()
    whole = take(divided)
    with pytest.raises(LeaseError, match="is working on this source"):
        take(divided, "3/3")
    whole.release()
    assert take(divided, "3/3").fence == 1


def test_a_source_that_is_divided_is_not_divided_otherwise_until_it_is_settled(divided):
    take(divided, "1/8").release()
    with pytest.raises(LeaseError, match=r"--shard 1/4: .* 8 parts, .*NUMBER/8\), or run once without --shard"):
        take(divided, "1/4")
    whole = take(divided)
    whole.close_shards()
    whole.release()
    assert take(divided, "1/4").fence == 1


def test_a_silent_shard_is_taken_over_and_its_late_owner_stopped(divided):
    late = take(divided, "2/3")
    silence(divided, 50)
    with pytest.raises(LeaseError, match=r"on elsewhere, last heartbeat 5\d seconds ago"):
        take(divided, "2/3")
    silence(divided, 61)
    assert take(divided, "2/3").fence == late.fence + 1
    for stop in (late.finish, lambda: divided.database.write(late.check)):
        with pytest.raises(LeaseError, match="taken over this source"):
            stop()
    silence(divided, 61)
    take(divided).release()  # a run over the whole may take over, too: then no late shard writes
    with pytest.raises(LeaseError, match="taken over this source"):
        divided.database.write(leases.Lease(divided.database, divided.source.id, late.fence + 1, late.shard).check)


def test_a_silent_run_over_the_whole_is_stopped_by_a_shard(divided):
    whole = take(divided)
    set_lease(divided, silent=61)
    take(divided, "1/2")
    with pytest.raises(LeaseError, match="taken over this source"):
        divided.database.write(whole.check)


def test_only_the_last_shard_is_told_that_all_are_done(divided):
    begun = divided.run.id
    first, second = take(divided, "1/2"), take(divided, "2/2")
    assert first.finish() is None
    first.release()
    divided.run = open_run(divided.database, command="tag", options={}, device="cpu")
    again = take(divided, "1/2")  # it is not done any more, and it had begun before
    assert second.finish() is None
    assert again.finish() == begun
    again.release()
    second.release()


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "1", "a/b", "-1/4", "1/2/3", "1/5000", "\u00b2/8"])
def test_what_is_no_shard_is_an_error(text):
    with pytest.raises(UsageError, match="--shard"):
        Shard.parse(text)


def test_each_key_is_in_one_shard():
    shards = [Shard(number, 7) for number in range(1, 8)]
    counts = [sum(shard.has(key_hash(f"k{n}")) for n in range(700)) for shard in shards]
    assert sum(counts) == 700
    assert min(counts) > 50
