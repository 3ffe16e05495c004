"""The categories that people choose from: with what the shop and others call them, and what is above them."""

from typing import Any

from cataloger.corrections import labels_in_use
from cataloger.db import Database
from cataloger.ledger import LabelCode, load_label_map
from cataloger.taxonomy import read_synonyms

DEEPEST = 8
PATH = " > "
"""Between the names of a path, as the published taxonomies and many shops write one."""


def read_categories(database: Database, source_id: int) -> list[dict[str, Any]]:
    """Return the categories of a source as plain JSON values, by what is above them.

    Each has its label, the code and the name of the shop, `also`, what else people call it, and `above`, the names of
    the categories above it from the top, as the label map has them: by its parents, or by a name that is a path, of
    which the last part is then the name.
    """
    codes = {each.label: each for each in load_label_map(database, source_id)}
    names = {row.code: row.name or row.code for row in codes.values()}
    parents = {row.code: row.parent for row in codes.values()}
    found = [_as_json(label, codes.get(label), names, parents) for label in labels_in_use(database, source_id)]
    return sorted(found, key=lambda each: (each["above"], each["label"]))


def _as_json(
    label: str, code: LabelCode | None, names: dict[str, str], parents: dict[str, str | None]
) -> dict[str, Any]:
    *above, name = (code.name or "").split(PATH) if code else [""]
    parent = None if code is None or above else code.parent
    while parent and len(above) < DEEPEST:
        above.insert(0, names.get(parent, parent).rpartition(PATH)[2])
        parent = parents.get(parent)
    return {
        "label": label,
        "code": None if code is None else code.code,
        "name": name or None,
        "also": list(read_synonyms().get(label, ())),
        "above": above,
    }
