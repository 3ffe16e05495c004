"""What becomes of inputs that are handed to workers, whatever becomes of these. No Ray: the fleet is simulated."""

import itertools
import threading
from collections import Counter, deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cataloger.engine.executors import dispatch as module
from cataloger.engine.executors.dispatch import Answer, Dispatch, Lost, Member
from cataloger.errors import ClusterError
from cataloger.hooks import ignore
from cataloger.records import Failure, Item, Prediction
from cataloger.utils import Stopwatch


def item(number, folder="photos", url=None):
    path = None if url else f"/{folder}/{number}.jpg".encode()
    return Item(f"{folder}/{number}", str(number), "v", path, url=url)


def prediction(subject):
    return Prediction(subject, "0" * 64, 1, 1, ("Shirt",), (0.9,), (1.0,), 1.0)


def missing(subject):
    return Failure(subject, "io.missing", "the file does not exist")


class Fleet:
    """Machines with a worker each. do(machine, items): their results; None where the worker ends; a str, its error.

    room: machines that a worker can be started on, in this order; a lost worker's machine comes back at its end.
    """

    def __init__(self, machines, do, *, comes_back=True):
        self.members = []
        self.is_starting = False
        self.problem = ""
        self.room = deque(machines)
        self.do = do
        self.calls = deque()
        self.sizes = []
        self.losses = 0
        self.comes_back = comes_back

    def refresh(self, *, grow):
        while grow and self.room:
            self.members.append(Member(self.room.popleft()))

    def give(self, member, inputs):
        assert len(member.in_flight) <= module.IN_FLIGHT
        self.sizes.append(len(inputs))
        self.calls.append((member, list(inputs)))

    def wait(self, seconds):
        if not self.calls:
            return []
        member, inputs = self.calls.popleft()
        found = self.do(member.machine, inputs)
        if isinstance(found, list):
            return [Answer(member, found)]
        self.losses += 1
        self.members.remove(member)
        self.calls = deque(call for call in self.calls if call[0] is not member)
        if self.comes_back:
            self.room.append(member.machine)
        return [Lost(member, found or "killed", is_reported=found is not None)]


def answers(machine, inputs):
    return [prediction(each) for each in inputs]


def run(fleet, items, on_image=ignore, **how):
    dispatch = Dispatch(fleet, how.pop("stop", threading.Event()), Stopwatch(), **how)
    results = [result for some in dispatch.run(iter(items), on_image) for result in some]
    counted = Counter(result.item.key for result in results)
    assert set(counted.values()) <= {1}
    return results


def test_chunks_are_small_at_first_and_no_worker_has_more_than_two():
    fleet, seen = Fleet("ab", answers), []
    results = run(fleet, map(item, range(200)), seen.append)
    assert {result.item.key for result in results} == {item(n).key for n in range(200)}
    assert fleet.sizes == [8] * 4 + [32] * 5 + [8]
    assert len(seen) == 200


def test_no_input_needs_no_answer_and_failures_pass_through():
    assert run(Fleet("a", answers), []) == []
    failures = [Failure(item(n), "source.bad_row", "bad") for n in range(1000)]
    assert run(Fleet("a", answers), failures) == failures


def test_the_inputs_of_a_lost_worker_go_to_another_one():
    deaths = iter([False, True, False, True])

    def do(machine, inputs):
        return None if next(deaths, False) else answers(machine, inputs)

    fleet = Fleet("ab", do)
    results = run(fleet, map(item, range(100)))
    assert len(results) == 100
    assert all(isinstance(result, Prediction) for result in results)
    assert fleet.losses == 2


def test_only_what_ends_four_workers_is_given_up():
    lethal = {"photos/3", "photos/50"}

    def do(machine, inputs):
        return None if any(each.key in lethal for each in inputs) else answers(machine, inputs)

    fleet = Fleet("ab", do)
    results = run(fleet, map(item, range(100)))
    assert len(results) == 100
    assert {r.item.key: r.code for r in results if isinstance(r, Failure)} == dict.fromkeys(lethal, "io.worker_lost")
    assert all(r.is_transient and not r.may_be_outage for r in results if isinstance(r, Failure))
    assert fleet.losses == 8


@pytest.mark.parametrize("machines", ["ab", "ba", "abbb", "bcda"])
def test_a_machine_that_cannot_read_gets_no_more_work(machines):
    def do(machine, inputs):
        return [missing(each) for each in inputs] if machine == "a" else answers(machine, inputs)

    told = []
    results = run(Fleet(machines, do), map(item, range(300)), warn=told.append)
    assert len(results) == 300
    assert all(isinstance(result, Prediction) for result in results)
    assert len(told) == 1
    assert "machine a cannot read" in told[0]


