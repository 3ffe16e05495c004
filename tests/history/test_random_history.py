"""Random histories: sync, people's edits, other models, undo, kill, prune, in any order, against a small model.

The reference keeps every run's own results and writes in plain Python and works out what is current by going
through the effective runs. The real program works on a real database; only the model's answers are made up, so that
every example has others. After each step the shop's table, the views and the runs must agree with the reference.

`make test-long` tries more histories; CATALOGER_TEST_EXAMPLES=200 so many, and other ones each time.
"""

import math
import os
import signal
from collections import Counter
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from by_url import open_database, parsed
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from cataloger.db.reflection import TableName
from cataloger.engine import SourceSession, SyncReport, pipeline
from cataloger.engine.executors import local
from cataloger.engine.job import Job
from cataloger.engine.job_report import JobOptions
from cataloger.errors import EditedError, UsageError
from cataloger.history import prune, undo, undo_cells
from cataloger.hooks import Hooks
from cataloger.inference.backend import Engine
from cataloger.inference.classifier import Scores
from cataloger.ledger import presence, product_results
from cataloger.model.calibration import Calibration
from cataloger.options import PreprocessSpec, RunOptions, WriteOptions
from cataloger.records import Failure, Image, Item
from cataloger.schema.models import Base
from cataloger.table_options import TableOptions
from cataloger.utils import failpoints
from cataloger.writeback import writer
from cataloger.writeback.preflight import PossibleAnswers, WriteCheck

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("CATALOGER_TEST_EXAMPLES", "0"))
NUMBERS = [pytest.param(5, id="some"), pytest.param(40, id="many", marks=pytest.mark.long)]
LABELS = ("Dress", "Hat", "Sock")
MODELS = {name: SimpleNamespace(shift=shift, weights_id=name * 64) for shift, name in enumerate("ab")}
# What the first, second and third image of a product gives its label: no two of them are level.
CERTAINTY = {"a": 0.8, "b": 0.76, "c": 0.7}
KEYS = ("p0/a", "p0/b", "p0/c", "p1/a", "p2/a", "p3/a")
PRODUCTS = ("p0", "p1", "p2", "p3")
CORRUPT, UNREACHABLE = -1, -2


# The real program, over made-up photos


@dataclass
class Photos:
    """A source in memory. shown: key -> (what the photo shows, version)."""

    shown: dict
    kind = "table"
    root = "shop"
    prefix = ""
    within = None
    is_complete = True
    problems = ()
    without_image = 0
    sample = None
    uncertain_queries = 0
    left_out: Counter = field(default_factory=Counter)

    def can_be_missing(self, key):
        return True

    def is_excluded(self, key):
        return False

    def scan(self):
        for key in sorted(self.shown):
            yield Item(key, f"products/{key}", f"v{self.shown[key][1]}", product_key=key.partition("/")[0])

    def count(self):
        return None

    def require_root(self):
        pass

    def nothing_found(self):
        return "nothing found"


class Classifier:
    """Answers what a photo shows, in the labels of its model: its pixels encode the label and the certainty."""

    labels = LABELS
    calibration = Calibration()
    device = "cpu"

    def __init__(self, bundle):
        self.shift = bundle.shift

    def scores(self, pixels):
        rows = []
        for label, certainty in pixels[:, 0, 0, :2]:
            probabilities = np.full(3, (1 - certainty / 100) / 2)
            probabilities[(label + self.shift) % 3] = certainty / 100
            rows.append(np.log(probabilities))
        return Scores(np.array(rows, np.float32))

    def close(self):
        """Hold nothing that could be given back."""


@dataclass(frozen=True)
class Model:
    """What a session asks of a bundle."""

    name: str
    shift: int
    weights_id: str
    version: str = "1"
    path: Path = Path("/m")
    labels: tuple[str, ...] = LABELS
    precision: str = "fp32"
    calibration: Calibration = Classifier.calibration
    preprocess: PreprocessSpec = field(default_factory=PreprocessSpec)

    @property
    def title(self):
        return self.name

    @property
    def reference(self):
        return f"{self.name}@{self.version}"

    @property
    def calibration_id(self):
        return self.calibration.calibration_id


