"""The default backend: onnxruntime on the CPU, or on a GPU where onnxruntime-gpu is installed."""

from typing import Literal

import numpy as np
import onnxruntime

from cataloger.errors import BundleError, UsageError
from cataloger.inference.classifier import OfBundle, Scores
from cataloger.model import FAMILIARITY, INPUT, LOGITS, PLACE_SCORES, Bundle
from cataloger.records import Floats, Pixels

CUDA_PROVIDER = "CUDAExecutionProvider"
CPU_PROVIDER = "CPUExecutionProvider"
DISABLED_OPTIMIZERS = ["WeightBiasQuantization"]
"""It would quantize at load, with one scale for all channels, the layers that a model in int8 keeps in fp32."""


class OnnxClassifier(OfBundle):
    """Runs a bundle's ONNX model, that of its precision. Safe to call from several threads at once.

    threads: processors that one call uses. device: "cuda" raises UsageError where onnxruntime cannot start it.
    """

    def __init__(self, bundle: Bundle, *, device: Literal["cpu", "cuda"] = "cpu", threads: int = 1) -> None:
        super().__init__(bundle)
        provider = CUDA_PROVIDER if device == "cuda" else CPU_PROVIDER
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # A spinning thread would take the processor from the decoders while it waits for the next batch.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                str(bundle.model_path), options, providers=[provider], disabled_optimizers=DISABLED_OPTIMIZERS
            )
        except Exception as error:  # onnxruntime raises classes of its own for every kind of bad file
            raise BundleError(f"{bundle.model_path} cannot be loaded: {error}") from error
        if self._session.get_providers()[0] != provider:
            raise UsageError(f"onnxruntime could not start {provider}; run `cataloger doctor`, or use --device cpu")
        self._check_shape()

    @property
    def device(self) -> str:
        return "cuda" if self._session.get_providers()[0] == CUDA_PROVIDER else "cpu"

    def scores(self, pixels: Pixels) -> Scores:
        """Classify uint8 N x size x size x 3."""
        return _scores(*self.run(self._wanted, pixels))

    def logits(self, pixels: Pixels) -> Floats:
        """Classify uint8 N x size x size x 3; return float32 N x labels."""
        return self.scores(pixels).logits

    def place_scores(self, pixels: Pixels) -> Floats:
        """Return float32 N x tokens x labels; their mean over the tokens is `logits`."""
        (scores,) = self.run([PLACE_SCORES], pixels)
        return np.asarray(scores, dtype=np.float32)

    def scores_and_places(self, pixels: Pixels) -> tuple[Scores, Floats]:
        """Return what `scores` and `place_scores` do, of one run."""
        places, *others = self.run([PLACE_SCORES, *self._wanted], pixels)
        return _scores(*others), np.asarray(places, dtype=np.float32)

    def run(self, names: list[str], pixels: Pixels) -> list[Floats]:
        """Return outputs of the model, by name, for uint8 N x size x size x 3."""
        return list(self._session.run(names, {INPUT: pixels}))

    @property
    def _wanted(self) -> list[str]:
        return [LOGITS, FAMILIARITY] if FAMILIARITY in self.outputs else [LOGITS]

    def _check_shape(self) -> None:
        names = {output.name: output.shape for output in self._session.get_outputs()}
        if LOGITS not in names or names[LOGITS][-1] != len(self._bundle.labels):
            raise BundleError(f"{self._bundle.model_path} does not give one logit for each label")
        self.outputs: tuple[str, ...] = tuple(names)


def _scores(logits: Floats, familiarity: Floats | None = None) -> Scores:
    known = None if familiarity is None else np.asarray(familiarity, dtype=np.float32)
    return Scores(np.asarray(logits, dtype=np.float32), known)


def has_cuda_provider() -> bool:
    """True where the installed onnxruntime was built for GPUs of NVIDIA."""
    return CUDA_PROVIDER in onnxruntime.get_available_providers()
