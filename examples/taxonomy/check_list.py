"""Compare the categories that come with cataloger with a full list, as Google or Shopify publish it.

    python examples/taxonomy/check_list.py google taxonomy-with-ids.en-US.txt
    python examples/taxonomy/check_list.py shopify categories.txt

The lists: https://www.google.com/basepages/producttype/taxonomy-with-ids.en-US.txt, and dist/en/categories.txt of
https://github.com/Shopify/product-taxonomy. Each label is printed whose category has gone or has got another path,
with what the list has under that id or that path. Exit status 1 if there is one, 2 for a file that is no such list.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from cataloger.taxonomy import NAMES, Taxonomy, read_taxonomy

SEPARATORS = {"google": " - ", "shopify": " : "}
SHOPIFY_PREFIX = "gid://shopify/TaxonomyCategory/"
LEAST = 50
"""Lines that a list must have at least: ours have fewer, the published ones thousands."""


def main() -> int:
    """Compare one list; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("taxonomy", choices=NAMES)
    parser.add_argument("list", type=Path)
    arguments = parser.parse_args()
    ours = read_taxonomy(arguments.taxonomy)
    try:
        version, published = read_list(arguments.list, arguments.taxonomy)
    except (OSError, ValueError) as error:
        print(f"{arguments.list} is no list of {arguments.taxonomy}: {error}", file=sys.stderr)
        return 2
    problems = list(differences(ours, published))
    print(f"{arguments.taxonomy}: ours are of {ours.version}, the list is {version or 'of no version that it names'}")
    for line in problems:
        print(line)
    print(f"{len(ours.labels)} labels, {len(problems)} of them to be looked at")
    return 1 if problems else 0


def read_list(path: Path, name: str) -> tuple[str, dict[str, str]]:
    """Return the version of a published list, and id -> path. Raises OSError, ValueError."""
    separator, version = SEPARATORS[name], ""
    found: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if line.startswith("#"):
            version = version or line.rpartition(": ")[2]
        elif line.strip():
            key, sign, place = line.partition(separator)
            if not sign:
                raise ValueError(f"line {number} is not ID{separator}PATH: {line[:60]!r}")
            found[key.strip().removeprefix(SHOPIFY_PREFIX)] = place.strip()
    if len(found) < LEAST:
        raise ValueError(f"it has {len(found)} categories; was all of it saved?")
    return version, found


def differences(ours: Taxonomy, published: dict[str, str]) -> Iterator[str]:
    """Yield a line for each label whose category is not as the list has it."""
    ids = {path: key for key, path in published.items()}
    for label in ours.labels:
        category = ours.of_label(label)
        assert category is not None
        found = published.get(category.id)
        if found == category.path:
            continue
        now = f"{category.id} is now {found!r}" if found else f"the list has no {category.id}"
        if category.path in ids:
            now += f"; {ids[category.path]} has that path"
        yield f"{label}: {category.path!r} was {category.id}; {now}"


if __name__ == "__main__":
    sys.exit(main())