class MadeUpEngine(Engine):
    """The real engine, which opens a model of our own."""

    batch_size = 2

    def bundle(self, bundle, precision):
        return bundle

    def open(self, bundle):
        return Classifier(bundle)


class Shop(Job):
    """The real job, with a model of our own."""

    def __init__(self, url, model, hooks):
        super().__init__(JobOptions("sync", {}, parsed(url), model="default", run=RunOptions()), hooks, SyncReport)
        self.engine = MadeUpEngine("onnxruntime", "cpu")
        self.default = Model(model, MODELS[model].shift, MODELS[model].weights_id)

    def session(self, database, source):
        return Decoded(self._context(), database, source)


class Decoded(SourceSession):
    """The real session, with photos that need no decoding."""

    def _decoder(self, pool, shared=None, *, remote=None):
        return lambda items: (self.decoded(item) for item in items)

    def decoded(self, item):
        shows, _ = self.source.shown[item.key]
        content = f"{shows + 2}" * 64
        if shows == UNREACHABLE:
            return Failure(item, "fetch.timeout", "no answer")
        if shows == CORRUPT:
            return Failure(item, "decode.corrupt", "not an image", content)
        pixels = np.zeros((4, 4, 3), np.uint8)
        pixels[0, 0, :2] = shows, round(CERTAINTY[item.key[-1]] * 100)
        return Image(item, content, pixels, 4, 4)


def sync(url, photos, model, options):
    """Do what `cataloger sync --write category=label_1` does after it has opened everything."""
    job = Shop(url, model, Hooks())
    with closing(open_database(url)) as database:
        table = TableOptions("products", ("sku",), "photo")
        check = WriteCheck(database, TableName("products"), table, options)
        answers = PossibleAnswers(LABELS, {}, 5)
        check.check_table(answers)
        plan = check.plan(answers)
        with job.running(database) as run:
            job.session(database, photos).process(run, None, [plan])
    return job.report


def killed(action, point, times):
    """Do something in a child that kills itself when it gets to a point so many times; return whether it did."""
    passed = []

    def check():
        passed.append(point)
        if len(passed) == times:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        status = 1
        try:
            failpoints.set_action(point, check)
            action()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


# The reference


@dataclass
class Past:
    """A run, as the reference knows it. results: key -> (shows, version). marks: key -> whether it was missing.

    writes: the cells that it wrote, as (product, old, new).
    """

    model: str | None
    results: dict = field(default_factory=dict)
    marks: dict = field(default_factory=dict)
    undoes: int | None = None
    undone_by: int | None = None
    pruned: bool = False


@dataclass(frozen=True)
class Wrote:
    run: int
    old: str | None
    new: str | None
    restores: bool


