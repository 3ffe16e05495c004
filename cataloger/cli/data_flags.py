"""The flags that say where labelled images are."""

from pathlib import Path
from typing import Annotated

import typer

from cataloger.errors import UsageError

SOURCES = """DATA is one of
  photos/                  class folders: photos/<category>/..., or photos/train/<category>/..., val, test
  labels.csv               a manifest, also .tsv, .jsonl, .parquet: columns image, label and, if there are, split
                           and product_id; several accepted labels are joined by "|"
  DeepFashion/             the Category and Attribute Prediction benchmark, as it is published
or, in its place, --db URL --query "select image, category, product_id from ..."."""


DataArgument = Annotated[
    Path | None,
    typer.Argument(metavar="DATA", help="Class folders, a manifest, or DeepFashion's lists.", show_default=False),
]
ImagesOption = Annotated[
    Path | None,
    typer.Option(
        "--images",
        envvar="CATALOGER_IMAGES",
        metavar="DIR",
        help="Folder that relative paths start at. Default: that of the manifest.",
    ),
]
DatabaseOption = Annotated[
    str | None,
    typer.Option("--db", envvar="CATALOGER_DB", metavar="URL", help="Database of --query."),
]
QueryOption = Annotated[
    str | None,
    typer.Option(
        "--query",
        envvar="CATALOGER_QUERY",
        metavar="SQL",
        help="A SELECT of image, category and, if there is one, product_id.",
    ),
]
ObjectRootOption = Annotated[
    list[str] | None,
    typer.Option(
        "--object-root",
        envvar="CATALOGER_OBJECT_ROOT",
        metavar="s3://BUCKET/PREFIX",
        help="Read images in object stores (s3://, gs://, az://) that labels name, if they lie below this address. "
        "May be repeated. Default: none.",
    ),
]
AllowPrivateOption = Annotated[
    bool,
    typer.Option(
        "--allow-private",
        envvar="CATALOGER_ALLOW_PRIVATE",
        help="Also download labelled images from private and local addresses, such as the shop's own.",
    ),
]
ImageColumnOption = Annotated[
    str | None,
    typer.Option(
        "--image-column",
        envvar="CATALOGER_IMAGE_COLUMN",
        metavar="NAME",
        help="Column of the paths. Default: image, file, path, filename or image_path.",
    ),
]
LabelColumnOption = Annotated[
    str | None,
    typer.Option(
        "--label-column",
        envvar="CATALOGER_LABEL_COLUMN",
        metavar="NAME",
        help="Column of the labels. Default: labels, label, category or class.",
    ),
]
SplitColumnOption = Annotated[
    str | None,
    typer.Option(
        "--split-column",
        envvar="CATALOGER_SPLIT_COLUMN",
        metavar="NAME",
        help="Column with train, val or test. Default: split. Without it, or with '', splits are made.",
    ),
]
ProductColumnOption = Annotated[
    str | None,
    typer.Option(
        "--product-column",
        envvar="CATALOGER_PRODUCT_COLUMN",
        metavar="NAME",
        help="Column of the product; its images stay together. Default: product_id, product, sku or group; '': none",
    ),
]
NoProductOption = Annotated[
    str | None,
    typer.Option(
        "--no-product",
        envvar="CATALOGER_NO_PRODUCT",
        metavar="LABEL",
        help="Label of images that show no product (phones, faces, size charts), which the model learns to tell from"
        " products; '': those without a label.",
    ),
]
ReportByOption = Annotated[
    list[str] | None,
    typer.Option(
        "--report-by",
        envvar="CATALOGER_REPORT_BY",
        metavar="COLUMN",
        help="Also report the results by this column of the labels.",
    ),
]
GroupColumnOption = Annotated[
    str | None,
    typer.Option(
        "--group-column",
        envvar="CATALOGER_GROUP_COLUMN",
        metavar="NAME",
        help="Column of what belongs together, e.g. the shop: intervals are given over these groups, too. "
        "Default: product_id, product, sku or group; '': none.",
    ),
]
FoldOption = Annotated[
    Path | None,
    typer.Option(
        "--fold",
        metavar="FILE",
        help="CSV with the columns label and counts_as: newer labels, and the older ones that they count as.",
    ),
]
SharesOption = Annotated[
    str,
    typer.Option(
        "--shares",
        envvar="CATALOGER_SHARES",
        metavar="T,V,T",
        help="Shares of train, val, test, if splits are made.",
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", envvar="CATALOGER_SEED", help="Same seed and data: same splits.")]


def parse_shares(text: str) -> tuple[float, float, float]:
    """Read the shares of train, val and test, e.g. 80,10,10. Raises UsageError."""
    try:
        train, val, test = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"--shares {text}: write three numbers for train, val and test, e.g. 80,10,10") from error
    return train, val, test
