"""Options that say where the images of a shop's products are."""

from dataclasses import dataclass
from pathlib import Path

from cataloger.option_checks import require

LIST_FORMS = ("json", "php")
"""How a cell may hold a list of images, besides as text with a separator."""
QUERY_COLUMNS = ("product_id", "image_id", "image", "version", "department")
"""Names of the columns of `TableOptions.query` that have other ones only if the options say so."""


@dataclass(frozen=True, slots=True)
class TableOptions:
    """Where the images of a shop's products are.

    table: of the products, "name" or "schema.name". ids: columns that identify a product. image: column of paths,
    URLs or bytes. image_root: folder of the paths. image_list: how a cell holds several: "json" or "php", with :KEY
    for arrays of objects, or a separator.
    image_table: table with one row per image, which then has `image`, `image_fk` (columns that name the product, in
    the order of `ids`) and `image_ids` (columns that identify the row; its primary key if not given).
    version_column: changes whenever the image does. where: SQL condition on the products, trusted as it is.
    department_column: of the product table; names the department of a product. object_roots: addresses such as
    s3://bucket/prefix, below which objects may be read.
    name: of the source; without it, made from database, table and column.
    query: one SELECT in place of `table`, "" then; trusted as it is. The columns are those that it gives, `image_ids`
    those that tell the images of a product apart; what is not given has the names of QUERY_COLUMNS, if it is there.
    """

    table: str
    ids: tuple[str, ...]
    image: str
    image_root: Path | None = None
    image_list: str | None = None
    image_table: str | None = None
    image_fk: tuple[str, ...] = ()
    image_ids: tuple[str, ...] = ()
    version_column: str | None = None
    where: str | None = None
    name: str | None = None
    department_column: str | None = None
    query: str | None = None
    object_roots: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.query is None:
            self._check_table()
        else:
            self._check_query()
        require(len(set(self.ids)) == len(self.ids), "--id names a column twice")
        require(
            self.where is None or self.where.strip() != "", "--where is a condition in SQL, e.g. --where 'active = 1'"
        )
        _check_image_list(self.image_list)
        require(
            self.name is None or (self.name.strip() != "" and not self.name.startswith("/")),
            "--source-name is a name, which does not begin with /",
        )
        if self.image_table:
            require(
                len(self.image_fk) == len(self.ids),
                "--image-table needs --image-fk: its columns that name the product, one for each --id",
            )
            require(self.image_list is None, "--image-list and --image-table exclude each other")
        elif self.query is None:
            require(not self.image_fk and not self.image_ids, "--image-fk and --image-id need --image-table")

    def _check_table(self) -> None:
        require(bool(self.table), "--table is needed, the product table; or --image-query, a SELECT of the images")
        require(bool(self.ids), "--id is needed: the column or columns that identify a product")
        require(bool(self.image), "--image is needed: the column with the path, the URL or the bytes of the image")

    def _check_query(self) -> None:
        require(not self.table, "--table and --image-query exclude each other; give one of them")
        require(
            not (self.image_table or self.image_fk),
            "--image-table and --image-fk are for --table; with --image-query, join the tables in the query",
        )
        require(self.where is None, "--where is for --table; with --image-query, write the condition into the query")
        require(
            not (self.image_list and self.image_ids),
            "--image-list and --image-id exclude each other: the images of a list are told apart by their names",
        )


def _check_image_list(text: str | None) -> None:
    """Raise UsageError for what is neither a form of lists nor a separator: a letter would cut names into pieces."""
    if text is None:
        return
    kind, mark, key = text.partition(":")
    is_form = kind in LIST_FORMS and (not mark or bool(key))
    is_separator = text != "" and not any(sign.isalnum() for sign in text)
    require(
        is_form or is_separator,
        f"--image-list {text!r} is neither json, php, json:KEY, php:KEY nor a separator without letters and digits, "
        "e.g. --image-list '|'",
    )