class Reference:
    """The shop and its history in plain Python."""

    def __init__(self, only_null):
        self.only_null = only_null
        self.photos = {}
        self.table = dict.fromkeys(PRODUCTS)
        self.runs = {}
        self.cells = {product: [] for product in PRODUCTS}
        self.known = set()

    def counting(self):
        return [(number, run) for number, run in sorted(self.runs.items()) if run.undone_by is None]

    def pinned(self):
        models = [run.model for _, run in self.counting() if run.model is not None]
        return models[-1] if models else None

    def current(self, key, model):
        """Return the current result of an image and its newest result, each as (shows, version), or None twice."""
        current = newest = None
        for _, run in self.counting():
            if run.model != model or key not in run.results:
                continue
            newest = run.results[key]
            is_good = current is not None and current[0] >= 0
            if not (is_good and newest[0] == UNREACHABLE):
                current = newest
        return current, newest

    def is_gone(self, key):
        marks = [run.marks[key] for _, run in self.counting() if key in run.marks]
        return bool(marks) and marks[-1]

    def label(self, key, model):
        """Return the current answer of an image in the views: a label, "failed", or None."""
        current, _ = self.current(key, model)
        if current is None or self.is_gone(key):
            return None
        return LABELS[(current[0] + MODELS[model].shift) % 3] if current[0] >= 0 else "failed"

    def product(self, product, model):
        """Return the label with the largest product of the probabilities of all images."""
        found = [(key[-1], self.label(key, model)) for key in KEYS if key.startswith(product)]
        found = [(image, label) for image, label in found if label not in (None, "failed")]
        if not found:
            return None

        def weight(label):
            return math.prod(CERTAINTY[i] if label == seen else (1 - CERTAINTY[i]) / 2 for i, seen in found)

        return max(LABELS, key=weight)

    def to_do(self, model):
        """Return the keys that a run has a reason to do."""
        wanted = []
        for key, (_, version) in sorted(self.photos.items()):
            _, newest = self.current(key, model)
            if newest is None or newest[0] == UNREACHABLE or newest[1] != version:
                wanted.append(key)
        return wanted

    def sync(self, number, model, done, is_complete):
        """Record a run that has done these keys."""
        restored = {key for key in self.photos if key in self.known and self.is_gone(key)}
        missing = {key for key in self.known if key not in self.photos and not self.is_gone(key)}
        run = self.runs[number] = Past(model)
        run.results = {key: self.photos[key] for key in done}
        run.marks = dict.fromkeys(restored if is_complete else restored.intersection(done), False)
        if is_complete:
            run.marks |= dict.fromkeys(missing, True)
        self.known.update(done)
        touched = PRODUCTS if is_complete else sorted({key.partition("/")[0] for key in done})
        for product in touched:
            self.write(number, product, self.product(product, model))

    def write(self, number, product, wanted):
        present, writes = self.table[product], self.cells[product]
        if wanted is None or present == wanted or (writes and present != writes[-1].new):
            return
        is_ours = bool(writes) and not writes[-1].restores
        if not (self.only_null and present is not None and not is_ours):
            writes.append(Wrote(number, present, wanted, False))
            self.table[product] = wanted

    def base(self, number):
        while self.runs[number].undoes is not None:
            number = self.runs[number].undoes
        return number

    def target(self, product, base, *, is_undone):
        """Return the value that a cell is to get, and whether it is the shop's own."""
        for wrote in reversed(self.cells[product]):
            run = self.runs[wrote.run]
            counts = not is_undone if wrote.run == base else run.undone_by is None and run.undoes is None
            if run.pruned or counts:
                return wrote.new, wrote.restores
        return self.cells[product][0].old, True

    def to_restore(self, base, *, is_undone):
        """Return product -> (value, whether it is the shop's own) for what a run wrote, and what was edited."""
        restore, edited = {}, []
        for product, writes in self.cells.items():
            if not any(wrote.run == base for wrote in writes):
                continue
            value, restores = self.target(product, base, is_undone=is_undone)
            if value == writes[-1].new:
                continue
            if self.table[product] == writes[-1].new:
                restore[product] = (value, restores)
            else:
                edited.append(product)
        return restore, edited

    def undo(self, number, target, restore):
        self.runs[number] = Past(None, undoes=target)
        chain = [number]
        while (below := self.runs[chain[-1]].undoes) is not None:
            chain.append(below)
        for position, each in enumerate(chain):
            self.runs[each].undone_by = chain[position - 1] if position % 2 else None
        for product, (value, restores) in restore.items():
            self.cells[product].append(Wrote(number, self.table[product], value, restores))
            self.table[product] = value

    def prune(self, keep):
        tagging = sorted(number for number, run in self.runs.items() if run.model is not None)
        if len(tagging) < keep:
            return
        first, needed = tagging[-keep], set()
        for number in sorted(self.runs, reverse=True):
            if (number >= first or number in needed) and self.runs[number].undoes is not None:
                needed.add(self.runs[number].undoes)
        for number, run in self.runs.items():
            run.pruned = run.pruned or (number < first and number not in needed)
        for product, writes in self.cells.items():
            old = [wrote for wrote in writes if self.runs[wrote.run].pruned]
            self.cells[product] = [wrote for wrote in writes if wrote not in old[:-1]]


