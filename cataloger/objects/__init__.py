"""Object stores: addresses such as s3://bucket/key, and the client that lists and reads there.

Imports `errors`, `options`, `records` and `utils`. `client` alone loads obstore, of the extra `objects`, and only
when a store is opened.
"""

from typing import TYPE_CHECKING

from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.objects.addresses import (
        OBJECT_SCHEMES,
        ObjectAddress,
        ObjectRoots,
        checked_roots,
        is_object_address,
        read_address,
    )
    from cataloger.objects.client import Body, Listed, ObjectStores
    from cataloger.objects.kept_folders import kept_folder, kept_from
    from cataloger.objects.store_errors import StoreError

__all__ = [
    "OBJECT_SCHEMES",
    "Body",
    "Listed",
    "ObjectAddress",
    "ObjectRoots",
    "ObjectStores",
    "StoreError",
    "checked_roots",
    "is_object_address",
    "kept_folder",
    "kept_from",
    "read_address",
]


__getattr__ = lazy_names(
    __name__,
    {
        "addresses": [
            "OBJECT_SCHEMES",
            "ObjectAddress",
            "ObjectRoots",
            "checked_roots",
            "is_object_address",
            "read_address",
        ],
        "client": ["Body", "Listed", "ObjectStores"],
        "kept_folders": ["kept_folder", "kept_from"],
        "store_errors": ["StoreError"],
    },
)
