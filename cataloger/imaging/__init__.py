"""From encoded bytes to pixels: formats, preprocessing, the pool of decoding processes, thumbnails.

Imports `utils`.
"""

from typing import TYPE_CHECKING

from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.imaging.decode_budget import SharedBudget
    from cataloger.imaging.decode_pool import DecodePool
    from cataloger.imaging.decoder_version import decoder_identity
    from cataloger.imaging.preprocess import load
    from cataloger.imaging.shared_decoder import SharedDecoder
    from cataloger.imaging.thumbnails import SMALL_LOADER, as_jpeg, data_uri, fitted

__all__ = [
    "SMALL_LOADER",
    "DecodePool",
    "SharedBudget",
    "SharedDecoder",
    "as_jpeg",
    "data_uri",
    "decoder_identity",
    "fitted",
    "load",
]


__getattr__ = lazy_names(
    __name__,
    {
        "decode_budget": ["SharedBudget"],
        "decode_pool": ["DecodePool"],
        "decoder_version": ["decoder_identity"],
        "preprocess": ["load"],
        "shared_decoder": ["SharedDecoder"],
        "thumbnails": ["SMALL_LOADER", "as_jpeg", "data_uri", "fitted"],
    },
)
