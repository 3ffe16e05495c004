"""`--engine ray` on real clusters of this machine: their tables are those of the local engine, whatever ends.

One private cluster is in the ordinary suite; nodes that are killed, join or cannot read are marked long.
"""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from patience import HANGS, wait_until
from PIL import Image as PillowImage

from cataloger.db import DatabaseURL
from cataloger.engine import TagOptions, pipeline, tag_images
from cataloger.engine.executors import dispatch
from cataloger.errors import ClusterError, UsageError
from cataloger.hooks import Hooks
from cataloger.model import default_bundle_path, keep_bundle, read_bundle
from cataloger.options import ClusterOptions, RunOptions

pytest.importorskip("ray")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc")

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "images").glob("*.png"))
RESULTS = """
SELECT image.key, image.status, image.error_code, label_1, label_2, decision, round(confidence_1, 3),
  image.product_key, width, height, hex(content_hash)
FROM cataloger_image_top5 image JOIN cataloger_item item USING (key) JOIN (
  SELECT item_id, width, height, content_hash FROM cataloger_result) result ON result.item_id = item.id
ORDER BY image.key
"""
TOKENS = """
import os, subprocess, sys
from cataloger.engine.executors import ray_cluster
from cataloger.options import ClusterOptions
ASK = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1]).internal_kv_keys(b'', None, 5)"
with ray_cluster.connected(ClusterOptions()):
    import ray
    address = ray.get_runtime_context().gcs_address
    mode = {"RAY_AUTH_MODE": "token"}
    for more in ({}, {**mode, "RAY_AUTH_TOKEN": "0" * 64}, {**mode, "RAY_AUTH_TOKEN": ray_cluster._token()}):
        command = [sys.executable, "-c", ASK, address]
        print(subprocess.run(command, env=os.environ | more, stderr=subprocess.DEVNULL).returncode)
"""
PROGRAM = "from cataloger.cli.app import main; main()"
RIG = """
import os
if os.environ.get("RIG_VERSION"):
    import cataloger
    cataloger.__version__ = os.environ["RIG_VERSION"]
real = os.open
def rigged(path, *arguments, **options):
    if isinstance(path, bytes) and b"/photos/" in path:
        if os.environ.get("RIG_BLIND"):
            raise FileNotFoundError(2, "No such file or directory")
        if b"-lethal" in path:
            os._exit(1)
    return real(path, *arguments, **options)
os.open = rigged
"""


def make_photos(folder, count):
    """Make pictures, every eighth of them bad in some way."""
    folder.mkdir()
    for number in range(count):
        path = folder / f"{number:03}.jpg"
        with PillowImage.open(EXAMPLES[number % len(EXAMPLES)]) as example:
            example.convert("RGBA").convert("RGB").rotate(number % 7).resize((120 + number % 50, 140)).save(path)
        if number % 8 == 3:
            path.write_bytes([b"", b"<html></html>", path.read_bytes()[:700]][number % 3])


