"""A dry run opens a few images, and refuses a column that holds none: prices, names, ids, addresses of pages."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from cataloger.errors import WrongSourceError
from cataloger.records import Failure, Image, Item, Result
from cataloger.sources import ColumnSample, Sampled

NOT_AN_IMAGE = "decode.not_image"
UNREAD = ("io.", "fetch.", "source.", "decode.empty", "decode.timeout", "decode.crashed")
"""Beginnings of codes of failures that say nothing of what an image is."""

Decode = Callable[[Iterable[Item | Failure]], Iterator[Image | Result]]


def check_column(sample: ColumnSample, decode: Decode) -> str | None:
    """Return a warning where none of a sample could be opened.

    Raises WrongSourceError where none of it can be an image. One that is damaged is an image, one that is missing may
    be. One opened file alone does not condemn its column.
    """
    wrong = [each for each in sample.drawn if each.verdict() == "no"]
    found = dict(_opened([each for each in sample.drawn if each.verdict() != "no"], decode))
    strange = [each for each in sample.drawn if found.get(each.item.key) == NOT_AN_IMAGE]
    if len(wrong) + len(strange) == len(sample.drawn) and (wrong or len(strange) > 1):
        raise WrongSourceError(sample.complaint([*wrong, *strange]))
    codes = Counter(code for code in found.values() if code is not None)
    if found and codes.total() == len(found) and all(code.startswith(UNREAD) for code in codes):
        counted = ", ".join(f"{code} {count:,}" for code, count in codes.most_common())
        return f"none of a sample of {len(found)} images can be opened: {counted}"
    return None


def _opened(sampled: Iterable[Sampled], decode: Decode) -> Iterator[tuple[str, str | None]]:
    """Yield the key of each item, and why it cannot be opened; None for an image."""
    items = {each.subject.key: each.subject for each in sampled if isinstance(each.subject, Item)}
    for result in decode(items.values()):
        yield result.item.key, result.code if isinstance(result, Failure) else None
