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
    for _ in range(20):
        watch = Stopwatch()
        begun = time.monotonic()
        with watch.stage("outer"):
            time.sleep(0.05)
            with watch.stage("inner"):
                time.sleep(0.1)
            time.sleep(0.05)
        took = time.monotonic() - begun
        # Other processes may come between two looks at the clock, but not each time.
        if is_same := sum(watch.seconds.values()) == pytest.approx(took, abs=0.005):
            break
    assert is_same
    assert watch.seconds["inner"] >= 0.1
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
    watch = Stopwatch()

    def slow():
        for number in range(3):
            time.sleep(0.03)
            yield number

    with watch.stage("all"):
        assert [2 * n for n in watch.over("doubling", (n for n in watch.over("counting", slow())))] == [0, 2, 4]
    assert watch.seconds["counting"] >= 0.09
    assert watch.seconds["doubling"] < 0.03


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
    with watch.stage("next"):
        pass
    assert watch.seconds["failing"] >= 0.02 > watch.seconds["next"]
