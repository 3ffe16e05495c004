"""A label map to be completed: the labels of a model, with the shop's categories that are called alike."""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from cataloger.ledger import LabelCode
from cataloger.presets.shop_categories import ShopCategory
from cataloger.tabular import csv_line

COLUMNS = ("label", "code", "name", "parent", "candidates")
CANDIDATES = 3
LEAST_LIKENESS = 0.6


def label_map_template(
    labels: Sequence[str], categories: Sequence[ShopCategory], known: Iterable[LabelCode] = ()
) -> list[str]:
    """Return a label map as lines of CSV with a header.

    A label has the code that `known` has for it, or that of the only category that is called like it; else none, and
    categories with similar names in the column `candidates`.
    """
    codes = {each.label: each for each in known}
    lines = [_line(label, codes.get(label), categories) for label in labels]
    return [",".join(COLUMNS), *(csv_line(cells, ",") for cells in lines)]


def _line(label: str, known: LabelCode | None, categories: Sequence[ShopCategory]) -> list[str]:
    if known is not None:
        return [label, known.code, known.name or "", known.parent or "", ""]
    same = [each for each in categories if _plain(each.name) == _plain(label)]
    if len(same) == 1:
        (found,) = same
        return [label, found.code, found.name, found.parent or "", found.path]
    candidates = same or _similar(label, categories)
    return [label, "", "", "", "; ".join(f"{each.code} {each.path}" for each in candidates[:CANDIDATES])]


def _similar(label: str, categories: Sequence[ShopCategory]) -> list[ShopCategory]:
    by_name = {_plain(each.name): each for each in reversed(categories)}
    return [by_name[name] for name in get_close_matches(_plain(label), by_name, CANDIDATES, LEAST_LIKENESS)]


def _plain(name: str) -> str:
    """Return a name without case, signs and the ending of a plural."""
    letters = re.sub(r"[\W_]+", "", name.casefold())
    return re.sub(r"(?<=ss|sh|ch|.x)es$|(?<!s)s$", "", letters)