def test_a_machine_that_cannot_read_is_found_even_by_one_that_comes_late():
    late = itertools.count()

    class Growing(Fleet):
        @property
        def is_starting(self):
            return len(self.members) < 2

        @is_starting.setter
        def is_starting(self, value):
            pass

        def refresh(self, *, grow):
            if self.room and (not self.members or next(late) > 20):
                self.members.append(Member(self.room.popleft()))

    def do(machine, inputs):
        return [missing(each) for each in inputs] if machine == "a" else answers(machine, inputs)

    results = run(Growing("ab", do), map(item, range(300)))
    assert len(results) == 300
    assert all(isinstance(result, Prediction) for result in results)


def test_one_folder_that_is_not_mounted_on_one_machine_costs_no_image():
    def do(machine, inputs):
        return [missing(i) if machine == "a" and i.key.startswith("new/") else prediction(i) for i in inputs]

    items = [item(n, folder) for n in range(200) for folder in ("old", "new")]
    results = run(Fleet("ab", do), items)
    assert len(results) == 400
    assert all(isinstance(result, Prediction) for result in results)


@pytest.mark.parametrize("machines", ["a", "aa", "ab", "abcdef"])
@pytest.mark.parametrize("is_all", [True, False])
def test_what_nobody_can_read_is_missing(machines, is_all):
    def do(machine, inputs):
        return [missing(i) if is_all or int(i.uri) % 3 == 0 else prediction(i) for i in inputs]

    told = []
    results = run(Fleet(machines, do), map(item, range(300)), warn=told.append)
    assert len(results) == 300
    assert sum(isinstance(result, Failure) for result in results) == (300 if is_all else 100)
    assert told == []


def test_no_host_is_asked_by_more_workers_than_may():
    busy = []

    class Watched(Fleet):
        def give(self, member, inputs):
            super().give(member, inputs)
            busy.append(sum(bool(each.in_flight) for each in self.members))

    items = [item(n, url=f"https://shop.example/{n}.jpg") for n in range(400)]
    assert len(run(Watched("abcdefgh", answers), items, per_host=3)) == 400
    assert max(busy) == 3


def test_without_any_worker_the_run_ends_with_the_reason(monkeypatch):
    monkeypatch.setattr(module, "NO_WORKER_SECONDS", 0.05)
    fleet = Fleet("a", lambda machine, inputs: None, comes_back=False)
    fleet.problem = "its machine had no memory left"
    with pytest.raises(ClusterError, match=r"no worker for 0.05 seconds: its machine had no memory left"):
        run(fleet, map(item, range(100)))


def test_workers_that_only_report_errors_end_the_run():
    fleet = Fleet("ab", lambda machine, inputs: "model.onnx ended the process that ran it")
    with pytest.raises(ClusterError, match=r"4 workers in a row .* ended the process that ran it"):
        run(fleet, map(item, range(1000)))


def test_after_a_stop_nothing_is_waited_for_that_takes_long(monkeypatch):
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.05)
    stop = threading.Event()

    class Stuck(Fleet):
        def wait(self, seconds):
            stop.set()
            return []

    assert run(Stuck("a", answers), map(item, range(100)), stop=stop) == []


@settings(max_examples=150, deadline=None)
@given(
    machines=st.lists(st.sampled_from("abcd"), min_size=1, max_size=5),
    count=st.integers(0, 150),
    deaths=st.lists(st.integers(0, 40), max_size=8),
    lethal=st.sets(st.integers(0, 149), max_size=3),
    absent=st.sets(st.integers(0, 149), max_size=20),
)
def test_every_input_has_one_result_and_the_right_one(machines, count, deaths, lethal, absent):
    call = itertools.count()

    def do(machine, inputs):
        numbers = {int(each.uri) for each in inputs}
        if next(call) in deaths or numbers & lethal:
            return None
        return [missing(each) if int(each.uri) in absent else prediction(each) for each in inputs]

    results = run(Fleet(machines, do), map(item, range(count)))
    assert len(results) == count
    for result in results:
        number = int(result.item.uri)
        if number in lethal:
            assert result.code == "io.worker_lost"
        elif isinstance(result, Failure):
            # Workers may be killed beside the innocent so often that these are given up, but not by few deaths.
            assert number in absent or (len(deaths) + len(lethal) >= 2 and result.code == "io.worker_lost")
        else:
            assert number not in absent
