"""Images out of object stores, with bounds on their size.

What goes wrong becomes a `Failure` with one of these codes; those marked with * are signs of an outage of the bucket:

    fetch.not_found          there is no such object
    fetch.http_status        access is denied; * the credentials are wrong or the bucket is not there;
                             * again: too many requests (SlowDown), or the store is not available
    fetch.timeout            * no answer in time; again
    fetch.connection         * no connection, or it breaks; again
    decode.too_many_bytes    larger than `Limits.max_bytes`, by what the store says: nothing of it is read (permanent)
    io.error                 this machine cannot write its temporary file

"Again" means up to `WebOptions.attempts` times in all, after a random part of a wait that doubles each time.
"""

import hashlib
from dataclasses import replace
from tempfile import SpooledTemporaryFile

from cataloger.errors import ImageError
from cataloger.fetch.download_buffer import BUFFER_BYTES, Downloaded
from cataloger.objects import Body, Listed, ObjectAddress, ObjectStores, StoreError
from cataloger.options import Limits
from cataloger.records import Failure, Fetched, Item
from cataloger.sources import with_validators


class ObjectReader:
    """Reads the objects of items, from as many threads at once as there are."""

    def __init__(self, stores: ObjectStores, limits: Limits) -> None:
        self._stores = stores
        self._limits = limits

    def close(self) -> None:
        """Stop: waits of other threads end soon as failures. Any thread may call it, also twice."""
        self._stores.close()

    def get(self, item: Item) -> Fetched | Downloaded | Failure:
        """Read the object of an item; the codes of its failures are those of the module."""
        assert item.stored is not None, "only an item with an object can be read from a store"
        address = ObjectAddress(item.stored.store, item.stored.key)
        # Room was made for what a listing has announced; of the others only so much is kept in memory.
        room = BUFFER_BYTES if item.stored.size is None else max(item.stored.size, BUFFER_BYTES)
        if (item.stored.size or 0) > self._limits.max_bytes:
            return _failure(item, ImageError.too_many_bytes(self._limits.max_bytes))
        try:
            return self._stores.get(address, lambda listed, body: self._take(item, listed, body, room))
        except ImageError as error:
            return _failure(item, error)

    def validators(self, item: Item) -> str:
        """Return what tells the version of an object; "" if that is not known."""
        assert item.stored is not None, "only an item with an object can be asked for"
        try:
            return _validators(self._stores.head(ObjectAddress(item.stored.store, item.stored.key)))
        except StoreError:
            return ""

    def _take(self, item: Item, listed: Listed, body: Body, room: int) -> Fetched | Downloaded:
        if listed.size > self._limits.max_bytes:
            raise ImageError.too_many_bytes(self._limits.max_bytes)
        if listed.size > room:
            return _spooled(item, listed, body)
        data = body.read()
        item = replace(item, version=with_validators(item.version, _validators(listed)))
        return Fetched(item, data, hashlib.sha256(data).hexdigest())


def _spooled(item: Item, listed: Listed, body: Body) -> Downloaded:
    """Write a large object to a temporary file."""
    digest = hashlib.sha256()
    file: SpooledTemporaryFile[bytes] = SpooledTemporaryFile(BUFFER_BYTES)  # noqa: SIM115
    try:
        for chunk in body.chunks():
            digest.update(chunk)
            _write(file, chunk)
    except BaseException:
        file.close()
        raise
    return Downloaded(item, digest.hexdigest(), listed.size, _validators(listed), file)


def _write(file: SpooledTemporaryFile[bytes], chunk: bytes) -> None:
    try:
        file.write(chunk)
    except OSError as error:
        raise ImageError("io.error", f"the temporary file cannot be written: {error.strerror}") from error


def _validators(listed: Listed) -> str:
    return listed.etag or f"{listed.modified.isoformat()} {listed.size}"


def _failure(item: Item, error: ImageError) -> Failure:
    return Failure(item, error.code, str(error), may_be_outage=isinstance(error, StoreError) and error.is_of_store)
