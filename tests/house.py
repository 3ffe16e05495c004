"""The structure of the code, read from its imports; prints its figures: python tests/house.py"""

import ast
import statistics
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "cataloger": ROOT / "cataloger",
    "cataloger.training": ROOT / "training",
    "cataloger.migrations": ROOT / "migrations",
}


def modules():
    """Return name -> path of every module and package."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join((package, *parts)).removesuffix(".__init__")] = path
    return found


MODULES = modules()
PACKAGES = {name for name, path in MODULES.items() if path.name == "__init__.py"}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def package_of(name):
    """Return the package that a module lies in; a package is its own."""
    return name if name in PACKAGES else name.rpartition(".")[0]


def taken(name, *, lazy=True):
    """Yield (module, name or None) of every import; lazy: those inside functions and for type checkers too."""
    for node in ast.walk(TREES[name]) if lazy else TREES[name].body:
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)


def targets(name, *, lazy=True):
    """Return the modules of ours that a module imports. The top package hands on what lies above it, when asked."""
    found = set()
    for module, what in taken(name, lazy=lazy and name != "cataloger"):
        full = f"{module}.{what}"
        found.add(full if full in MODULES else module)
    return {target for target in found if target in MODULES and target != name}


def cycles():
    """Return the first cycle of imports, lazy ones included, as a list of modules; empty where there is none."""
    done, path = set(), []

    def visit(name):
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        path.append(name)
        for target in sorted(targets(name)):
            if found := visit(target):
                return found
        done.add(path.pop())
        return []

    return next((found for name in sorted(MODULES) if (found := visit(name))), [])


def surface(package):
    """Return what a package lists in `__all__`."""
    for node in TREES[package].body:
        target = node.target if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [None])[0]
        if isinstance(target, ast.Name) and target.id == "__all__":
            return ast.literal_eval(node.value)
    return []


def function_lengths():
    """Return the lines of every function and method, signature and docstring included."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        node.end_lineno - node.lineno + 1
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, kinds)
    ]


def sizes():
    """Return package -> its number of modules, `__init__` aside."""
    found = dict.fromkeys(sorted(PACKAGES), 0)
    for name in set(MODULES) - PACKAGES:
        found[package_of(name)] += 1
    return found


def figures():
    """Return what describes the house in numbers."""
    lengths = function_lengths()
    return {
        "modules per package": sizes(),
        "function length, median": statistics.median(lengths),
        "function length, 90th percentile": statistics.quantiles(lengths, n=10)[-1],
        "import cycles": [cycles()] if cycles() else [],
        "packages without a surface": sorted(name for name in PACKAGES if not surface(name)),
    }


if __name__ == "__main__":
    for title, value in figures().items():
        if isinstance(value, dict):
            print(f"{title}:", *(f"{count:4} {name}" for name, count in value.items()), sep="\n  ")
        else:
            print(f"{title}: {value or 0}")
