"""Benchmarks and examples are not run here; they must still import, and use only what cataloger has."""

import ast
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
FILES = sorted(path for folder in (BENCHMARKS, ROOT / "examples") for path in folder.rglob("*.py"))
PEERS = BENCHMARKS / "peers"  # scripts without functions: importing one would run it
SIBLINGS = {path.stem for path in BENCHMARKS.glob("*.py")}


def named(paths):
    return [pytest.param(path, id=path.relative_to(ROOT).as_posix()) for path in paths]


def imported(module, action):
    """Import, or skip where a package of somebody else is not installed."""
    try:
        return action()
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing in {"", "cataloger", "training", "migrations", *SIBLINGS}:
            raise
        pytest.skip(f"{module} needs {missing}, which is not installed")


def programs(path):
    """Yield the trees of a file and of the programs that it holds as texts, for processes of their own."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield tree
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\nfrom cataloger" in node.value:
            yield ast.parse(node.value)


def uses(tree):
    """Yield (module, name) of each import from cataloger, and of each attribute of what is imported so."""
    taken = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "cataloger":
            for alias in node.names:
                yield node.module, alias.name
                taken[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            assert not [alias.name for alias in node.names if alias.name.startswith("cataloger.")], "use from"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in taken:
            yield taken[node.value.id], node.attr


def exists(module, name):
    """Tell whether a dotted name leads to something, be it a module, or what a module or a class has."""
    found = importlib.import_module("cataloger")
    for part in f"{module}.{name}".split(".")[1:]:
        if isinstance(found, ModuleType) and not hasattr(found, part):
            try:
                importlib.import_module(f"{found.__name__}.{part}")
            except ModuleNotFoundError as error:
                if not (error.name or "").startswith("cataloger"):
                    raise
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True


def test_there_are_files_to_look_at():
    assert len([path for path in FILES if BENCHMARKS in path.parents]) > 15
    assert len(FILES) > 20


@pytest.mark.parametrize("path", named(path for path in FILES if PEERS not in path.parents))
def test_it_imports(path, monkeypatch):
    monkeypatch.syspath_prepend(path.parent)
    name = f"imported_{path.parent.name}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)  # a dataclass looks for its module there
    imported(path.name, lambda: spec.loader.exec_module(module))


@pytest.mark.parametrize("path", named(FILES))
def test_what_it_takes_from_cataloger_exists(path):
    taken = {use for tree in programs(path) for use in uses(tree)}
    missing = [use for use in sorted(taken, key=str) if not imported(path.name, lambda use=use: exists(*use))]
    assert not missing
