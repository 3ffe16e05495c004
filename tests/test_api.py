"""The Python API as a notebook, a script and a scheduler use it: what it gives, and that its host stays as it was."""

import asyncio
import logging
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

import cataloger
from cataloger.db import DatabaseURL
from cataloger.utils import malloc

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
HEAVY = ("torch", "onnxruntime", "sqlalchemy", "alembic", "numpy", "PIL", "httpx", "typer", "ray", "obstore")
HEAVY += ("cataloger.api",)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("sunglasses.png", "t-shirt-black.png", "winter-hat.png"):
        shutil.copy(EXAMPLES / "images" / name, folder)
    return folder


@pytest.fixture
def db(tmp_path):
    return f"sqlite:///{tmp_path}/catalog.db"


def test_the_import_loads_nothing_heavy():
    code = f"import sys, cataloger; print(*(set({HEAVY!r}) & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.split() == []


def test_the_tagger_loads_no_database():
    code = "import sys, cataloger; cataloger.Tagger; print('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"False\n"


def test_every_name_is_there_and_listed():
    assert set(cataloger.__all__) <= set(dir(cataloger))
    assert all(getattr(cataloger, name) is not None for name in cataloger.__all__)
    lazy = {name for names in cataloger._HOMES.values() for name in names}
    assert lazy | {"__version__"} == set(cataloger.__all__)
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        cataloger.nothing_of_the_kind  # noqa: B018


def test_a_folder_is_tagged_and_progress_is_told(photos, db, tmp_path):
    told = []
    report = cataloger.tag([photos], db=db, output=tmp_path / "out.jsonl", on_progress=told.append)
    assert type(report) is cataloger.TagReport
    assert (report.run_id, report.run.done, report.exit_status) == (1, 3, 0)
    assert (told[-1].done, told[-1].failed, told[-1].skipped) == (3, 0, 0)
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 3
    again = cataloger.tag(str(photos), db=db)
    assert sum(again.run.skipped.values()) == 3


def test_a_dry_run_and_options_as_one_value(photos, db):
    report = cataloger.tag(photos, db=db, run=cataloger.RunOptions(dry_run=True))
    assert (report.run_id, report.plan()) == (None, {"new": 3})
    assert "dry_run=True" in repr(report)
    options = cataloger.TagOptions((str(photos),), db=DatabaseURL.parse(db))
    assert cataloger.tag(options).run.done == 3
    with pytest.raises(cataloger.CatalogerError, match="TagOptions"):
        cataloger.tag(options, db=db)


def test_a_report_shows_as_an_escaped_table(photos, db):
    (photos / "a.png").write_bytes(b"<html>")
    report = cataloger.tag(photos, db=db)
    report.warnings.append("<script>")
    html = report._repr_html_()
    assert "<th>decode.not_image</th><td>1</td>" in html
    decided = [int(n) for n in re.findall(r"<th>(?:accept|review|abstain)</th><td>(\d+)</td>", html)]
    assert (len(decided), sum(decided)) == (3, 3)
    assert "&lt;script&gt;" in html
    assert "<script>" not in html
    assert repr(report).startswith("TagReport(run_id=1, done=3, failed=1, skipped=0")


def test_a_run_can_be_stopped(photos, db):
    stop = threading.Event()
    stop.set()
    assert cataloger.tag(photos, db=db, stop=stop).run.interrupted


def test_errors_are_of_one_tree(tmp_path, db):
    for call in (
        lambda: cataloger.tag([], db=db),
        lambda: cataloger.tag(tmp_path / "none", db=db),
        lambda: cataloger.tag(tmp_path, db="nonsense"),
        lambda: cataloger.sync(),
        lambda: cataloger.sync(
            db=f"sqlite:///{tmp_path}/no.db", table=cataloger.ProductTable("p", id="i", image="x")
        ),
        lambda: cataloger.ProductTable("products", id=(), image="photo"),
        lambda: cataloger.ImageQuery("SELECT 1", image_list="x"),
        lambda: cataloger.open_catalog(f"sqlite:///{tmp_path}/none.db"),
    ):
        with pytest.raises(cataloger.CatalogerError):
            call()


def test_a_table_is_synced_and_written_back(photos, tmp_path):
    url = f"sqlite:///{tmp_path}/shop.db"
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE products (sku TEXT PRIMARY KEY, image TEXT, category TEXT)"))
        connection.execute(text("INSERT INTO products VALUES ('S1', 'sunglasses.png', NULL)"))
    engine.dispose()
    subprocess.run([sys.executable, "-m", "cataloger", "db", "upgrade", "--db", url], check=True, capture_output=True)
    table = cataloger.ProductTable("products", id="sku", image="image", image_root=photos)
    report = cataloger.sync(db=url, table=table, write={"category": "label_1"})
    assert type(report) is cataloger.SyncReport
    assert (report.run.done, report.writes.written) == (1, {"category": 1})
    query = cataloger.ImageQuery("SELECT sku AS product_id, image FROM products", image_root=photos)
    assert cataloger.sync(db=url, table=query, run=cataloger.RunOptions(dry_run=True)).plan() == {"new": 1}
    with cataloger.open_catalog(url) as catalog:
        (result,) = catalog.results()
        assert (result.product_key, result.labels[0]) == ("S1", "Sunglasses")
        catalog.undo(report.run_id)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT category FROM products")) is None
    engine.dispose()


