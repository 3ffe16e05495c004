"""The values that training reads in every epoch: decoded pixels, or the frozen part's features."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cataloger.inference import onnxruntime
from cataloger.options import PreprocessSpec
from cataloger.records import Pixels
from cataloger.training.inputs.augmentation import Augmentation
from cataloger.utils import available_cpus


@dataclass(frozen=True, slots=True)
class PixelExtractor:
    """Keeps the pixels as they are: uint8 size x size x 3, 150 kB per image of 224 pixels."""

    spec: PreprocessSpec
    views: int = 1
    dtype: Any = np.uint8

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.spec.size, self.spec.size, 3)

    @property
    def identity(self) -> str:
        return "pixels"

    def values(self, pixels: Sequence[Pixels], images: Sequence[int]) -> npt.NDArray[Any]:  # noqa: ARG002
        """Return N x 1 x size x size x 3."""
        return np.stack(pixels)[:, None]


@dataclass(frozen=True)
class FeatureExtractor:
    """Runs the frozen part: float16 7 x 7 x 512 for images of 224 pixels, 50 kB per view.

    path: of the frozen layers as ONNX, uint8 `images` to `features`. views: the image itself and augmented ones.
    decisive: what decides the augmented views.
    """

    spec: PreprocessSpec
    path: Path
    augmentation: Augmentation
    views: int
    decisive: str
    dtype: Any = field(default=np.float16)

    @property
    def shape(self) -> tuple[int, ...]:
        side = -(-self.spec.size // 32)
        return (side, side, 512)

    @cached_property
    def identity(self) -> str:
        """Digest of the frozen layers and of what decides the views."""
        return f"{hashlib.sha256(self.path.read_bytes()).hexdigest()} {self.decisive}"

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = available_cpus()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return onnxruntime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])

    def values(self, pixels: Sequence[Pixels], images: Sequence[int]) -> npt.NDArray[Any]:
        """Return N x views x 7 x 7 x 512."""
        views = [self._view(pixels, images, view) for view in range(self.views)]
        return np.stack(views, axis=1)

    def _view(self, pixels: Sequence[Pixels], images: Sequence[int], view: int) -> npt.NDArray[Any]:
        stack = [self.augmentation.view(p, image=i, view=view) for p, i in zip(pixels, images, strict=True)]
        (features,) = self._session.run(None, {"images": np.stack(stack)})
        return np.asarray(features).transpose(0, 2, 3, 1).astype(np.float16)
