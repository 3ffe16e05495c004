"""Labelled images in object stores: how they are read, which version of them is there, and what their bytes are."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cataloger.fetch import ObjectReader, Remote, fetch
from cataloger.objects import ObjectStores
from cataloger.options import Limits, WebOptions
from cataloger.records import Fetched
from cataloger.sources import change_tokens
from cataloger.training.data.examples import Example


def remote_of(examples: Sequence[Example], limits: Limits) -> Remote | None:
    """Return what reads those of them that are objects; None if none is. Raises MissingExtraError."""
    if not any(example.stored for example in examples):
        return None
    web = WebOptions()
    return Remote(objects=ObjectReader(ObjectStores(web), limits), threads=web.per_host)


def versions_of(examples: Sequence[Example]) -> list[str]:
    """Return what changes with the bytes of each: size and time of a file, what its store says of an object.

    "" where that is not known. Each object costs a request without its bytes. Raises MissingExtraError.
    """
    remote = remote_of(examples, Limits())
    if remote is None:
        return [_version_of_file(example.path) for example in examples]
    with ThreadPoolExecutor(remote.threads) as threads:

        def version(example: Example) -> str:
            if example.stored is None:
                return _version_of_file(example.path)
            return remote.validators(example.item(""))

        return list(threads.map(version, examples))


def hashes_of(examples: Sequence[Example]) -> list[str | None]:
    """Return the SHA-256 of the bytes of each, hexadecimal; None for one that cannot be read.

    Raises MissingExtraError.
    """
    limits = Limits()
    answers = fetch((example.item("") for example in examples), limits, remote_of(examples, limits))
    return [answer.content_hash if isinstance(answer, Fetched) else None for answer in answers]


def _version_of_file(path: Path | None) -> str:
    try:
        return "" if path is None else change_tokens.of_file(path.stat())
    except (OSError, ValueError):
        return ""
