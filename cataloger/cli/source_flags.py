"""Flags of `sync` that say what is read: the database of the products, their table or query, and their images."""

from pathlib import Path
from typing import Annotated

import typer

ShopOption = Annotated[
    str,
    typer.Option(
        "--db",
        envvar="CATALOGER_DB",
        metavar="URL",
        help="Database of the products, e.g. postgresql://user@host/name.",
    ),
]
TableOption = Annotated[
    str | None,
    typer.Option(
        "--table",
        envvar="CATALOGER_TABLE",
        metavar="NAME",
        help='Table or view of the products: products, shop.products, or shop."My.Table".',
    ),
]
IdOption = Annotated[
    list[str] | None,
    typer.Option(
        "--id",
        envvar="CATALOGER_ID",
        metavar="COLUMN",
        help="Column that identifies a product; may be repeated. Default with --image-query: product_id.",
    ),
]
ImageOption = Annotated[
    str | None,
    typer.Option(
        "--image",
        envvar="CATALOGER_IMAGE",
        metavar="COLUMN",
        help="Column with the path, the URL or the bytes. Default with --image-query: image.",
    ),
]
ImageQueryOption = Annotated[
    str | None,
    typer.Option(
        "--image-query",
        envvar="CATALOGER_IMAGE_QUERY",
        metavar="SQL",
        help="In place of --table: one SELECT of product_id, image_id, image and, if wanted, version, department.",
    ),
]
ImageQueryFileOption = Annotated[
    Path | None,
    typer.Option(
        "--image-query-file",
        envvar="CATALOGER_IMAGE_QUERY_FILE",
        metavar="FILE",
        help="File with the SELECT of --image-query.",
    ),
]
ImageRootOption = Annotated[
    Path | None,
    typer.Option(
        "--image-root", envvar="CATALOGER_IMAGE_ROOT", metavar="DIR", help="Folder that relative paths start at."
    ),
]
ObjectRootOption = Annotated[
    list[str] | None,
    typer.Option(
        "--object-root",
        envvar="CATALOGER_OBJECT_ROOT",
        metavar="s3://BUCKET/PREFIX",
        help="Read objects (s3://, gs://, az://) that tables and manifests name, if they lie below this address. May "
        "be repeated. Default: none.",
    ),
]
ImageListOption = Annotated[
    str | None,
    typer.Option(
        "--image-list",
        envvar="CATALOGER_IMAGE_LIST",
        metavar="json|php|SEPARATOR",
        help="A cell holds several images: as a JSON array, a serialized array of PHP, or with this separator. "
        "json:KEY, php:KEY: an array of objects, whose KEY is the image.",
    ),
]
ImageTableOption = Annotated[
    str | None,
    typer.Option(
        "--image-table",
        envvar="CATALOGER_IMAGE_TABLE",
        metavar="NAME",
        help="Table with one row per image; then --image is a column of this table.",
    ),
]
ImageFkOption = Annotated[
    list[str] | None,
    typer.Option(
        "--image-fk",
        envvar="CATALOGER_IMAGE_FK",
        metavar="COLUMN",
        help="Column of --image-table with the product's id; one for each --id.",
    ),
]
ImageIdOption = Annotated[
    list[str] | None,
    typer.Option(
        "--image-id",
        envvar="CATALOGER_IMAGE_ID",
        metavar="COLUMN",
        help="Column of --image-table that identifies a row. Default: its primary key; with --image-query: image_id.",
    ),
]
VersionColumnOption = Annotated[
    str | None,
    typer.Option(
        "--version-column",
        envvar="CATALOGER_VERSION_COLUMN",
        metavar="COLUMN",
        help="Column that changes whenever the image does, e.g. updated_at. Default with --image-query: version.",
    ),
]
WhereOption = Annotated[
    str | None,
    typer.Option(
        "--where", envvar="CATALOGER_WHERE", metavar="SQL", help="Only products that fulfil this condition."
    ),
]
LabelMapOption = Annotated[
    Path | None,
    typer.Option(
        "--label-map",
        envvar="CATALOGER_LABEL_MAP",
        metavar="CSV",
        help="The shop's own codes: a file with columns label, code and optionally name, parent. The code 'ignore' "
        "says that the shop does not sell a category.",
    ),
]
TaxonomyOption = Annotated[
    str | None,
    typer.Option(
        "--taxonomy",
        envvar="CATALOGER_TAXONOMY",
        metavar="google|shopify",
        help="Codes without a file: ids and full paths of Google's or Shopify's product taxonomy. Lines of "
        "--label-map go before them.",
    ),
]
DepartmentColumnOption = Annotated[
    str | None,
    typer.Option(
        "--department-column",
        envvar="CATALOGER_DEPARTMENT_COLUMN",
        metavar="COLUMN",
        help="Column of the product table with the department of a product, e.g. men or shoes; see --departments. "
        "Default with --image-query: department.",
    ),
]
DepartmentsOption = Annotated[
    Path | None,
    typer.Option(
        "--departments",
        envvar="CATALOGER_DEPARTMENTS",
        metavar="TOML|CSV",
        help="The categories of each department: a file. Kept with the source; 'none' ends it.",
    ),
]
LedgerOption = Annotated[
    str | None,
    typer.Option(
        "--ledger-db",
        envvar="CATALOGER_LEDGER_DB",
        metavar="URL",
        help="Database of cataloger's own tables, if not that of the products.",
    ),
]
SourceNameOption = Annotated[
    str | None,
    typer.Option(
        "--source-name",
        envvar="CATALOGER_SOURCE_NAME",
        metavar="NAME",
        help="Name of the source in the results. Default: made from server, table and column, or of the server alone "
        "with --image-query.",
    ),
]
