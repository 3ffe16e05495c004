"""The house: imports point down, no cycles, heavy modules stay where they belong, the wheel holds the tree."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {"cataloger": ROOT / "cataloger", "cataloger.training": ROOT / "training"}
PACKAGES["cataloger.migrations"] = ROOT / "migrations"

# Lower numbers lie deeper; a module imports from its own floor or below, never from above.
FLOORS = (
    ("cataloger.errors", 0),
    ("cataloger.records", 0),
    ("cataloger.contracts", 0),
    ("cataloger.options", 0),
    ("cataloger.hooks", 0),
    ("cataloger.cpus", 0),
    ("cataloger.calibration", 0),
    ("cataloger.signatures", 0),
    ("cataloger.text", 0),
    ("cataloger.templating", 0),
    ("cataloger.memory", 0),
    ("cataloger.versions", 0),
    ("cataloger.products", 0),
    ("cataloger.owner", 0),
    ("cataloger.drift", 0),
    ("cataloger.stopwatch", 0),
    ("cataloger.utils", 0),
    ("cataloger.preprocess", 1),
    ("cataloger.thumbnails", 1),
    ("cataloger.bundle", 1),
    ("cataloger.network", 1),
    ("cataloger.db", 1),
    ("cataloger.migrations", 2),
    ("cataloger.schema", 2),
    ("cataloger.words", 2),
    ("cataloger.history", 2),
    ("cataloger.sources", 2),
    ("cataloger.ledger", 2),
    ("cataloger.runs", 2),
    ("cataloger.lease", 2),
    ("cataloger.urls", 0),
    ("cataloger.spool", 1),
    ("cataloger.addresses", 2),
    ("cataloger.download", 2),
    ("cataloger.fetch", 2),
    ("cataloger.decode", 2),
    ("cataloger.handover", 0),
    ("cataloger.decode_worker", 2),
    ("cataloger.classify", 2),
    ("cataloger.label_map", 2),
    ("cataloger.product_results", 2),
    ("cataloger.product_table", 2),
    ("cataloger.write_back", 2),
    ("cataloger.sinks", 2),
    ("cataloger.training", 3),
    ("cataloger.targets", 3),
    ("cataloger.forget", 2),
    ("cataloger.presence", 3),
    ("cataloger.corrections", 3),
    ("cataloger.correction_export", 3),
    ("cataloger.correction_lookup", 3),
    ("cataloger.correction_rows", 3),
    ("cataloger.correction_import", 3),
    ("cataloger.correction_summary", 3),
    ("cataloger.diff", 3),
    ("cataloger.check", 3),
    ("cataloger.run_records", 3),
    ("cataloger.prune", 3),
    ("cataloger.restoring", 3),
    ("cataloger.undo", 3),
    ("cataloger.revalidate", 3),
    ("cataloger.pipeline", 3),
    ("cataloger.write_checks", 3),
    ("cataloger.job_report", 4),
    ("cataloger.engine", 4),
    ("cataloger.job", 4),
    ("cataloger.relocate", 5),
    ("cataloger.recalibrate", 5),
    ("cataloger.tagging", 5),
    ("cataloger.bare_worker", 0),
    ("cataloger.profiling", 5),
    ("cataloger.bench", 5),
    ("cataloger.explain", 3),
    ("cataloger.pictures", 4),
    ("cataloger.report_answers", 3),
    ("cataloger.report_words", 3),
    ("cataloger.report_moves", 3),
    ("cataloger.report_products", 3),
    ("cataloger.report", 4),
    ("cataloger.report_pictures", 5),
    ("cataloger.report_page", 5),
    ("cataloger.sync", 5),
    ("cataloger.review", 5),
    ("cataloger.cli", 6),
    ("cataloger.__main__", 7),
)

TORCH_MODULES = {
    "cataloger.network",
    "cataloger.classify.engine",  # only to ask it for a GPU
    "cataloger.classify.torch",
    "cataloger.training.engine",
    "cataloger.training.augmentation",
    "cataloger.training.average",
    "cataloger.training.blend",
    "cataloger.training.checkpoint",
    "cataloger.training.curves",
    "cataloger.training.distributed",
    "cataloger.training.export",
    "cataloger.training.inputs",
    "cataloger.training.losses",
    "cataloger.training.pace",
    "cataloger.training.precision",
    "cataloger.training.run",
    "cataloger.training.start",
    "cataloger.training.transforms",
}
TORCH = {"torch", "torchvision", "safetensors"}


def modules():
    found = {}
    for package, folder in PACKAGES.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join((package, *parts)).removesuffix(".__init__")
            found[name] = path
    return found


MODULES = modules()


def imports(path, *, lazy=True):
    """Yield every module that a file imports; lazy ones (inside functions or TYPE_CHECKING) only if asked."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = ast.walk(tree) if lazy else tree.body
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def internal(name, *, lazy=True):
    return {target for target in imports(MODULES[name], lazy=lazy) if target in MODULES and target != name}


