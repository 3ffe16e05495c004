"""The wheel: what it holds, and that it works from an empty environment with the runtime alone."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIMIT_MB = 300

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    target = tmp_path_factory.mktemp("wheel")
    source = target / "source"
    ignored = shutil.ignore_patterns(
        ".git", ".venv", "build", "dist", "*.egg-info", "__pycache__", "demo", ".*_cache"
    )
    shutil.copytree(ROOT, source, ignore=ignored)
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(target), str(source)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    (path,) = target.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(folder)
    # Modules are compiled when they are imported, which most are not.
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "-q", "--no-compile"]
    command = [*pip, "-c", ROOT / "constraints.txt", wheel]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert result.returncode == 0, result.stderr[-2000:]
    return folder


def run(environment, *command, cwd):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL", "CATALOGER"))}
    program = [environment / "bin" / command[0], *command[1:]]
    return subprocess.run(program, capture_output=True, text=True, check=False, cwd=cwd, env=clean)


def test_the_wheel_holds_the_whole_tree(wheel):
    packed = set(zipfile.ZipFile(wheel).namelist())
    for folder, package in (("cataloger", "cataloger"), ("training", "cataloger/training")):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and (path.suffix != ".md" or folder == "cataloger"):
                assert f"{package}/{path.relative_to(ROOT / folder)}" in packed
    assert "cataloger/migrations/script.py.mako" in packed
    assert "cataloger/migrations/versions/0001_first.py" in packed
    assert "cataloger/py.typed" in packed


def test_the_wheel_holds_nothing_at_the_top_level_that_could_clash(wheel):
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"cataloger"}


def test_the_wheel_runs_from_an_empty_folder_without_torch(environment, tmp_path):
    shutil.copytree(ROOT / "examples" / "images", tmp_path / "photos")
    result = run(environment, "cataloger", "tag", "photos", "--output", "out.csv", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 21
    assert run(environment, "cataloger", "models", "verify", cwd=tmp_path).returncode == 0
    shutil.copy(ROOT / "examples" / "labels.csv", tmp_path)
    measured = run(environment, "cataloger", "evaluate", "labels.csv", "--images", "photos", cwd=tmp_path)
    assert "20 of 20 labelled images" in measured.stdout, measured.stderr
    assert run(environment, "cataloger", "doctor", cwd=tmp_path).returncode == 0
    assert run(environment, "python", "-c", "import torch", cwd=tmp_path).returncode != 0


def test_a_missing_extra_is_named(environment, tmp_path):
    (tmp_path / "labels.csv").write_text("file,labels,split\na.jpg,Hat,train\nb.jpg,Top,val\n")
    (tmp_path / "labels.parquet").touch()
    train = ["cataloger", "train", "labels.csv", "--images", ".", "--output", "model"]
    for command, extra in (
        (train, "train"),
        (["cataloger", "inspect", "labels.csv"], "train"),
        (["cataloger", "inspect", "labels.parquet"], "parquet"),
        (["cataloger", "db", "current", "--db", "postgresql://x@127.0.0.1:1/x"], "postgres"),
        (["cataloger", "db", "current", "--db", "mysql://x@127.0.0.1:1/x"], "mysql"),
        (["cataloger", "tag", ".", "--output", "x.parquet"], "parquet"),
        (["cataloger", "evaluate", "labels.csv", "--output", "report"], "train"),
        (["cataloger", "review"], "review"),
    ):
        result = run(environment, *command, cwd=tmp_path)
        assert (result.returncode, result.stdout) == (2, "")
        assert f"fashion-cataloger[{extra}]" in result.stderr


def test_the_runtime_stays_small(environment):
    site = next((environment / "lib").glob("python*/site-packages"))
    files = [path for path in site.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    # A compiled module is about as large as its source.
    size = sum(path.stat().st_size * (2 if path.suffix == ".py" else 1) for path in files) / 1e6
    assert size < LIMIT_MB, f"{size:.0f} MB"
