"""`cataloger doctor`: what this machine has and whether a run would work."""

import importlib.metadata
import platform
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

import cataloger
from cataloger.cli import flags, render
from cataloger.errors import CatalogerError
from cataloger.options import ClusterOptions

RUNTIME = ("onnxruntime", "numpy", "pillow", "sqlalchemy", "alembic", "httpx")
EXTRAS = {
    "torch": ("torch", "torchvision", "safetensors"),
    "train": ("onnx", "onnxscript", "matplotlib"),
    "review": ("starlette", "uvicorn"),
    "parquet": ("pyarrow",),
    "objects": ("obstore",),
    "postgres": ("psycopg",),
    "mysql": ("pymysql",),
    "ray": ("ray",),
}

Finding = tuple[str, str, bool]
"""What was checked, what was found, whether it is all right."""


ClusterOption = Annotated[
    str | None,
    typer.Option("--ray-address", metavar="auto|HOST:PORT", help="Also show what this Ray cluster has."),
]


def doctor(json_output: flags.JsonOption = False, ray_address: ClusterOption = None) -> None:
    """Show what this machine has, and whether cataloger can run.

    Shows versions, extras, processors, GPU support and the shipped model. Exit status 1 if something would prevent
    a run.
    """
    findings = [*_machine(), *_packages(), *_onnxruntime(), _model(), _tagging()]
    if ray_address is not None:
        findings.append(_cluster(ray_address))
    if json_output:
        render.print_json([{"what": what, "found": found, "ok": ok} for what, found, ok in findings])
    else:
        rows = [("ok" if ok else "PROBLEM", what, found) for what, found, ok in findings]
        render.stdout_console().print(render.table(("", "what", "found"), rows))
    if not all(ok for _, _, ok in findings):
        raise typer.Exit(CatalogerError.exit_code)


def _machine() -> Iterator[Finding]:
    from cataloger.utils import available_cpus

    yield "cataloger", cataloger.__version__, True
    yield "python", f"{platform.python_version()} ({sys.executable})", True
    yield "processors", f"{available_cpus()} for this process", True


def _packages() -> Iterator[Finding]:
    for name in RUNTIME:
        version = _version(name)
        yield name, version or "missing: reinstall fashion-cataloger", version is not None
    for extra, names in EXTRAS.items():
        versions = {name: _version(name) for name in names}
        present = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
        complete = all(versions.values())
        yield f"extra {extra}", present if complete else f"not installed ({', '.join(names)})", True


def _onnxruntime() -> Iterator[Finding]:
    """Both distributions write the same files; uninstalling one breaks the other."""
    cpu, gpu = _version("onnxruntime"), _version("onnxruntime-gpu")
    if cpu and gpu:
        text = "onnxruntime and onnxruntime-gpu overwrite each other: uninstall both, then install one"
        yield "onnxruntime", text, False
    try:
        from cataloger.inference import onnxruntime
    except ImportError as error:
        yield "onnxruntime", f"cannot be imported: {error}", False
        return
    yield "providers", ", ".join(onnxruntime.get_available_providers()), True


def _model() -> Finding:
    from cataloger.inference import replay_golden
    from cataloger.model import default_bundle_path, read_bundle

    try:
        bundle = read_bundle(default_bundle_path())
        differences = {name: replay_golden(bundle.at(name)) for name in bundle.precisions}
    except CatalogerError as error:
        return "default model", str(error), False
    found = ", ".join(f"{difference:.1e} in {name}" for name, difference in differences.items())
    return "default model", f"{bundle.title}, golden images differ by {found}", True


def _tagging() -> Finding:
    """Return what a run without options would use."""
    from cataloger.inference import choose_engine
    from cataloger.model import default_bundle_path, read_bundle
    from cataloger.utils import available_cpus

    try:
        engine = choose_engine("auto")
        precision = engine.bundle(read_bundle(default_bundle_path()), "auto").precision
    except (CatalogerError, ImportError) as error:
        return "tagging", str(error), False
    count = available_cpus()
    return "tagging", f"{engine.name} on {engine.device} in {precision}; {count} decoding, {count} classifying", True


def _cluster(address: str) -> Finding:
    """Return what a cluster has, and what of it is free."""
    from cataloger.engine import describe_cluster

    try:
        return "ray cluster", describe_cluster(ClusterOptions(address)), True
    except CatalogerError as error:
        return "ray cluster", str(error), False


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
