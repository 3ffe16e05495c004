"""A taxonomy as the codes of a source: a label map that comes with the package."""

from collections.abc import Iterable, Sequence

from cataloger.errors import UsageError
from cataloger.ledger import LabelCode
from cataloger.taxonomy.lists import read_taxonomy


def taxonomy_codes(name: str, labels: Iterable[str]) -> list[LabelCode]:
    """Return the codes of a taxonomy for these labels: its ids, with full paths as names.

    A label that it has no category for has no code. Raises UsageError where that is so of all.
    """
    taxonomy = read_taxonomy(name)
    found = [(label, taxonomy.of_label(label)) for label in labels]
    codes = [LabelCode(label, each.id, each.path, each.parent) for label, each in found if each is not None]
    if not codes:
        raise UsageError(
            f"--taxonomy {name} has a category for none of the model's labels, which are not those of the default "
            "model: write a label map (--label-map)"
        )
    return codes


def merged_codes(own: Sequence[LabelCode], others: Iterable[LabelCode]) -> list[LabelCode]:
    """Return codes of a shop, and others for those labels that it says nothing of."""
    known = {each.label for each in own}
    return [*own, *(each for each in others if each.label not in known)]
