"""Categories of a shop's images as they are written elsewhere: in a CSV file, or in a database that a query reads."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from cataloger.db import AnyRow, DatabaseURL, one_select
from cataloger.errors import UsageError
from cataloger.schema import open_source
from cataloger.sources import clean_values, join_keys
from cataloger.tabular import RowProblem, TableFormatError, find_column, open_csv

ROWS_PER_READ = 5000
KEYS = ("file", "path", "key", "image", "uri", "product", "sku", "id")
LABELS = ("label", "labels", "category", "code")

Categories = Mapping[str, str]
"""Key of an image or a product, or address of an image -> its category as it is written."""


def listed(categories: Categories) -> Callable[[AnyRow], str | None]:
    """Return what finds the category of an image: that of its key, else of its address, else of its product."""

    def find(row: AnyRow) -> str | None:
        names = (row.key, row.uri, Path(row.uri).name, row.product_key or "")
        return next((categories[name] for name in names if name in categories), None)

    return find


def read_csv_categories(path: Path) -> dict[str, str]:
    """Read a CSV file with a column of images or products and one of categories. Raises UsageError."""
    try:
        with open_csv(path, (*KEYS, *LABELS)) as table:
            key, label = (_column(path, table.names, names) for names in (KEYS, LABELS))
            rows = [row.cells for row in table.rows() if not isinstance(row, RowProblem)]
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except TableFormatError as error:
        raise UsageError(f"{path} {error}") from error
    whole = [cells for cells in rows if len(cells) > max(key, label)]
    return {cells[key].strip(): cells[label].strip() for cells in whole if cells[label].strip()}


def query_categories(url: DatabaseURL, query: str) -> dict[str, str]:
    """Run one SELECT: the columns that identify a product, then its category. Raises UsageError, DatabaseError."""
    statement = one_select(query)
    with closing(open_source(url)) as shop, shop.read() as connection:
        streaming = connection.execution_options(stream_results=True, yield_per=ROWS_PER_READ, no_parameters=True)
        result = streaming.exec_driver_sql(statement)
        if len(result.keys()) < 2:
            raise UsageError("--query must select what identifies a product and, as its last column, its category")
        return dict(_pairs(result))


def _pairs(rows: Iterable[Any]) -> Iterator[tuple[str, str]]:
    for *product, category in rows:
        if category is not None and str(category).strip():
            yield join_keys(clean_values(product)), str(category).strip()


def _column(path: Path, names: Sequence[str], wanted: Sequence[str]) -> int:
    for name in wanted:
        if (place := find_column(name, names)) is not None:
            return place
    raise UsageError(f"{path} has no column {' or '.join(wanted)}")
