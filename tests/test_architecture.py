"""The house: packages import from lower ones and only what these offer; heavy things stay where they belong."""

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("house", Path(__file__).parent / "house.py")
house = importlib.util.module_from_spec(spec)
spec.loader.exec_module(house)
MODULES, PACKAGES = house.MODULES, house.PACKAGES

# From the ground up: a package imports only from those above it in this list, and within itself without a cycle.
ORDER = (
    "cataloger",
    "cataloger.errors",
    "cataloger.contracts",
    "cataloger.records",
    "cataloger.hooks",
    "cataloger.references",
    "cataloger.web_options",
    "cataloger.write_targets",
    "cataloger.option_checks",
    "cataloger.image_options",
    "cataloger.table_options",
    "cataloger.options",
    "cataloger.utils",
    "cataloger.objects",
    "cataloger.tabular",
    "cataloger.web",
    "cataloger.model",
    "cataloger.imaging",
    "cataloger.db",
    "cataloger.schema",
    "cataloger.migrations",
    "cataloger.migrations.versions",
    "cataloger.sources",
    "cataloger.queries",
    "cataloger.fetch",
    "cataloger.inference",
    "cataloger.adaptation",
    "cataloger.ledger",
    "cataloger.taxonomy",
    "cataloger.writeback",
    "cataloger.presets",
    "cataloger.sinks",
    "cataloger.corrections",
    "cataloger.reviewers",
    "cataloger.drift",
    "cataloger.history",
    "cataloger.engine.executors",
    "cataloger.engine",
    "cataloger.report",
    "cataloger.bench",
    "cataloger.review_queue",
    "cataloger.review",
    "cataloger.training",
    "cataloger.training.options",
    "cataloger.training.recipes",
    "cataloger.training.mixed_precision",
    "cataloger.training.data",
    "cataloger.training.inputs",
    "cataloger.training.metrics",
    "cataloger.training.curation",
    "cataloger.training.evaluation",
    "cataloger.training.calibration",
    "cataloger.training.export",
    "cataloger.training.fit",
    "cataloger.jobs",
    "cataloger.signals",
    "cataloger.catalog",
    "cataloger.api",
    "cataloger.cli",
    "cataloger.cli.commands",
    "cataloger.__main__",
)
"""Packages; of `cataloger` and `cataloger.training` the modules that lie at their top, one by one."""

TOPS = {"cataloger", "cataloger.training"}
LARGEST_PACKAGE = 14
COMMANDS = "cataloger.cli.commands"
"""One module for each command, without limit."""

TORCH_MODULES = {
    "cataloger.model.network",
    "cataloger.inference.backend",  # only to ask it for a GPU
    "cataloger.inference.torch",
    "cataloger.training.mixed_precision",
}
TORCH_PACKAGES = ("cataloger.training.inputs", "cataloger.training.fit", "cataloger.training.export")
TORCH = {"torch", "torchvision", "safetensors"}


def unit(name):
    """Return the entry of ORDER that a module belongs to."""
    package = house.package_of(name)
    return name if package in TOPS else package


def test_the_order_lists_every_package():
    assert len(set(ORDER)) == len(ORDER)
    assert set(ORDER) == {unit(name) for name in MODULES}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_point_down(name):
    mine = ORDER.index(unit(name))
    # `from cataloger import __version__` asks the top package, which imports nothing itself.
    others = {unit(target) for target in house.targets(name)} - {unit(name), "cataloger"}
    assert not sorted(other for other in others if ORDER.index(other) >= mine)


def test_there_is_no_import_cycle():
    assert not house.cycles()


@pytest.mark.parametrize("name", sorted(MODULES))
def test_from_outside_only_what_a_package_offers_is_imported(name):
    wrong = []
    for module, what in house.taken(name):
        package = house.package_of(module) if module in MODULES else None
        is_own = package == unit(name) or unit(name).startswith(f"{package}.")  # the commands belong to the cli
        if package is None or package in TOPS or is_own or what is None:
            continue
        if module not in PACKAGES or what not in house.surface(package):
            wrong.append(f"{module}: {what}")
    assert not wrong, "import the package, and list the name in its __all__"


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_a_package_says_what_it_is_for_and_what_it_offers(name):
    assert ast.get_docstring(house.TREES[name])
    assert house.surface(name) or name.startswith("cataloger.migrations")