class History(RuleBasedStateMachine):
    """Does each step with the program and with the reference."""

    url = ""

    @initialize(
        only_null=st.booleans(), values=st.lists(st.sampled_from([None, "Hat", "own"]), min_size=4, max_size=4)
    )
    def start(self, only_null, values):
        self.options = WriteOptions((("category", "label_1"),), only_null=only_null, overwrite=not only_null)
        self.reference = Reference(only_null)
        self.version = 0
        with self.database.begin() as connection:
            for table in reversed(Base.metadata.sorted_tables):
                connection.execute(table.delete())
            connection.execute(text("DELETE FROM products"))
            rows = [{"sku": sku, "category": value} for sku, value in zip(PRODUCTS, values, strict=True)]
            connection.execute(text("INSERT INTO products (sku, category) VALUES (:sku, :category)"), rows)
        self.reference.table = dict(zip(PRODUCTS, values, strict=True))
        for key in KEYS:
            self.show(key, 0)

    @rule(key=st.sampled_from(KEYS), shows=st.sampled_from([0, 1, 2, CORRUPT, UNREACHABLE]))
    def show(self, key, shows):
        """A photo is taken, exchanged, or saved again as it was."""
        self.version += 1
        self.reference.photos[key] = (shows, self.version)

    @rule(key=st.sampled_from(KEYS[1:]))  # an empty shop is an error
    def remove(self, key):
        self.reference.photos.pop(key, None)

    @rule(product=st.sampled_from(PRODUCTS), value=st.sampled_from([None, "Hat", "mine"]))
    def edit(self, product, value):
        with self.database.begin() as connection:
            values = {"sku": product, "value": value}
            connection.execute(text("UPDATE products SET category = :value WHERE sku = :sku"), values)
        self.reference.table[product] = value

    @rule(model=st.sampled_from("aab"))
    def sync(self, model):
        expected = self.reference.to_do(model)
        report = sync(self.url, Photos(dict(self.reference.photos)), model, self.options)
        assert report.run.attempted == len(expected)
        self.reference.sync(report.run_id, model, expected, is_complete=True)

    @rule(
        model=st.sampled_from("ab"),
        point=st.sampled_from(["before_commit", "after_commit", "before_close"]),
        times=st.integers(1, 2),
    )
    def sync_and_kill(self, model, point, times):
        expected = self.reference.to_do(model)
        photos = Photos(dict(self.reference.photos))
        was_killed = killed(lambda: sync(self.url, photos, model, self.options), point, times)
        ((number,),) = self.rows("SELECT MAX(id) FROM cataloger_run")
        query = f"SELECT i.{self.quoted('key')} FROM cataloger_result r JOIN cataloger_item i ON i.id = r.item_id "
        done = [key for (key,) in self.rows(f"{query} WHERE r.run_id = {number}")]
        # How far it got is its own affair; a failure does not wait for the batch of its neighbours.
        assert len(set(done)) == len(done)
        assert set(done) <= set(expected)
        is_complete = not was_killed or point == "before_close"
        assert not is_complete or len(done) == len(expected)
        self.reference.sync(number, model, done, is_complete=is_complete)

    @precondition(lambda self: self.reference.runs)
    @rule(place=st.integers(0, 20), skip_edited=st.booleans())
    def undo(self, place, skip_edited):
        target = self.run_at(place)
        self.check_undo(
            target, skip_edited, lambda: undo.undo_run(self.database, target, skip_edited=skip_edited).run_id
        )

    @precondition(lambda self: self.reference.runs)
    @rule(place=st.integers(0, 20), times=st.integers(1, 3))
    def undo_and_kill(self, place, times):
        target = self.run_at(place)

        def twice():
            def once():
                with closing(open_database(self.url)) as database:
                    undo.undo_run(database, target, skip_edited=True)

            if killed(once, "after_commit", times):
                return undo.undo_run(self.database, target, skip_edited=True).run_id
            return self.rows("SELECT MAX(id) FROM cataloger_run")[0][0]

        self.check_undo(target, True, twice)

    def run_at(self, place):
        """Return one of the runs, counted from the last one: their numbers are others in each example."""
        runs = sorted(self.reference.runs, reverse=True)
        return runs[place % len(runs)]

    def _undo(self, number):
        return undo.undo_run(self.database, number, skip_edited=True).run_id

    def check_undo(self, target, skip_edited, action):
        reference = self.reference
        chain = [target]
        while (below := reference.runs[chain[-1]].undoes) is not None:
            chain.append(below)
        if any(reference.runs[each].pruned for each in chain) or reference.runs[target].undone_by is not None:
            with pytest.raises(UsageError):
                undo.undo_run(self.database, target, skip_edited=skip_edited)
            return
        restore, edited = reference.to_restore(chain[-1], is_undone=len(chain) % 2 == 1)
        if edited and not skip_edited:
            with pytest.raises(EditedError, match=edited[0]):
                action()
            return
        reference.undo(action(), target, restore)

    @rule(keep=st.integers(1, 4))
    def prune(self, keep):
        prune.prune_runs(self.database, keep)
        self.reference.prune(keep)

    @invariant()
    def agree(self):
        reference = getattr(self, "reference", None)
        if reference is None:
            return
        assert dict(self.rows("SELECT sku, category FROM products")) == reference.table
        model = reference.pinned()
        labels = {key: reference.label(key, model) for key in KEYS if model}
        columns = f"v.{self.quoted('key')}, v.status, v.label_1"
        seen = {
            key: label or status for key, status, label in self.rows(f"SELECT {columns} FROM cataloger_image_top5 v")
        }
        assert seen == {key: label for key, label in labels.items() if label}
        products = {product: reference.product(product, model) for product in PRODUCTS if model}
        found = dict(self.rows("SELECT product_key, label_1 FROM cataloger_product_top5"))
        assert found == {product: label for product, label in products.items() if label}
        runs = dict(self.rows("SELECT id, undone_by_id FROM cataloger_run WHERE command <> 'prune'"))
        assert {number: runs[number] for number in reference.runs} == {
            number: run.undone_by for number, run in reference.runs.items()
        }

    def rows(self, query):
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    def quoted(self, name):
        return self.database.engine.dialect.identifier_preparer.quote_identifier(name)

    def teardown(self):
        """In the end take everything back: what nobody has edited is as it was before cataloger came."""
        reference = getattr(self, "reference", None)
        if reference is None:
            return
        for number, run in sorted(reference.runs.items(), reverse=True):
            if run.model is not None and run.undone_by is None and not run.pruned:
                self.check_undo(number, True, partial(self._undo, number))
        self.agree()


