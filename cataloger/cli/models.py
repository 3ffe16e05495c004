"""`cataloger models`: which models there are, what they are, whether they are whole."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cataloger.bundle import MANIFEST, Bundle, default_bundle_path, read_bundle, resolve_bundle_path
from cataloger.cli import options as flags
from cataloger.cli import render
from cataloger.cli.groups import make_group

app = make_group("Model bundles: list, show, verify.")

ModelArgument = Annotated[str, typer.Argument(metavar="[DIR|default]", help="Directory of a bundle.")]


@app.command("list")
def list_models(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[DIR]...", help="Folders that hold bundles; default: models."),
    ] = None,
    json_output: flags.JsonOption = False,
) -> None:
    """List the shipped model and those in the given folders."""
    bundles = [read_bundle(default_bundle_path(), check=())]
    for folder in folders or [Path("models")]:
        bundles += [read_bundle(path.parent, check=()) for path in sorted(folder.glob(f"*/{MANIFEST}"))]
    if json_output:
        render.print_json([_summary(bundle) for bundle in bundles])
        return
    rows = [
        (
            b.title,
            len(b.labels),
            b.weights_id[:12],
            "default" if b.path == default_bundle_path() else str(b.path),
        )
        for b in bundles
    ]
    render.stdout_console().print(render.table(("model", "labels", "weights", "where"), rows))


@app.command()
def show(model: ModelArgument = "default", json_output: flags.JsonOption = False) -> None:
    """Show what a model is: labels, preprocessing, calibration, results."""
    bundle = read_bundle(resolve_bundle_path(model), check=())
    if json_output:
        render.print_json(bundle.to_json())
        return
    rows = [(name.replace("_", " "), _text(value)) for name, value in _summary(bundle).items()]
    rows += [
        ("preprocess", _text(bundle.to_json()["preprocess"])),
        ("network", _text(bundle.to_json()["network"])),
    ]
    render.stdout_console().print(render.table(("", ""), rows))


@app.command()
def verify(model: ModelArgument = "default", json_output: flags.JsonOption = False) -> None:
    """Check every file of a model against its hash and replay its golden images on this machine."""
    from cataloger.classify.onnx import replay_golden

    bundle = read_bundle(resolve_bundle_path(model))
    difference = replay_golden(bundle)
    if json_output:
        render.print_json({"model": bundle.title, "verified": True, "largest_difference": difference})
    else:
        typer.echo(
            f"{bundle.title}: {len(bundle.files)} files as they were exported; the golden images give the same "
            f"logits (largest difference {difference:.1e}, allowed {bundle.golden_tolerance:.0e})"
        )


def _summary(bundle: Bundle) -> dict[str, Any]:
    return {
        "name": bundle.name,
        "version": bundle.version,
        "path": str(bundle.path),
        "weights_id": bundle.weights_id,
        "calibration_id": bundle.calibration_id,
        "temperature": bundle.temperature,
        "labels": list(bundle.labels),
    }


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(part)}" for name, part in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
