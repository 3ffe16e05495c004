"""The bytes of images from files, web addresses and columns, with the guard against requests into private networks.

Imports `sources` and `utils`.
"""

from typing import TYPE_CHECKING

from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.fetch.http import Downloader
    from cataloger.fetch.prefetch import Remote, fetch, read_file

__all__ = ["Downloader", "Remote", "fetch", "read_file"]


__getattr__ = lazy_names(
    __name__,
    {
        "http": ["Downloader"],
        "prefetch": ["Remote", "fetch", "read_file"],
    },
)
