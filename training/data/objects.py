"""Labelled images in object stores and on the web: how they are read, which version is there, and its bytes."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from cataloger.fetch import ObjectReader, Remote, fetch
from cataloger.objects import ObjectStores
from cataloger.options import Limits, WebOptions
from cataloger.records import Fetched
from cataloger.sources import change_tokens
from cataloger.training.data.examples import Example


@contextmanager
def remote_of(examples: Sequence[Example], limits: Limits) -> Iterator[Remote | None]:
    """Give what reads those of them that are no files; None if all are. Raises MissingExtraError."""
    pages = [example.web for example in examples if example.web is not None]
    is_stored = any(example.stored for example in examples)
    if not pages and not is_stored:
        yield None
        return
    web = WebOptions(allow_private=any(page.allow_private for page in pages))
    downloader = None
    if pages:
        from cataloger.fetch import Downloader  # only here: it loads httpx

        downloader = Downloader(web, limits)
    objects = ObjectReader(ObjectStores(web), limits) if is_stored else None
    remote = Remote(web=downloader, objects=objects, threads=web.per_host)
    try:
        yield remote
    finally:
        remote.close()


def versions_of(examples: Sequence[Example]) -> list[str]:
    """Return what changes with the bytes of each: size and time of a file, what a store or server says of an image.

    "" where that is not known. Each of the latter costs a request without its bytes. Raises MissingExtraError.
    """
    with remote_of(examples, Limits()) as remote:
        if remote is None:
            return [_version_of_file(example.path) for example in examples]
        far = remote
        with ThreadPoolExecutor(far.threads) as threads:

            def version(example: Example) -> str:
                is_far = example.stored is not None or example.web is not None
                return far.validators(example.item("")) if is_far else _version_of_file(example.path)

            return list(threads.map(version, examples))


def hashes_of(examples: Sequence[Example]) -> list[str | None]:
    """Return the SHA-256 of the bytes of each, hexadecimal; None for one that cannot be read.

    Raises MissingExtraError.
    """
    limits = Limits()
    with remote_of(examples, limits) as remote:
        answers = fetch((example.item("") for example in examples), limits, remote)
        return [answer.content_hash if isinstance(answer, Fetched) else None for answer in answers]


def _version_of_file(path: Path | None) -> str:
    try:
        return "" if path is None else change_tokens.of_file(path.stat())
    except (OSError, ValueError):
        return ""