def test_a_catalog_is_looked_at_and_corrected(photos, db):
    first, second = (cataloger.tag(photos, db=db, run=cataloger.RunOptions(force=True)) for _ in range(2))
    with cataloger.open_catalog(db) as catalog:
        results = {result.key: result for result in catalog.results(str(photos))}
        hat = results["winter-hat.png"]
        assert len(results) == 3
        assert (hat.labels[0], len(hat.labels), len(hat.confidences), hat.corrected_by) == ("Hat", 5, 5, None)
        assert hat.tagged_at.utcoffset().total_seconds() == 0
        assert list(catalog.results("elsewhere")) == []
        assert [run.id for run in catalog.runs()] == [2, 1]
        assert len(catalog.runs(1)) == 1
        assert catalog.diff(first.run_id, second.run_id).parts["image"].changes["same"] == 3
        assert not catalog.check().drifted
        assert catalog.correct("winter-hat.png", "Scarf", author="Ann").status == "saved"
        assert catalog.correct(hat.uri, "Socks", author="Bea", note="look").by == "Bea"
        corrected = next(each for each in catalog.results() if each.key == hat.key)
        assert (corrected.labels[0], corrected.corrected_by) == ("Socks", "Bea")
        assert catalog.correct(hat.key, not_product=True, author="Ann").verdict == "not_product"
        catalog.correct(hat.key, withdrawn=True, author="Ann")
        assert next(each for each in catalog.results() if each.key == hat.key).labels == hat.labels
        catalog.undo(second.run_id)
        assert {each.run_id for each in catalog.results()} == {first.run_id}


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        ("none.png", {"label": "Hat"}, "no image"),
        ("winter-hat.png", {"label": "Hatt"}, "nobody knows"),
        ("winter-hat.png", {"label": ""}, "the label is empty"),
        ("winter-hat.png", {"label": " \n", "new_label": True}, "the label is empty"),
        ("winter-hat.png", {}, "not_product=True"),
        ("winter-hat.png", {"label": "Hat", "withdrawn": True}, "withdrawn=True"),
        ("winter-hat.png", {"label": "Hat", "source": "elsewhere"}, "no source"),
    ],
)
def test_a_wrong_correction_is_refused(image, options, message, photos, db):
    cataloger.tag(photos, db=db)
    with cataloger.open_catalog(db) as catalog:
        with pytest.raises(cataloger.CatalogerError, match=message):
            catalog.correct(image, author="Ann", **options)
        assert all(each.corrected_by is None for each in catalog.results())
    with pytest.raises(cataloger.CatalogerError, match="closed"):
        catalog.runs()


def host():
    """Return what a library may not change of its process."""
    root, own = logging.getLogger(), logging.getLogger("cataloger")
    children = [path.read_text().split() for path in Path("/proc/self/task").glob("*/children")]
    return {
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "policy": (os.sched_getscheduler(0), os.nice(0)),
        "environment": dict(os.environ),
        "logging": [(list(each.handlers), each.level, each.propagate, list(each.filters)) for each in (root, own)],
        "raise exceptions": logging.raiseExceptions,
        "children": sorted(child for found in children for child in found),
        "folder": Path.cwd(),
    }


@pytest.mark.usefixtures("started_decoders")
def test_the_host_stays_as_it_was(photos, db, monkeypatch):
    def set_parameters(*_arguments):
        raise AssertionError("the allocator belongs to the host")

    monkeypatch.setattr(malloc, "_set", set_parameters)
    with pytest.raises(AssertionError):  # so the command line, which does set them, would be noticed
        malloc.reuse_buffers()
    before = host()

    def work():
        name = threading.current_thread().name
        cataloger.tag(photos, db=f"{db}.{name}")
        list(cataloger.Tagger(device="cpu").predict(photos.iterdir()))
        with cataloger.open_catalog(f"{db}.{name}") as catalog:
            list(catalog.results())
        with pytest.raises(cataloger.CatalogerError):
            cataloger.tag(photos / "none", db=db)

    async def loop():
        work()
        await asyncio.to_thread(work)

    def fail(_progress):
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        cataloger.tag(photos, db=db, on_progress=fail)
    work()
    with ThreadPoolExecutor(2) as executor:
        for future in [executor.submit(work) for _ in range(2)]:
            future.result()
    with ThreadPoolExecutor(1) as executor:  # a browser of other tests may have a loop in this thread
        executor.submit(lambda: asyncio.run(loop())).result()
    assert host() == before


def test_the_page_is_run_as_a_notebook(tmp_path, monkeypatch, capsys):
    """Twenty images without a database and with one."""
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "how-to" / "python.md").read_text()
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        exec(compile(block, "python.md", "exec"), names)
    printed = capsys.readouterr().out
    assert len(re.findall(r"^examples/images/\S+ \D+ [01]\.\d+$", printed, re.MULTILINE)) == 20
    assert "Progress(done=20, failed=0, skipped=0, total=" in printed
    assert names["report"].run.done == 20


def test_the_shop_is_synced_from_python(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / "shop" / "run.py"))["main"]("sqlite:///shop.db")
    report = runpy.run_path(str(EXAMPLES / "shop" / "api.py"))["main"]("sqlite:///shop.db")
    assert (report.run.done, sum(report.run.skipped.values()) > 0) == (0, True)
    assert "accept" in capfd.readouterr().out


def test_the_tasks_of_airflow_run_as_plain_python(photos, db, monkeypatch):
    monkeypatch.setenv("CATALOG_PHOTOS", str(photos))
    monkeypatch.setenv("CATALOG_DB", db)
    example = runpy.run_path(str(EXAMPLES / "airflow_dag.py"))
    assert "nothing to compare with yet" in example["main"]()
    (photos / "broken.png").write_bytes(b"x")
    with pytest.raises(RuntimeError, match="1 of 1 images failed"):
        example["tag_photos"](str(photos), db)
