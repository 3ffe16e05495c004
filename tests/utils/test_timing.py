"""Where time goes: stages inside stages, other threads, and a stage that fails."""

import threading
import time

import pytest

from cataloger.utils.timing import BRIEF, Stopwatch


def burn(seconds):
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_a_stage_inside_another_counts_for_itself_alone():
    watch = Stopwatch()
    times = [time.monotonic()]

    def look(seconds=0.0):
        time.sleep(seconds)
        times.append(time.monotonic())

    with watch.stage("outer"):
        look()
        look(0.05)
        with watch.stage("inner"):
            look()
            look(0.1)
        look()
        look(0.05)
    look()
    # Other processes may come between two looks at the clock: what the stages have is between what we know.
    begun, outer, inner_begins, inner, inner_ends, after, outer_ends, ended = times
    assert inner_ends - inner <= watch.seconds["inner"] <= after - inner_begins
    assert outer_ends - outer <= sum(watch.seconds.values()) <= ended - begun
    assert watch.seconds["outer"] >= 0.1


def test_waiting_costs_no_processor_time_and_working_does():
    watch = Stopwatch()
    with watch.stage("waiting"):
        time.sleep(0.05)
    with watch.stage("working"):
        burn(0.05)
    assert watch.cpu["working"] >= 0.05 - 2 * BRIEF
    assert watch.cpu["waiting"] < 0.05


def test_moments_too_short_to_be_measured_count_as_work():
    watch = Stopwatch()
    with watch.stage("outer"):
        for _ in range(2000):
            with watch.stage("inner"):
                burn(10e-6)
        time.sleep(0.05)  # whatever was assumed wrongly is put right by now
    assert watch.cpu["inner"] >= 0.02
    assert watch.cpu["outer"] < watch.seconds["outer"] - 0.04


def test_what_an_iterator_pulls_from_another_one_is_the_others():
    watch, counted = Stopwatch(), []

    def slow():
        for number in range(3):
            begun = time.monotonic()
            time.sleep(0.03)
            counted.append(time.monotonic() - begun)
            yield number

    begun = time.monotonic()
    with watch.stage("all"):
        assert [2 * n for n in watch.over("doubling", (n for n in watch.over("counting", slow())))] == [0, 2, 4]
    took = time.monotonic() - begun
    assert watch.seconds["counting"] >= sum(counted) >= 0.09
    assert watch.seconds["doubling"] <= took - sum(counted)


def test_processor_time_of_other_threads_is_added():
    watch = Stopwatch()
    threads = [threading.Thread(target=watch.apart, args=("work", lambda: burn(0.03))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert watch.cpu["work"] >= 0.09
    assert not watch.seconds


def test_a_stage_that_fails_counts_and_does_not_stay_open():
    watch = Stopwatch()

    def fail():
        time.sleep(0.02)
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"), watch.stage("failing"):
        fail()
    begun = time.monotonic()
    with watch.stage("next"):
        pass
    assert watch.seconds["failing"] >= 0.02
    assert watch.seconds["next"] <= time.monotonic() - begun