def floor(name):
    matches = [(len(prefix), level) for prefix, level in FLOORS if name == prefix or name.startswith(prefix + ".")]
    return max(matches)[1] if matches else None


def test_every_module_has_a_floor():
    homeless = [name for name in MODULES if floor(name) is None and name != "cataloger"]
    assert not homeless


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_point_down(name):
    upwards = [
        target
        for target in internal(name)
        if floor(target) is not None and floor(name) is not None and floor(target) > floor(name)
    ]
    # The command line is the one door to training; db.schema starts alembic, whose environment lies above it.
    assert not upwards


def test_there_is_no_import_cycle():
    graph = {name: internal(name) for name in MODULES}
    done, path = set(), []

    def visit(name):
        if name in path:
            raise AssertionError("cycle: " + " -> ".join([*path[path.index(name) :], name]))
        if name not in done:
            path.append(name)
            for target in graph[name]:
                visit(target)
            done.add(path.pop())

    for name in graph:
        visit(name)


def test_torch_is_imported_only_where_it_belongs():
    users = {name for name, path in MODULES.items() if any(t.split(".")[0] in TORCH for t in imports(path))}
    assert users <= TORCH_MODULES


def test_training_uses_no_sink_and_nothing_above_the_pipeline():
    forbidden = ("cataloger.sinks", "cataloger.pipeline", "cataloger.tagging", "cataloger.cli")
    for name in MODULES:
        if name.startswith("cataloger.training"):
            assert not [target for target in internal(name) if target.startswith(forbidden)]


def test_only_the_command_line_reaches_training_and_only_when_asked():
    users = {n for n in MODULES if any(t.startswith("cataloger.training") for t in internal(n))}
    outside = {name for name in users if not name.startswith("cataloger.training")}
    commands = ("train", "evaluate", "models", "measures", "reviewed", "labelled", "dataset", "calibrate")
    assert outside <= {f"cataloger.cli.{name}" for name in commands}
    for name in outside:
        assert not [t for t in internal(name, lazy=False) if t.startswith("cataloger.training")]


def test_nothing_imports_the_top_level_folders_by_name():
    for name, path in MODULES.items():
        bad = [target for target in imports(path) if target.split(".")[0] in ("training", "migrations")]
        assert not bad, name


def test_the_command_line_starts_without_heavy_modules():
    code = (
        "import sys, cataloger.cli.app\n"
        "heavy = {'torch', 'onnxruntime', 'pyarrow', 'PIL', 'numpy', 'matplotlib', 'starlette', 'uvicorn'}\n"
        "heavy |= {'sqlalchemy', 'alembic'}\n"  # completion in a shell starts it at every key
        "heavy &= set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_the_pipeline_knows_no_database():
    code = "import sys, cataloger.pipeline; sys.exit(1 if {'sqlalchemy', 'alembic'} & set(sys.modules) else 0)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_run_over_files_loads_no_http_client():
    code = "import sys, cataloger.tagging; sys.exit(1 if {'httpx', 'httpcore', 'alembic'} & set(sys.modules) else 0)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_nothing_unpickles():
    users = {n for n, p in MODULES.items() if {"pickle", "cPickle", "dill", "joblib"} & set(imports(p))}
    # Worker processes are spoken to over pipes; a bundle or a checkpoint is never unpickled.
    assert users <= set()
    for path in MODULES.values():
        text = path.read_text(encoding="utf-8")
        assert "allow_pickle=True" not in text
        assert "torch.load" not in text


def test_no_function_in_a_loop_waits_for_its_variables():
    """Such a function sees the values of the last round; pass them as arguments: Database.fetch and write do."""
    folders = ("cataloger", "training", "migrations", "tests", "benchmarks", "examples", "default_model")
    texts = [ROOT / "pyproject.toml", *(path for folder in folders for path in (ROOT / folder).rglob("*.py"))]
    rule = "B0" + "23"
    assert len(texts) > 200
    assert not [path for path in texts if rule in path.read_text(encoding="utf-8")]


def test_the_listed_packages_are_those_of_the_tree():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    present = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    assert listed == present


@pytest.mark.parametrize("name", sorted(MODULES))
def test_modules_stay_small(name):
    lines = MODULES[name].read_text(encoding="utf-8").count("\n")
    assert lines <= 400, f"{name} has {lines} lines; split it by responsibility"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_public_names_have_docstrings(name):
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    missing = [] if ast.get_docstring(tree) else ["the module"]
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            missing += [] if ast.get_docstring(node) else [node.name]
    # Alembic's revisions and environment speak its own protocol.
    assert not missing or name.startswith("cataloger.migrations")
