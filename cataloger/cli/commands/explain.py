"""`cataloger explain`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cataloger.cli import flags, render
from cataloger.cli.run_command import open_results, require_file
from cataloger.contracts import TOP_K
from cataloger.errors import FAILURES_STATUS, UsageError
from cataloger.model import Bundle, read_bundle, resolve_bundle_path
from cataloger.objects import is_object_address
from cataloger.utils import replacing

if TYPE_CHECKING:
    from cataloger.inference import Explanation
    from cataloger.records import Failure
    from cataloger.report import Explained
    from cataloger.writeback import WrittenAnswer

EXAMPLES = """\b
Examples:
  cataloger explain dress.jpg
  cataloger explain photos/*.jpg --output why.html
  cataloger explain photos/*.jpg --output why.png --categories 5
  cataloger explain dress.jpg --db sqlite:///shop.db
  cataloger explain --product 1041 --db sqlite:///shop.db
"""


def explain(
    images: Annotated[
        list[str] | None, typer.Argument(metavar="IMAGE", help="Images to explain: files, or s3://, gs://, az://.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Picture (.png) or page (.html) to write.")
    ] = Path("explanation.png"),
    categories: Annotated[
        int, typer.Option("--categories", min=1, max=TOP_K, help="Maps per image, best category first.")
    ] = 3,
    product: Annotated[
        list[str] | None,
        typer.Option(
            "--product", metavar="KEY", help="With --db: where the answer of this product stands; may be repeated."
        ),
    ] = None,
    db: Annotated[
        str | None,
        typer.Option(
            "--db",
            metavar="URL",
            help="Database of the results: say where in the shop the answers stand that were written back.",
        ),
    ] = None,
    schema: flags.SchemaOption = None,
    model: flags.BundleOption = None,
    precision: flags.PrecisionOption = flags.DEFAULTS.precision,
    json_output: flags.JsonOption = False,
) -> None:
    """Draw which places of an image speak for its categories.

    A map shows the network's own score of each place; the score of the category is their mean. It shows where
    evidence was found, not the outline of an object. It is written as a picture or as a page (--output map.html).
    With --db it is also said which table, row and column of the shop hold the answer of an image's product, since
    when, and by which run.
    """
    if output.suffix.lower() not in WRITERS:
        raise UsageError(f"--output {output}: name a .png file, or a page, .html")
    require_file(output, "--output")
    if product and not db:
        raise UsageError("--product needs --db, the database of the results")
    if not images and not product:
        raise UsageError("name an image, or a product with --product and --db")
    written = _read_written(db, schema, [_place(image) for image in images or ()], product or ()) if db else None
    explanations: list[Explanation] = []
    failures: list[Failure] = []
    if images:
        bundle = read_bundle(resolve_bundle_path(model or "default"), check=()).at(precision)
        explanations, failures = _explained(bundle, images)
    if explanations:
        from cataloger.report import Explained

        with replacing(output) as temporary:
            WRITERS[output.suffix.lower()](Explained(explanations, failures, written), categories, temporary)
    if json_output:
        _print_json(explanations, failures, written)
    else:
        _print(explanations, failures, output)
        if written is not None:
            _print_written(written)
    if failures:
        raise typer.Exit(FAILURES_STATUS)


def _explained(bundle: Bundle, images: list[str]) -> "tuple[list[Explanation], list[Failure]]":
    """Return the maps of images, and what could not be read."""
    from cataloger.inference import explain_images as find
    from cataloger.records import Failure

    found = list(find(bundle, images))
    explanations = [each for each in found if not isinstance(each, Failure)]
    failures = [each for each in found if isinstance(each, Failure)]
    return explanations, failures


def _write_picture(explained: "Explained", categories: int, path: Path) -> None:
    from cataloger.inference import draw

    draw(explained.images, categories).save(path, "PNG")


def _write_page(explained: "Explained", categories: int, path: Path) -> None:
    from cataloger.report import render_explanation

    page = render_explanation(explained, categories)
    # The name of a file may contain bytes that are not UTF-8.
    path.write_text(page, encoding="utf-8", errors="backslashreplace", newline="\n")


WRITERS = {".png": _write_picture, ".html": _write_page}
"""What writes a file, by the end of its name."""


def _read_written(
    db: str, schema: str | None, images: Sequence[str], products: Sequence[str]
) -> "dict[str, list[WrittenAnswer]]":
    """Return where answers stand: product -> cells. Those of images come after those that are named."""
    from cataloger.writeback import products_of_images, written_answers

    with open_results(db, schema) as database:
        found = products_of_images(database, images)
        keys = dict.fromkeys([*products, *(key for path in images for key in found[path])])
        return {key: written_answers(database, key) for key in keys}


def _print_json(
    explanations: "list[Explanation]", failures: "list[Failure]", written: "dict[str, list[WrittenAnswer]] | None"
) -> None:
    failed = [{"file": each.item.uri, "error_code": each.code, "error_text": each.message} for each in failures]
    products = [
        {"product_key": key, "written": [each.as_json() for each in cells]} for key, cells in (written or {}).items()
    ]
    render.print_json([*(each.as_json() for each in explanations), *failed, *products])


def _print_written(written: "dict[str, list[WrittenAnswer]]") -> None:
    console = render.stdout_console()
    rows = [
        (key, _value(each), each.place, f"{each.written_at:%Y-%m-%d %H:%M}", str(each.run_id))
        for key, cells in written.items()
        for each in cells
    ]
    if rows:
        console.print(render.table(("product", "written", "where", "when", "run"), rows))
    if nowhere := [key for key, cells in written.items() if not cells]:
        console.print(f"written nowhere: {', '.join(nowhere)}", markup=False)
    if not written:
        console.print("the database knows no product of these images", markup=False)


def _value(answer: "WrittenAnswer") -> str:
    text = "taken away" if answer.value is None else str(answer.value)
    return f"{text} (restored)" if answer.is_restored else text


def _place(image: str) -> str:
    """Return where an image lies, as results name it."""
    return image if is_object_address(image) else str(Path(image).absolute())


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
