"""The client of object stores; the only module that loads obstore.

Credentials, regions and endpoints come from the environment, as each cloud has it; see docs/how-to/object-stores.md.
Requests that may work soon are tried again here and not in obstore, so that a run that is stopped waits for none.
"""

import os
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from cataloger.errors import ImageError, MissingExtraError, UsageError
from cataloger.objects.addresses import ObjectAddress
from cataloger.objects.aws_profile import read_profile
from cataloger.objects.store_errors import CREDENTIALS, StoreError, explained
from cataloger.options import WebOptions

PAGE = 1000
"""Objects that stores list with one request."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
SILENT = 8
"""Requests in a row without an answer, after which each is tried only once."""
CHUNK = 1 << 20
ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Listed:
    """What a store says of an object. size: bytes. etag: "" if there is none. modified: when it was written."""

    key: str
    size: int
    etag: str
    modified: datetime

    @classmethod
    def of(cls, meta: Any) -> "Listed":
        """Read what obstore says. Azure writes an ETag with quotes in an answer, and without them in a listing."""
        etag = meta["e_tag"] or ""
        quoted = etag if not etag or etag.endswith('"') else f'"{etag}"'
        return cls(str(meta["path"]), int(meta["size"]), quoted, meta["last_modified"])


class Body:
    """The bytes of an object that has been asked for; none of them has been read yet."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def read(self) -> bytes:
        """Return all bytes."""
        return bytes(self._answer.bytes())

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes in pieces."""
        return map(bytes, self._answer.stream(min_chunk_size=CHUNK))


class ObjectStores:
    """Opens object stores, each once, asks them, and writes there. Usable from several threads.

    web: how long, how often and how many at once, per bucket as per host.
    Raises MissingExtraError.
    """

    def __init__(self, web: WebOptions | None = None) -> None:
        if find_spec("obstore") is None:
            raise MissingExtraError("objects", "using object stores (s3://, gs://, az://)")
        self._web = web or WebOptions()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._stores: dict[str, Any] = {}
        self._places: dict[str, threading.BoundedSemaphore] = {}
        self._unanswered: Counter[str] = Counter()  # requests in a row

    def close(self) -> None:
        """Stop waiting for another attempt. Any thread may call it, also twice."""
        self._stop.set()

    def list(self, folder: ObjectAddress, after: str | None = None) -> Iterator[Listed]:
        """Yield the objects below a folder, in the order of their keys. after: go on behind this key.

        One page is in memory at a time; after a failed request the listing goes on behind the last page. Raises
        StoreError.
        """
        import obstore

        store, failed, stream = self._open(folder.store), 0, None
        while True:
            try:
                if stream is None:
                    stream = obstore.list(store, folder.key or None, offset=after, chunk_size=PAGE)
                page = next(stream, None)
            except Exception as error:  # noqa: BLE001 - a listing may raise what a request may
                failed, stream = failed + 1, None
                self._wait_for_another(explained(error, folder.store), failed)
                continue
            if page is None:
                return
            yield from map(Listed.of, page)
            failed, after = 0, page[-1]["path"]

    def head(self, address: ObjectAddress) -> Listed:
        """Return what the store says of an object. Raises StoreError."""
        import obstore

        store = self._open(address.store)
        return Listed.of(self._persist(address.store, lambda: obstore.head(store, address.key)))

    def get(self, address: ObjectAddress, take: Callable[[Listed, Body], T]) -> T:
        """Ask for an object, and return what `take` makes of it.

        `take` may be called again when the bytes do not arrive; an ImageError of it is raised at once. Raises
        StoreError.
        """
        import obstore

        store = self._open(address.store)

        def attempt() -> T:
            answer = obstore.get(store, address.key)
            return take(Listed.of(answer.meta), Body(answer))

        return self._persist(address.store, attempt)

    def put(self, address: ObjectAddress, file: Path) -> None:
        """Write a file as an object, which is there when all of it is. Raises StoreError."""
        import obstore

        store = self._open(address.store)
        self._persist(address.store, lambda: obstore.put(store, address.key, file))

    def _persist(self, store: str, attempt: Callable[[], T]) -> T:
        """Try once, or several times where that may help."""
        is_silent, failed = self._unanswered[store] >= SILENT, 0
        while True:
            try:
                with self._place(store):
                    found = attempt()
            except ImageError:
                raise
            except Exception as error:  # noqa: BLE001 - obstore has errors of many kinds, ValueError among them
                failed += 1
                why = explained(error, store)
                if why.is_unanswered:
                    self._unanswered[store] += 1
                self._wait_for_another(why, self._web.attempts if is_silent else failed)
                continue
            self._unanswered[store] = 0
            return found

    def _wait_for_another(self, why: StoreError, failed: int) -> None:
        """Wait until a request may be tried again; raise the error where it may not. failed: attempts so far."""
        if not why.is_passing or failed >= self._web.attempts:
            raise why from None
        if self._stop.wait(random.uniform(0.0, min(LONGEST_WAIT, FIRST_WAIT * 2 ** (failed - 1)))):
            raise why from None

    def _place(self, store: str) -> threading.BoundedSemaphore:
        with self._lock:
            return self._places.setdefault(store, threading.BoundedSemaphore(self._web.per_host))

    def _open(self, store: str) -> Any:
        """Return the store of obstore. Raises StoreError and UsageError."""
        with self._lock:
            if store not in self._stores:
                self._stores[store] = _opened(ObjectAddress(store, ""), self._web)
            return self._stores[store]


def _opened(address: ObjectAddress, web: WebOptions) -> Any:
    from obstore import store as kinds

    profile = read_profile() if address.scheme == "s3" else {}
    endpoints = (os.environ.get(name) for name in ENDPOINTS[address.scheme])
    endpoint = profile.get("endpoint") or next(filter(None, endpoints), "")
    is_emulator = address.scheme == "az" and "AZURE_STORAGE_USE_EMULATOR" in os.environ
    client = {
        "timeout": f"{web.timeout:g}s",
        "connect_timeout": f"{min(web.connect_timeout, web.timeout):g}s",
        "allow_http": is_emulator or endpoint.lower().startswith("http://"),
    }
    make = {"s3": kinds.S3Store, "gs": kinds.GCSStore, "az": kinds.AzureStore}[address.scheme]
    try:
        return make(address.bucket, **profile, client_options=client, retry_config={"max_retries": 0})
    except Exception as error:  # noqa: BLE001 - whatever it is, the settings are the reason
        raise UsageError(
            f"{address.store} cannot be opened with the settings of the environment ({type(error).__name__}); set "
            f"{CREDENTIALS[address.scheme]}"
        ) from None