def results(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(RESULTS).fetchall()


def count(path, what):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(what).fetchone()[0]


def processes(name):
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if name.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def listening(pids):
    """Return the addresses that processes listen on, as the kernel writes them."""
    inodes = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                target = os.readlink(link)
            except OSError:  # closed since it was listed
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    tables = [Path(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in table]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and row[9] in inodes}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ray") / "photos"
    make_photos(folder, 300)
    return folder


@pytest.fixture(scope="module")
def expected(photos, tmp_path_factory):
    path = tmp_path_factory.mktemp("local") / "catalog.db"
    tag_images(TagOptions((str(photos),), DatabaseURL.parse(f"sqlite:///{path}")))
    return results(path)


def test_a_private_cluster_gives_the_tables_of_the_local_engine(tmp_path):
    make_photos(tmp_path / "photos", 40)
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    (tmp_path / "cataloger").mkdir()
    (tmp_path / "cataloger" / "__init__.py").write_text("raise SystemExit('the wrong cataloger')")

    def run(name, *flags, folder="photos"):
        arguments = [
            "tag",
            folder,
            "--db",
            f"sqlite:///{name}",
            "--json",
            "--no-progress",
            "--max-failure-rate",
            "1",
        ]
        return subprocess.Popen(
            [sys.executable, "-P", "-c", PROGRAM, *arguments, *flags],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    # Three pictures are known under other names, and what is known of them is told by a width that they do not have.
    (tmp_path / "seed").mkdir()
    for number in range(3):
        shutil.copy(tmp_path / "photos" / f"{number:03}.jpg", tmp_path / "seed" / f"s{number}.jpg")
    assert run("local.db", folder="seed").wait(HANGS) == 0
    with closing(sqlite3.connect(tmp_path / "local.db")) as connection, connection:
        connection.execute("UPDATE cataloger_result SET width = 7777")
    shutil.copy(tmp_path / "local.db", tmp_path / "ray.db")
    cluster = run("ray.db", "--engine", "ray", "--ray-workers", "2")
    seen = set()
    while cluster.poll() is None:
        seen |= listening({*processes("raylet"), *processes("gcs_server"), cluster.pid})
        time.sleep(0.1)
    out, err = cluster.communicate(timeout=HANGS)
    assert (cluster.returncode, err) == (0, "")
    report = json.loads(out)
    assert (report["done"], report["failed"]) == (35, 5)
    assert seen
    assert seen <= {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
    assert run("local.db").wait(HANGS) == 0
    assert results(tmp_path / "ray.db") == results(tmp_path / "local.db")
    assert count(tmp_path / "ray.db", "SELECT count(*) FROM cataloger_result WHERE width = 7777") == 6


@pytest.mark.long
def test_a_private_cluster_answers_only_with_its_token():
    command = [sys.executable, "-c", TOKENS]
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=HANGS, check=True)
    assert found.stdout.split() == ["1", "1", "0"]  # without one, with another one, with its own


def test_flags_of_a_cluster_need_the_engine():
    with pytest.raises(UsageError, match="need --engine ray"):
        RunOptions(cluster=ClusterOptions(workers=3))
    for wrong in ("ray://head:10001", "head", "head:", "head:99999", ":6379", "http://head:6379"):
        with pytest.raises(UsageError, match="--ray-address is local, auto or HOST:PORT"):
            ClusterOptions(address=wrong)


@pytest.fixture
def listeners():
    """Ports: one that nobody listens on, one that never answers, one that speaks something else."""
    with closing(socket.create_server(("127.0.0.1", 0))) as closed:
        nobody = closed.getsockname()[1]
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as silent,
        closing(socket.create_server(("127.0.0.1", 0))) as web,
    ):

        def answer():
            connection, _ = web.accept()
            connection.recv(100)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        yield {"nobody": nobody, "silent": silent.getsockname()[1], "other": web.getsockname()[1]}


@pytest.mark.parametrize(
    ("who", "reason"), [("nobody", "refused"), ("silent", "no answer"), ("other", "something else")]
)
def test_a_dead_address_ends_the_run_before_anything_is_recorded(tmp_path, listeners, who, reason):
    make_photos(tmp_path / "photos", 2)
    path = tmp_path / "catalog.db"
    address = f"127.0.0.1:{listeners[who]}"
    run = RunOptions(engine="ray", cluster=ClusterOptions(address))
    with pytest.raises(ClusterError, match=f"no Ray cluster at {address}: .*{reason}"):
        tag_images(TagOptions((str(tmp_path / "photos"),), DatabaseURL.parse(f"sqlite:///{path}"), run=run))
    assert count(path, "SELECT COUNT(*) FROM cataloger_run") == 0
    assert count(path, "SELECT COUNT(*) FROM cataloger_lease") == 0


class Rig:
    """A cluster whose nodes have one processor each; the first one has none."""

    def __init__(self, folder):
        from ray.cluster_utils import Cluster

        (folder / "rig").mkdir()
        (folder / "rig" / "sitecustomize.py").write_text(RIG)
        self.folder = folder
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})

    def add(self, count=1, **environment):
        path = os.pathsep.join(filter(None, [str(self.folder / "rig"), os.environ.get("PYTHONPATH")]))
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {"PYTHONPATH": path, **environment}.items():
                patch.setenv(name, value)
            return [self.cluster.add_node(num_cpus=1) for _ in range(count)]

    def kill(self, node):
        self.cluster.remove_node(node, allow_graceful=False)

    def options(self, photos, *, force=False, model=None, workers=0):
        cluster = ClusterOptions(self.cluster.address, workers)
        run = RunOptions(engine="ray", cluster=cluster, max_failure_rate=1.0, force=force)
        db = DatabaseURL.parse(f"sqlite:///{self.folder / 'catalog.db'}")
        return TagOptions((str(photos),), db, run=run, model=model)

    def tag(self, photos, *, at=(), **how):
        """Tag; at: pairs of a number of results and what happens once so many are recorded."""
        left = list(at)

        def progress(report, _total):
            while left and report.attempted >= left[0][0]:
                left.pop(0)[1]()

        report = tag_images(self.options(photos, **how), Hooks(progress=progress))
        assert not left
        return report

    @property
    def results(self):
        path = self.folder / "catalog.db"
        assert count(path, "SELECT COUNT(*) - COUNT(DISTINCT item_id) FROM cataloger_result") == 0
        return results(path)


