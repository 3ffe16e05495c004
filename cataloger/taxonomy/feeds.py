"""Files that Google Merchant Center and Shopify import: the category of each product, from the current results."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Select, select

from cataloger.contracts import DECISIONS
from cataloger.db import Database
from cataloger.errors import UsageError
from cataloger.ledger import find_source_id
from cataloger.schema import PRODUCT_TOP5, LabelMapRow, OtherTargetRow, ProductCurrentRow, SourceRow
from cataloger.tabular import write_csv
from cataloger.taxonomy.copy_journal import COLUMNS
from cataloger.taxonomy.export_rows import CATEGORY, TAGS, TYPE
from cataloger.taxonomy.lists import NAMES, Category, Taxonomy, read_taxonomy
from cataloger.taxonomy.shopify_copy import CopyOptions, CopyReport, write_copy
from cataloger.taxonomy.shopify_export import ExportedProduct, read_export
from cataloger.utils import replacing

ROWS_PER_FETCH = 5000
GOOGLE_COLUMNS = ("id", "google_product_category", "product_type")
UNDECIDED = ("review", "abstain")
SHOPIFY_COLUMNS = ("Handle", "Product Category", "Type", "Tags")


@dataclass(frozen=True, slots=True)
class FeedOptions:
    """What to write. kind: google or shopify. source: its name; None where the products are of one source.

    min_confidence: of the best category. only_decision: write only results so decided; if none is given, all but
    review and abstain. export: Shopify's own export, for titles and tags. copy: another one to write a copy of.
    """

    kind: str
    source: str | None = None
    min_confidence: float | None = None
    only_decision: tuple[str, ...] = ()
    export: Path | None = None
    copy: CopyOptions | None = None

    def __post_init__(self) -> None:
        for decision in self.only_decision:
            if decision not in DECISIONS:
                raise UsageError(f"--only-decision must be one of {', '.join(DECISIONS)}, not {decision!r}")
        if self.export is not None and self.kind != "shopify":
            raise UsageError("--export is an export of Shopify: it goes with a feed for shopify")
        if self.copy is not None and (self.kind != "shopify" or self.export is not None):
            raise UsageError("--into is an export of Shopify: it goes with a feed for shopify, and without --export")


@dataclass(frozen=True, slots=True)
class FeedReport:
    """What was written. left_out: number of products by why: decision, confidence, category or export."""

    written: int
    left_out: Mapping[str, int]


def feed_kind(path: Path, taxonomy: str | None) -> str:
    """Return google or shopify: as it is named, else by the name of the file. Raises UsageError."""
    if path.suffix.lower() != ".csv":
        raise UsageError(f"--output {path}: a feed is CSV; name a file that ends in .csv")
    found = [taxonomy] if taxonomy else [name for name in NAMES if name in path.stem.lower()]
    if len(found) != 1:
        raise UsageError(f"--output {path}: say with --taxonomy who reads the feed, {' or '.join(NAMES)}")
    return read_taxonomy(found[0]).name


def write_feed(database: Database, path: Path, options: FeedOptions) -> FeedReport:
    """Write the feed of a source's products, ordered by key. Raises UsageError or OutputError; the file is whole."""
    taxonomy = read_taxonomy(options.kind)
    source_id, source = _source(database, options.source)
    exported = read_export(options.export) if options.export else None
    feed = _Feed(taxonomy, options, _names(database, source_id), exported)
    rows = feed.rows(_products(database, source))
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        # Programs read it: an apostrophe before a key would make it another key.
        written = write_csv(file, feed.columns, rows, escape=False)
    return FeedReport(written, dict(feed.left_out))


def copy_export(database: Database, path: Path, options: FeedOptions) -> CopyReport:
    """Write a copy of Shopify's export with the products' categories. Raises UsageError, OutputError, LeaseError."""
    assert options.copy is not None
    source_id, _ = _source(database, options.source, _written() if options.copy.undo else _with_products())
    feed = _Feed(read_taxonomy(options.kind), options, _names(database, source_id), None)
    return write_copy(database, source_id, path, options.copy, feed.judged)


