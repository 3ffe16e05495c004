"""The bytes of images from files, addresses, object stores and columns, with the guard against requests into private
networks.

Imports `objects`, `sources` and `utils`.
"""

from typing import TYPE_CHECKING

from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.fetch.download_buffer import Downloaded
    from cataloger.fetch.http import Downloader
    from cataloger.fetch.object_store import ObjectReader
    from cataloger.fetch.prefetch import Remote, fetch, fetch_together, read_file
    from cataloger.fetch.ssrf_guard import CheckedBackend, CheckedTransport

__all__ = [
    "CheckedBackend",
    "CheckedTransport",
    "Downloaded",
    "Downloader",
    "ObjectReader",
    "Remote",
    "fetch",
    "fetch_together",
    "read_file",
]


__getattr__ = lazy_names(
    __name__,
    {
        "download_buffer": ["Downloaded"],
        "http": ["Downloader"],
        "object_store": ["ObjectReader"],
        "prefetch": ["Remote", "fetch", "fetch_together", "read_file"],
        "ssrf_guard": ["CheckedBackend", "CheckedTransport"],
    },
)
