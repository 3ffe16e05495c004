"""Tables of the shop, besides that of the products, to write results back to."""

from dataclasses import dataclass

from cataloger.contracts import TOP_K
from cataloger.errors import UsageError

LINK_FIELDS = tuple(f"{kind}_{rank}" for kind in ("label", "parent") for rank in range(1, TOP_K + 1))


@dataclass(frozen=True, slots=True)
class WriteTableOptions:
    """Rows of a table besides the product table, one a product, with columns to write back to.

    keys: columns that name the product, in the order of its ids. columns: pairs of a column and one of WRITE_FIELDS.
    where: columns and their values, as text, that the rows have. adds_rows: add a row for a product that has none.
    """

    table: str
    keys: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    where: tuple[tuple[str, str], ...] = ()
    adds_rows: bool = True

    def __post_init__(self) -> None:
        if not self.keys:
            raise UsageError(f"--write-table {self.table} needs --write-key, its column that names the product")
        if not self.columns:
            raise UsageError(f"--write-table {self.table}: write TABLE:COLUMN=FIELD, or give --write")
        names = [*self.keys, *(name for name, _ in self.where), *(name for name, _ in self.columns)]
        if len(set(names)) < len(names):
            raise UsageError(f"--write-table {self.table} names a column twice")


@dataclass(frozen=True, slots=True)
class WriteLinkOptions:
    """Rows of a table that links products with categories, to add where they are missing.

    product, category: its columns that name them. fields: of LINK_FIELDS, the categories that a product is linked
    with. values: what rows that are added have in other columns, as text.
    constants: the same, where rows with another value are none of these links.
    """

    table: str
    product: str
    category: str
    values: tuple[tuple[str, str], ...] = ()
    constants: tuple[tuple[str, str], ...] = ()
    fields: tuple[str, ...] = ("label_1",)

    def __post_init__(self) -> None:
        for name in self.fields:
            if name not in LINK_FIELDS:
                raise UsageError(
                    f"--write-link {self.table}: {self.category}={name}: a product is linked with label_1 to "
                    f"_{TOP_K} and parent_1 to _{TOP_K}; write e.g. {self.category}=label_1+parent_1"
                )

    @property
    def has_several(self) -> bool:
        """True when categories besides the best one are linked, or their parents."""
        return any(not name.endswith("_1") for name in self.fields)