SIZES = (
    (presence, "ITEMS_PER_READ"),
    (product_results, "PRODUCTS_PER_STATEMENT"),
    (prune, "PAGE"),
    (undo_cells, "PRODUCTS_PER_READ"),
    (undo, "PAGE"),
    (writer, "PRODUCTS_PER_STATEMENT"),
)


@pytest.fixture
def database(url, monkeypatch):
    """A database with our tables and the shop's, on each engine; everything goes in pages of two or three."""
    monkeypatch.setattr(local, "DecodePool", lambda *_, **__: nullcontext())
    monkeypatch.setattr(pipeline, "WRITE_EVERY_RESULTS", 2)
    for module, name in SIZES:
        monkeypatch.setattr(module, name, 2)
    monkeypatch.setattr(writer, "PRODUCTS_PER_TRANSACTION", 3)
    with closing(open_database(url)) as database:
        with database.begin() as connection:
            photo = "sku VARCHAR(20) PRIMARY KEY, photo VARCHAR(20), category VARCHAR(20)"
            connection.execute(text(f"CREATE TABLE products ({photo})"))
        yield database


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "examples", [pytest.param(5, id="some"), pytest.param(40, id="many", marks=pytest.mark.long)]
)
def test_any_history_leaves_what_the_reference_says(database, url, examples):
    class OfThisEngine(History):
        pass

    OfThisEngine.url, OfThisEngine.database = url, database
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        OfThisEngine,
        settings=settings(
            max_examples=EXAMPLES or examples,
            stateful_step_count=16,
            deadline=None,
            derandomize=not EXAMPLES,
            suppress_health_check=checks,
            database=None,
        ),
    )
