"""From encoded bytes to pixels: formats, preprocessing, the pool of decoding processes, thumbnails.

Imports `utils`.
"""

from typing import TYPE_CHECKING

from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.imaging.decode_pool import DecodePool
    from cataloger.imaging.preprocess import load
    from cataloger.imaging.thumbnails import as_jpeg, data_uri, fitted, thumbnail

__all__ = ["DecodePool", "as_jpeg", "data_uri", "fitted", "load", "thumbnail"]


__getattr__ = lazy_names(
    __name__,
    {
        "decode_pool": ["DecodePool"],
        "preprocess": ["load"],
        "thumbnails": ["as_jpeg", "data_uri", "fitted", "thumbnail"],
    },
)