@pytest.fixture
def rig(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setattr(pipeline, "WRITE_EVERY_RESULTS", 16)
    rig = Rig(tmp_path)
    yield rig
    rig.cluster.shutdown()


@pytest.mark.long
def test_a_node_that_is_killed_costs_no_result(rig, photos, expected):
    first, *_ = rig.add(3)
    rig.tag(photos, at=[(16, lambda: rig.kill(first))])
    assert rig.results == expected


@pytest.mark.long
def test_a_worker_that_is_killed_costs_no_result(rig, photos, expected):
    rig.add(2)
    rig.tag(photos, at=[(16, lambda: os.kill(processes("ray::RayWorker")[0], signal.SIGKILL))])
    assert rig.results == expected


@pytest.mark.long
def test_the_only_node_is_killed_and_a_new_one_joins(rig, photos, expected):
    (only,) = rig.add(1)

    def exchange():
        rig.kill(only)
        rig.add(1)

    rig.tag(photos, at=[(16, exchange)])
    assert rig.results == expected


@pytest.mark.long
def test_a_cluster_that_shrinks_and_grows(rig, photos, expected):
    first, second = rig.add(2)
    steps = [(16, lambda: rig.kill(first)), (60, lambda: rig.add(2)), (100, lambda: rig.kill(second))]
    rig.tag(photos, at=steps)
    assert rig.results == expected


@pytest.mark.long
def test_lethal_inputs_fail_alone_and_print_nothing(rig, tmp_path, photos, expected, capsys):
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    for name in ("100-lethal.jpg", "200-lethal.jpg"):
        shutil.copy(photos / "000.jpg", folder / name)
    rig.add(2)
    report = rig.tag(folder)
    assert capsys.readouterr().out == ""
    assert report.run.failures["io.worker_lost"] == 2
    failed = [row for row in rig.results if row[2] == "io.worker_lost"]
    assert [row[0] for row in failed] == ["100-lethal.jpg", "200-lethal.jpg"]
    with closing(sqlite3.connect(rig.folder / "catalog.db")) as connection:
        reasons = connection.execute("SELECT error_text FROM cataloger_result WHERE error_code = 'io.worker_lost'")
        assert not [text for (text,) in reasons if "memory" in text or "died" not in text]
    assert [row for row in rig.results if row[2] != "io.worker_lost"] == expected


@pytest.mark.long
def test_a_machine_that_cannot_read_gets_no_more_work(rig, photos, expected):
    rig.add(1, RIG_BLIND="1")
    rig.add(1)
    report = rig.tag(photos, workers=2)
    assert rig.results == expected
    assert len([text for text in report.warnings if "cannot read what other machines" in text]) == 1


@pytest.mark.long
def test_workers_of_another_version_get_no_work(rig, photos, expected):
    rig.add(1, RIG_VERSION="9.9.9")
    with pytest.raises(ClusterError, match=r"no worker of the cluster can be used: .* has cataloger 9\.9\.9"):
        rig.tag(photos)
    rig.add(1)
    report = rig.tag(photos, workers=2)
    assert rig.results == expected
    assert any("has cataloger 9.9.9" in text for text in report.warnings)


@pytest.mark.long
def test_a_bundle_that_cannot_be_kept_on_a_machine(rig, tmp_path, photos, expected):
    bundle = tmp_path / "bundle"
    keep_bundle(read_bundle(default_bundle_path()), bundle)
    (bundle / "bundle.json").write_text((bundle / "bundle.json").read_text() + "\n")
    full = tmp_path / "full"
    full.mkdir()
    (full / f"cataloger-bundles-{os.getuid()}").write_text("not a folder")
    rig.add(1, TMPDIR=str(full))
    with pytest.raises(ClusterError, match="the model bundle cannot be kept"):
        rig.tag(photos, model=str(bundle))
    rig.add(1)
    rig.tag(photos, model=str(bundle), workers=2)
    assert rig.results == expected


@pytest.mark.long
def test_without_any_worker_the_run_ends_with_the_reason(rig, photos, monkeypatch):
    from cataloger.engine.executors import cluster

    monkeypatch.setattr(dispatch, "NO_WORKER_SECONDS", 3.0)
    monkeypatch.setattr(cluster, "NO_WORKER_SECONDS", 3.0)
    with pytest.raises(ClusterError, match="no worker for 3 seconds: the cluster has no free processors for one"):
        rig.tag(photos)


def start(rig, photos):
    """Start the command itself, which records 16 results at a time."""
    code = f"from cataloger.engine import pipeline; pipeline.WRITE_EVERY_RESULTS = 16; {PROGRAM}"
    arguments = ["tag", str(photos), "--db", f"sqlite:///{rig.folder / 'catalog.db'}", "--no-progress"]
    arguments += ["--engine", "ray", "--ray-address", rig.cluster.address, "--max-failure-rate", "1"]
    return subprocess.Popen([sys.executable, "-P", "-c", code, *arguments], stderr=subprocess.PIPE, text=True)


def recorded(rig):
    try:
        return count(rig.folder / "catalog.db", "SELECT COUNT(*) FROM cataloger_result")
    except sqlite3.OperationalError:
        return 0


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_driver_that_is_ended_is_continued(rig, photos, expected, number):
    rig.add(2)
    process = start(rig, photos)
    wait_until(lambda: recorded(rig) >= 16 or process.poll() is not None)
    process.send_signal(number)
    _, err = process.communicate(timeout=HANGS)
    assert process.returncode == (-9 if number == signal.SIGKILL else 130), err
    wait_until(lambda: not processes("ray::RayWorker"), "the end of the workers")
    before = recorded(rig)
    assert 16 <= before < 300
    report = rig.tag(photos)
    assert report.run.attempted + before == 300
    assert rig.results == expected