@pytest.mark.parametrize("name", sorted(PACKAGES - {"cataloger"}))
def test_what_a_lazy_package_offers_is_listed_in_one_way(name):
    tree = house.TREES[name]
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "lazy_names"]
    if not calls:
        return
    homes = ast.literal_eval(calls[0].args[1])
    lazy = {(f"{name}.{module}", offered) for module, names in homes.items() for offered in names}
    checked = [n for n in tree.body if isinstance(n, ast.If)]
    typed = {(n.module, alias.name) for block in checked for n in block.body for alias in n.names}
    namespaces = {(name, offered) for offered in house.surface(name) if f"{name}.{offered}" in MODULES}
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module.startswith(f"{name}.")]
    loaded = {(node.module, alias.name) for node in imports for alias in node.names}
    assert typed - namespaces == lazy
    assert sorted(offered for _, offered in lazy | namespaces | loaded) == sorted(house.surface(name))


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_what_a_package_offers_has_the_name_of_none_of_its_modules(name):
    """The module would stand in its place for whoever imports the module, or the other way round."""
    imported = [
        (node.module, alias.name)
        for node in ast.walk(house.TREES[name])
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    assert not [what for module, what in imported if module != name and f"{name}.{what}" in MODULES]


def test_packages_stay_small():
    growing = {COMMANDS, "cataloger.migrations.versions"}  # each command and each revision is a module
    assert not {n: s for n, s in house.sizes().items() if s > LARGEST_PACKAGE and n not in growing}


def test_functions_stay_short():
    figures = house.figures()
    assert figures["function length, median"] <= 6
    assert figures["function length, 90th percentile"] <= 18


def test_no_two_public_classes_have_one_name():
    homes = {}
    for name, tree in house.TREES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(name)
    assert not {name: found for name, found in homes.items() if len(found) > 1}


def test_torch_is_imported_only_where_it_belongs():
    users = {name for name in MODULES if any(module.split(".")[0] in TORCH for module, _ in house.taken(name))}
    assert not {name for name in users - TORCH_MODULES if not name.startswith(TORCH_PACKAGES)}


def test_training_uses_nothing_that_runs_or_shows_a_catalog():
    forbidden = tuple(
        f"cataloger.{name}" for name in ("engine", "sinks", "history", "report", "review", "cli", "api")
    )
    for name in MODULES:
        if name.startswith("cataloger.training"):
            assert not [target for target in house.targets(name) if target.startswith(forbidden)], name


def test_only_the_command_line_and_the_api_reach_training_and_only_when_asked():
    def uses(name, **how):
        return [target for target in house.targets(name, **how) if target.startswith("cataloger.training")]

    outside = {name for name in MODULES if uses(name) and not name.startswith("cataloger.training")}
    assert all(name.startswith("cataloger.cli") or name == "cataloger.api" for name in outside)
    for name in outside:
        assert not uses(name, lazy=False), name


def test_nothing_imports_the_top_level_folders_by_name():
    for name in MODULES:
        assert not [module for module, _ in house.taken(name) if module.split(".")[0] in ("training", "migrations")]


def test_the_command_line_starts_without_heavy_modules():
    code = (
        "import sys, cataloger.cli.app\n"
        "heavy = {'torch', 'onnxruntime', 'pyarrow', 'PIL', 'numpy', 'matplotlib', 'starlette', 'uvicorn'}\n"
        # Completion in a shell starts it at every key.
        "heavy |= {'sqlalchemy', 'alembic', 'rich', 'ray', 'obstore'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


HEAVY = ("torch", "onnxruntime", "sqlalchemy", "alembic", "httpx", "PIL", "matplotlib", "starlette", "onnx")
HEAVY += ("ray", "obstore")
STARTS = {
    "cataloger.cli.commands.tag": (),
    "cataloger.api": ("onnxruntime", "sqlalchemy", "PIL"),
    "cataloger.engine.tag": ("onnxruntime", "sqlalchemy", "PIL"),
    "cataloger.engine.sync": ("onnxruntime", "sqlalchemy", "PIL", "httpx"),
    "cataloger.training.calibration.calibrate": ("onnxruntime", "sqlalchemy", "PIL"),
    "cataloger.training.evaluation.evaluate": ("onnxruntime", "sqlalchemy", "PIL"),
}
"""Module -> what it may load of what is heavy; torch above all, which the runtime does not have."""


@pytest.mark.parametrize("name", STARTS)
def test_what_a_start_loads(name):
    code = f"import sys, {name}; print(*(set({HEAVY!r}) & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(result.stdout.split()) <= set(STARTS[name])


@pytest.mark.parametrize("command", [(), ("tag",), ("sync",)])
def test_help_names_the_engines_and_loads_none_of_them(command):
    code = (
        "import sys, cataloger.cli.app\n"
        "try:\n    cataloger.cli.app.main()\n"
        "finally:\n    print(*({'ray', 'obstore', 'onnxruntime'} & set(sys.modules)), file=sys.stderr)"
    )
    arguments = [sys.executable, "-c", code, *command, "--help"]
    result = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert ("--engine" in result.stdout) == bool(command)
    assert result.stderr.split() == []


def test_the_pipeline_knows_no_database():
    code = "import sys, cataloger.engine.pipeline; sys.exit(1 if {'sqlalchemy', 'alembic'} & set(sys.modules) else 0)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_run_over_files_loads_no_http_client():
    code = (
        "import sys, cataloger.engine.tag; sys.exit(1 if {'httpx', 'httpcore', 'alembic'} & set(sys.modules) else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_decoding_process_loads_what_decodes_and_little_else():
    code = (
        "import sys, cataloger.imaging.decode_worker\n"
        "from cataloger.imaging.preprocess import load_bytes\n"
        "from cataloger.image_options import PreprocessSpec\n"
        "load_bytes(open(sys.argv[1], 'rb').read(), PreprocessSpec())\n"
        "heavy = {'numpy', 'email', 'http', 'ssl', 'cataloger.options', 'cataloger.records'}\n"
        "print(*heavy & set(sys.modules))"
    )
    arguments = [sys.executable, "-c", code, str(ROOT / "examples" / "images" / "silk-shirt.png")]
    result = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_nothing_unpickles():
    users = {n for n in MODULES if {"pickle", "cPickle", "dill", "joblib"} & {module for module, _ in house.taken(n)}}
    # Worker processes are spoken to over pipes; a bundle or a checkpoint is never unpickled.
    assert users <= set()
    for path in MODULES.values():
        text = path.read_text(encoding="utf-8")
        assert "allow_pickle=True" not in text
        assert "torch.load" not in text


def test_no_function_in_a_loop_waits_for_its_variables():
    """Such a function sees the values of the last round; pass them as arguments: Database.fetch and write do."""
    folders = ("cataloger", "training", "migrations", "tests", "benchmarks", "examples")
    texts = [ROOT / "pyproject.toml", *(path for folder in folders for path in (ROOT / folder).rglob("*.py"))]
    rule = "B0" + "23"
    assert len(texts) > 200
    assert not [path for path in texts if rule in path.read_text(encoding="utf-8")]


def test_the_listed_packages_are_those_of_the_tree():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    assert listed == PACKAGES


@pytest.mark.parametrize("name", sorted(MODULES))
def test_modules_stay_small(name):
    lines = MODULES[name].read_text(encoding="utf-8").count("\n")
    assert lines <= 400, f"{name} has {lines} lines; split it by responsibility"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_public_names_have_docstrings(name):
    tree = house.TREES[name]
    missing = [] if ast.get_docstring(tree) else ["the module"]
    for node in tree.body:
        is_overload = any(getattr(each, "id", "") == "overload" for each in getattr(node, "decorator_list", ()))
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_") and not is_overload:
            missing += [] if ast.get_docstring(node) else [node.name]
    # Alembic's revisions and environment speak its own protocol.
    assert not missing or name.startswith("cataloger.migrations")


# Words for which the code has a standard term, each with the contracts (JSON keys, values in CSV files and in the
# database, routes) and the names of libraries that need it all the same.
REPLACED = re.compile(r"\b(words?|held|acquit|suspects|spool|handover|appetite|gone)\b", re.IGNORECASE)
CONTRACTS = {
    ("cataloger.cli.commands.runs", "gone"),
    ("cataloger.corrections.one_image", "gone"),
    ("cataloger.corrections.store", "gone"),
    ("cataloger.corrections.summary", "words"),
    ("cataloger.engine.job_report", "gone"),
    ("cataloger.fetch.http", "gone"),  # HTTPStatus.GONE
    ("cataloger.history.diff", "gone"),
    ("cataloger.ledger.source_registry", "gone"),
    ("cataloger.report.gather", "gone"),
    ("cataloger.report.sentences", "gone"),
    ("cataloger.report.reviewers", "words"),
    ("cataloger.review.app", "words"),
    ("cataloger.review.corrections", "words"),
    ("cataloger.review_queue.item_rows", "word"),
}


def test_each_concept_has_its_standard_term():
    paths = [path for folder in ("cataloger", "training") for path in (ROOT / folder).rglob("*.py")]
    found = {
        (".".join(path.relative_to(ROOT).with_suffix("").parts), word.lower())
        for path in paths
        for word in REPLACED.findall(path.read_text(encoding="utf-8"))
    }
    assert found == CONTRACTS