class _Feed:
    """Makes rows of products. names: label -> what the shop calls it. exported: products of Shopify's export."""

    def __init__(
        self,
        taxonomy: Taxonomy,
        options: FeedOptions,
        names: Mapping[str, str],
        exported: Mapping[str, ExportedProduct] | None,
    ) -> None:
        self._taxonomy = taxonomy
        self._options = options
        self._names = names
        self._exported = exported
        self.left_out: Counter[str] = Counter()

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the feed; an import of Shopify that changes products wants their titles."""
        if self._taxonomy.name == "google":
            return GOOGLE_COLUMNS
        return SHOPIFY_COLUMNS if self._exported is None else (SHOPIFY_COLUMNS[0], "Title", *SHOPIFY_COLUMNS[1:])

    def rows(self, products: Iterable[Mapping[Any, Any]]) -> Iterator[list[str]]:
        """Yield a row for each product that has what is asked for, and count the others."""
        for product in products:
            found = self._choice(product)
            if isinstance(found, str):
                self.left_out[found] += 1
            else:
                category, kind = found
                yield self._row(product["product_key"], category.id, category.path, kind)

    def judged(self, product: Mapping[Any, Any]) -> Mapping[str, str] | str:
        """Return what a product is to have in the columns of an export, or why it is left out."""
        found = self._choice(product)
        if isinstance(found, str):
            return found
        category, kind = found
        return {CATEGORY: category.path, TYPE: kind, TAGS: _tag(kind)}

    def _choice(self, product: Mapping[Any, Any]) -> tuple[Category, str] | str:
        """Return the category of a product and what the shop calls it, or why it has none."""
        if reason := self._refusal(product):
            return reason
        if (category := self._taxonomy.of_label(product["label_1"])) is None:
            return "category"
        return category, self._names.get(product["label_1"], product["label_1"])

    def _refusal(self, product: Mapping[Any, Any]) -> str | None:
        decision, wanted = product["decision"], self._options.only_decision
        if decision not in wanted if wanted else decision in UNDECIDED:
            return "decision"
        least = self._options.min_confidence
        if least is not None and (product["confidence_1"] or 0.0) < least:
            return "confidence"
        return "export" if self._exported is not None and product["product_key"] not in self._exported else None

    def _row(self, key: str, category_id: str, path: str, kind: str) -> list[str]:
        if self._taxonomy.name == "google":
            return [key, category_id, kind]
        if self._exported is None:
            return [key, path, kind, _tag(kind)]
        known = self._exported[key]
        return [key, known.title, path, kind, known.with_tag(_tag(kind))]


def _tag(kind: str) -> str:
    """Return a text as one tag of Shopify, which separates them by commas."""
    return " ".join(kind.replace(",", " ").split())


def _with_products() -> Select[Any]:
    """Select the sources whose products have a result."""
    return select(ProductCurrentRow.source_id)


def _written() -> Select[Any]:
    """Select the sources that copies were written of; their results may have been undone."""
    return select(OtherTargetRow.source_id).where(OtherTargetRow.kind == COLUMNS.kind)


def _source(database: Database, name: str | None, among: Select[Any] | None = None) -> tuple[int, str]:
    """Return id and name of the source whose products are written. Raises UsageError where that is not one.

    among: SELECT of the sources to choose from; without it those with products.
    """
    wanted = find_source_id(database, name)
    query = select(SourceRow.id, SourceRow.name).where(
        SourceRow.id.in_(among if among is not None else _with_products())
    )
    found = [(int(row.id), str(row.name)) for row in database.rows(query.order_by(SourceRow.name))]
    chosen = [each for each in found if wanted in (None, each[0])]
    if not chosen:
        raise UsageError(
            "there are no products with results: a feed is written of the products of a table or manifest"
        )
    if len(chosen) > 1:
        names = ", ".join(each for _, each in chosen)
        raise UsageError(f"several sources have products: choose one with --source: {names}")
    return chosen[0]


def _names(database: Database, source_id: int) -> dict[str, str]:
    """Return what the shop calls its labels, except where that is a path of a taxonomy."""
    taxonomies = [read_taxonomy(name) for name in NAMES]
    query = select(LabelMapRow.label, LabelMapRow.name).where(LabelMapRow.source_id == source_id)
    rows = [row for row in database.rows(query) if row.name]
    return {
        row.label: row.name for row in rows if not any(_is_path(each, row.label, row.name) for each in taxonomies)
    }


def _is_path(taxonomy: Taxonomy, label: str, name: str) -> bool:
    category = taxonomy.of_label(label)
    return category is not None and category.path == name


def _products(database: Database, source: str) -> Iterator[Mapping[Any, Any]]:
    view = PRODUCT_TOP5.c
    columns = (view.source, view.product_key, view.label_1, view.confidence_1, view.decision)
    query = select(*columns).where(view.source == source).order_by(view.product_key)
    with database.read() as connection:
        stream = connection.execution_options(yield_per=ROWS_PER_FETCH).execute(query)
        with closing(stream):
            yield from (row for row in stream.mappings() if row["source"] == source)
