"""The default backend: onnxruntime on the CPU, or on a GPU where onnxruntime-gpu is installed."""

import zipfile
from typing import Literal

import numpy as np
import onnxruntime

from cataloger.errors import BundleError, UsageError
from cataloger.inference.classifier import OfBundle, Scores
from cataloger.model import FAMILIARITY, GOLDEN, INPUT, LOGITS, PLACE_SCORES, REQUIRED_FILES, Bundle, check_files
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
        return _scores(*self._session.run(self._wanted, {INPUT: pixels}))

    def logits(self, pixels: Pixels) -> Floats:
        """Classify uint8 N x size x size x 3; return float32 N x labels."""
        return self.scores(pixels).logits

    def place_scores(self, pixels: Pixels) -> Floats:
        """Return float32 N x tokens x labels; their mean over the tokens is `logits`."""
        (scores,) = self._session.run([PLACE_SCORES], {INPUT: pixels})
        return np.asarray(scores, dtype=np.float32)

    def scores_and_places(self, pixels: Pixels) -> tuple[Scores, Floats]:
        """Return what `scores` and `place_scores` do, of one run."""
        places, *others = self._session.run([PLACE_SCORES, *self._wanted], {INPUT: pixels})
        return _scores(*others), np.asarray(places, dtype=np.float32)

    def _check_shape(self) -> None:
        names = {output.name: output.shape for output in self._session.get_outputs()}
        if LOGITS not in names or names[LOGITS][-1] != len(self._bundle.labels):
            raise BundleError(f"{self._bundle.model_path} does not give one logit for each label")
        self._wanted = [LOGITS, FAMILIARITY] if FAMILIARITY in names else [LOGITS]


def _scores(logits: Floats, familiarity: Floats | None = None) -> Scores:
    known = None if familiarity is None else np.asarray(familiarity, dtype=np.float32)
    return Scores(np.asarray(logits, dtype=np.float32), known)


def has_cuda_provider() -> bool:
    """True where the installed onnxruntime was built for GPUs of NVIDIA."""
    return CUDA_PROVIDER in onnxruntime.get_available_providers()


def replay_golden(bundle: Bundle) -> float:
    """Classify the golden images in the bundle's precision; return the largest absolute difference of a logit.

    Raises BundleError when a file differs from its hash or the difference exceeds the bundle's tolerance.
    """
    check_files(bundle, (*REQUIRED_FILES, bundle.model_path.name))
    try:
        with np.load(bundle.path / GOLDEN, allow_pickle=False) as golden:
            images, expected = golden["images"], golden[golden_key(bundle)]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BundleError(f"{bundle.path / GOLDEN} cannot be read: {error}") from error
    difference = float(np.abs(OnnxClassifier(bundle).logits(images) - expected).max())
    if not difference <= bundle.tolerance:
        raise BundleError(
            f"{bundle.title} in {bundle.precision} gives other logits than when it was exported: they differ by "
            f"{difference:.2g}, allowed is {bundle.tolerance:.2g}; this machine or its onnxruntime must not be "
            "trusted with it"
        )
    return difference


def golden_key(bundle: Bundle) -> str:
    """Return the name of the expected logits in golden.npz."""
    return LOGITS if bundle.precision == "fp32" else f"{LOGITS}_{bundle.precision}"
