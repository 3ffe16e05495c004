"""Products as Shopify exports them, for what an import of them must have: titles, and the tags that are to stay."""

from dataclasses import dataclass
from pathlib import Path

from cataloger.errors import UsageError
from cataloger.tabular import RowProblem, TableFormatError, find_shopify_column, open_csv, shopify_columns

COLUMNS = (shopify_columns.HANDLE, shopify_columns.TITLE, shopify_columns.TAGS)


@dataclass(frozen=True, slots=True)
class ExportedProduct:
    """A product of an export. tags: as written, separated by commas."""

    title: str
    tags: str

    def with_tag(self, tag: str) -> str:
        """Return its tags with one more, unless it has it in any case of its letters."""
        known = [each.strip() for each in self.tags.split(",") if each.strip()]
        return ", ".join(known if tag.casefold() in map(str.casefold, known) else [*known, tag])


def read_export(path: Path) -> dict[str, ExportedProduct]:
    """Return the products of an export by their handle: the first row of each says what it is. Raises UsageError."""
    try:
        return _read(path)
    except OSError as error:
        raise UsageError(f"--export {path} cannot be read: {error.strerror}") from error
    except TableFormatError as error:
        raise UsageError(f"--export {path} {error}") from error


def _read(path: Path) -> dict[str, ExportedProduct]:
    products: dict[str, ExportedProduct] = {}
    with open_csv(path, [name for names in COLUMNS for name in names]) as table:
        places = [find_shopify_column(names, table.names) for names in COLUMNS]
        handle, title, tags = places
        if handle is None or title is None:
            raise UsageError(
                f"--export {path} has no columns Handle and Title: export the products from Shopify again"
            )
        for row in table.rows():
            if isinstance(row, RowProblem):
                raise UsageError(f"--export {path}, {row.place}: the row {row.text}")
            cells = dict(enumerate(row.cells))
            key = cells.get(handle, "").strip()
            if key and key not in products:
                text = "" if tags is None else cells.get(tags, "")
                products[key] = ExportedProduct(cells.get(title, ""), text)
    return products
