"""The rows of an export of Shopify's products, as they stand in the file, to be copied."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cataloger.errors import UsageError
from cataloger.schema import key_hash
from cataloger.tabular import (
    CsvTable,
    RawRow,
    RowProblem,
    TableFormatError,
    cells_as_written,
    find_shopify_column,
    open_csv,
    shopify_columns,
    text_of_cell,
)
from cataloger.utils import clean_name

CATEGORY, TYPE, TAGS = "Product Category", "Type", "Tags"
WRITABLE = {CATEGORY: shopify_columns.CATEGORY, TYPE: shopify_columns.TYPE, TAGS: shopify_columns.TAGS}
"""The columns that answers can be written to, and how exports call them."""

BLOCK_ROWS = 2000
BLOCK_CHARACTERS = 4_000_000
MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class ExportRow:
    """A row of an export. product: key of the product that begins here; "" for all other rows."""

    row: RawRow
    product: str = ""

    def cell(self, place: int) -> str:
        """Return what a cell says, as it is written."""
        cells, _ = cells_as_written(self.row, ",")
        return text_of_cell(cells[place]) if place < len(cells) else ""


@dataclass(frozen=True, slots=True)
class ProductExport:
    """An export of Shopify's products. places: of those columns of WRITABLE that it has. header: its first line."""

    path: Path
    table: CsvTable
    places: dict[str, int]
    handle: int

    @property
    def header(self) -> str:
        return self.table.header.text if self.table.header else ""

    def blocks(self) -> Iterator[list[ExportRow]]:
        """Yield all rows below the header, once, in blocks that memory can hold. Raises UsageError for a bad row."""
        met: set[int] = set()
        block: list[ExportRow] = []
        size = 0
        for row in self.table.rows(keep_empty=True):
            if isinstance(row, RowProblem):
                raise UsageError(f"--into {self.path}, {row.place}: the row {row.text}")
            block.append(ExportRow(row, self._begun(row, met)))
            size += len(row.text)
            if len(block) == BLOCK_ROWS or size > BLOCK_CHARACTERS:
                yield block
                block, size = [], 0
        if block:
            yield block

    def _begun(self, row: RawRow, met: set[int]) -> str:
        """Return the product whose first row this is. met: hashes of those before, whose rows may be anywhere."""
        handle = row.cells[self.handle] if self.handle < len(row.cells) else ""
        if not handle.strip():
            return ""
        key = clean_name(handle)
        digest = int(key_hash(key)[:16], 16)
        if digest in met:
            return ""
        met.add(digest)
        return key


@contextmanager
def open_export(path: Path) -> Iterator[ProductExport]:
    """Open an export of Shopify's products. Raises UsageError for a file that is none, or that it does not import."""
    known = (*shopify_columns.HANDLE, *shopify_columns.TITLE, *shopify_columns.IMAGE, *WRITABLE)
    try:
        if not path.is_file():
            raise UsageError(f"--into {path}: there is no such file")
        with open_csv(path, known) as table:
            yield _export(path, table)
    except OSError as error:
        raise UsageError(f"--into {path} cannot be read: {error.strerror}") from error
    except TableFormatError as error:
        raise UsageError(f"--into {path} {error}") from error


def begins_with_mark(path: Path) -> bool:
    """Tell whether a file begins with the byte order mark of UTF-8."""
    with path.open("rb") as file:
        return file.read(len(MARK)) == MARK


def _export(path: Path, table: CsvTable) -> ProductExport:
    handle = find_shopify_column(shopify_columns.HANDLE, table.names)
    if handle is None or find_shopify_column(shopify_columns.TITLE, table.names) is None:
        raise UsageError(f"--into {path} has no columns Handle and Title: export the products from Shopify again")
    if table.separator != "," or table.header is None or table.header.line != 1:
        raise UsageError(
            f"--into {path} is not as Shopify imports it, with commas and the names of columns in its first line: "
            "export the products again, or save the file with commas"
        )
    found = {name: find_shopify_column(written, table.names) for name, written in WRITABLE.items()}
    return ProductExport(path, table, {name: place for name, place in found.items() if place is not None}, handle)
