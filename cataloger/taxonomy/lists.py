"""The taxonomies that come with the package: those categories of them that our labels mean, and what is above these.

`lists/labels.csv` is our mapping, `lists/synonyms.csv` what else people call the labels; `lists/google.txt` and
`lists/shopify.txt` have the lines of the published lists.
"""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cataloger.errors import UsageError

LISTS = Path(__file__).parent / "lists"
SEPARATORS = {"google": " - ", "shopify": " : "}
NAMES = tuple(SEPARATORS)
SHOPIFY_PREFIX = "gid://shopify/TaxonomyCategory/"
BELOW = " > "


@dataclass(frozen=True, slots=True)
class Category:
    """A category of a taxonomy. path: names from the top, with `BELOW` between them. parent: id of the one above."""

    id: str
    path: str
    parent: str | None


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """A taxonomy. version: of its list. categories: by id. labels: label of the model -> id."""

    name: str
    version: str
    categories: Mapping[str, Category]
    labels: Mapping[str, str]

    def of_label(self, label: str | None) -> Category | None:
        """Return the category of a label of the model; None if it has none."""
        found = self.labels.get(label or "")
        return None if found is None else self.categories[found]


@cache
def read_taxonomy(name: str) -> Taxonomy:
    """Return a taxonomy by its name. Raises UsageError for a name that is none."""
    if name not in NAMES:
        raise UsageError(f"--taxonomy {name}: write one of {', '.join(NAMES)}")
    lines = (LISTS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    with (LISTS / "labels.csv").open(encoding="utf-8", newline="") as file:
        labels = {row["label"]: row[name] for row in csv.DictReader(file) if row[name]}
    return Taxonomy(name, lines[0].rpartition(": ")[2], _categories(lines, SEPARATORS[name]), labels)


@cache
def read_synonyms() -> Mapping[str, tuple[str, ...]]:
    """Return label -> what else people call it."""
    with (LISTS / "synonyms.csv").open(encoding="utf-8", newline="") as file:
        return {row["label"]: tuple(row["other"].split("|")) for row in csv.DictReader(file)}


def _categories(lines: Iterable[str], separator: str) -> dict[str, Category]:
    """Read lines as the published lists have them; those that begin with # are comments."""
    pairs = [line.split(separator, 1) for line in lines if not line.startswith("#")]
    ids = {path.strip(): key.strip().removeprefix(SHOPIFY_PREFIX) for key, path in pairs}
    return {key: Category(key, path, ids.get(path.rpartition(BELOW)[0])) for path, key in ids.items()}
