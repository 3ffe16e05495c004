"""`cataloger explain`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cataloger.cli import flags, render
from cataloger.cli.run_command import require_file
from cataloger.contracts import TOP_K
from cataloger.errors import FAILURES_STATUS, UsageError
from cataloger.model import read_bundle, resolve_bundle_path
from cataloger.utils import replacing

if TYPE_CHECKING:
    from cataloger.inference import Explanation
    from cataloger.records import Failure

EXAMPLES = """\b
Examples:
  cataloger explain dress.jpg
  cataloger explain photos/*.jpg --output why.png --categories 5
"""


def explain(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Images to explain.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.png", help="Picture to draw.")] = Path(
        "explanation.png"
    ),
    categories: Annotated[
        int, typer.Option("--categories", min=1, max=TOP_K, help="Maps per image, best category first.")
    ] = 3,
    model: flags.BundleOption = None,
    precision: flags.PrecisionOption = flags.DEFAULTS.precision,
    json_output: flags.JsonOption = False,
) -> None:
    """Draw which places of an image speak for its categories.

    A map shows the network's own score of each place; the score of the category is their mean. It shows where
    evidence was found, not the outline of an object.
    """
    from cataloger.inference import draw
    from cataloger.inference import explain_images as find
    from cataloger.records import Failure

    if output.suffix.lower() != ".png":
        raise UsageError(f"--output {output}: name a .png file")
    require_file(output, "--output")
    bundle = read_bundle(resolve_bundle_path(model or "default"), check=()).at(precision)
    found = list(find(bundle, images))
    explanations = [each for each in found if not isinstance(each, Failure)]
    failures = [each for each in found if isinstance(each, Failure)]
    if explanations:
        with replacing(output) as temporary:
            draw(explanations, categories).save(temporary, "PNG")
    if json_output:
        failed = [{"file": each.item.uri, "error_code": each.code, "error_text": each.message} for each in failures]
        render.print_json([*(each.as_json() for each in explanations), *failed])
    else:
        _print(explanations, failures, output)
    if failures:
        raise typer.Exit(FAILURES_STATUS)


def _print(explanations: "list[Explanation]", failures: "list[Failure]", output: Path) -> None:
    console = render.stdout_console()
    rows = [
        (Path(each.item.uri).name, each.decision or "", ", ".join(map(_answer, each.labels, each.confidences)))
        for each in explanations
    ]
    if rows:
        console.print(render.table(("image", "decision", "categories, best first"), rows))
        console.print(f"wrote {output}", markup=False)
    if failures:
        lines = [(each.item.uri, each.code, each.message) for each in failures]
        console.print(render.table(("not explained", "code", "why"), lines))


def _answer(label: str, confidence: float) -> str:
    return f"{label} {confidence:.2f}"
