"""From a trained network to the files of a bundle: ONNX, integers, files for other tools.

Needs torch and onnx. Imports `training.calibration` and what lies below.
"""

from typing import TYPE_CHECKING

from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.training.export import onnx
    from cataloger.training.export.interchange import write_interchange
    from cataloger.training.export.quantize import quantize_bundle

__all__ = ["onnx", "quantize_bundle", "write_interchange"]


__getattr__ = lazy_names(
    __name__,
    {
        "interchange": ["write_interchange"],
        "quantize": ["quantize_bundle"],
    },
)
