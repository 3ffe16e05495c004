"""The default backend: onnxruntime on the CPU, or on a GPU where onnxruntime-gpu is installed."""

import math
import threading
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from cataloger.errors import BundleError, UsageError
from cataloger.inference.answers import check_answers
from cataloger.inference.classifier import OfBundle, Scores
from cataloger.inference.private_onnxruntime import onnxruntime
from cataloger.model import (
    FAMILIARITY,
    INPUT,
    LOGITS,
    MANIFEST,
    PLACE_SCORES,
    Bundle,
    Tensors,
    check_bound,
    check_onnx,
    is_shipped,
    refusal,
)
from cataloger.records import Floats, Pixels

CUDA_PROVIDER = "CUDAExecutionProvider"
CPU_PROVIDER = "CPUExecutionProvider"
DISABLED_OPTIMIZERS = ["WeightBiasQuantization"]
"""It would quantize at load, with one scale for all channels, the layers that a model in int8 keeps in fp32."""
OUT_OF_MEMORY = ("bad_alloc", "allocate memory", "MemoryError", "AllocateRaw")
REMEDY = "do not use this model, or get it again; `cataloger models verify` checks it"


class OnnxClassifier(OfBundle):
    """Runs a bundle's ONNX model, that of its precision. Safe to call from several threads at once.

    threads: processors that one call uses. device: "cuda" raises UsageError where onnxruntime cannot start it. Raises
    BundleError, here or when it classifies, for a model that is not what a bundle says; shipped ones are as trusted
    as this program. Models of others are run by `cataloger.inference.isolated`, which bounds their time and memory.
    """

    def __init__(self, bundle: Bundle, *, device: Literal["cpu", "cuda"] = "cpu", threads: int = 1) -> None:
        super().__init__(bundle)
        is_foreign = not is_shipped(bundle.path)
        if is_foreign:
            check_onnx(bundle.model_path)
        provider = CUDA_PROVIDER if device == "cuda" else CPU_PROVIDER
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what it would print is raised as well
        # A spinning thread would take the processor from the decoders while it waits for the next batch.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                str(bundle.model_path),
                options,
                providers=[provider],
                disabled_optimizers=DISABLED_OPTIMIZERS,
                enable_fallback=int(device == "cuda"),  # a second try, of which it tells on stdout
            )
        except Exception as error:  # onnxruntime raises classes of its own for every kind of bad file
            raise self.refused(f"cannot be loaded: {error}") from error
        if self._session.get_providers()[0] != provider:
            raise UsageError(f"onnxruntime could not start {provider}; run `cataloger doctor`, or use --device cpu")
        try:
            self._check_shapes()
        except UnicodeDecodeError as error:
            raise self.refused(f"has names that are no text: {error}") from error
        self._lock = threading.Lock()
        self._weights: Tensors | None = None
        if is_foreign and (bundle.path / MANIFEST).exists():  # a draft is compared when it is sealed
            self._weights = check_bound(bundle)

    @property
    def device(self) -> str:
        return "cuda" if self._session.get_providers()[0] == CUDA_PROVIDER else "cpu"

    def scores(self, pixels: Pixels) -> Scores:
        """Classify uint8 N x size x size x 3."""
        return self._scores(self.run(self._wanted, pixels), len(pixels))

    def logits(self, pixels: Pixels) -> Floats:
        """Classify uint8 N x size x size x 3; return float32 N x labels."""
        return self.scores(pixels).logits

    def place_scores(self, pixels: Pixels) -> Floats:
        """Return float32 N x tokens x labels; their mean over the tokens is `logits`."""
        return self._places(self.run([PLACE_SCORES], pixels)[0], len(pixels))

    def scores_and_places(self, pixels: Pixels) -> tuple[Scores, Floats]:
        """Return what `scores` and `place_scores` do, of one run."""
        places, *others = self.run([PLACE_SCORES, *self._wanted], pixels)
        return self._scores(others, len(pixels)), self._places(places, len(pixels))

    def run(self, names: Sequence[str], pixels: Pixels) -> list[Any]:
        """Return outputs of the model, by name, for uint8 N x size x size x 3.

        The first call also compares what it answers for an image of ours with what its weights do.
        """
        if self._weights is not None:
            self.check_answer()
        return self._run(names, pixels)

    def check_answer(self) -> None:
        """Do now what the first call of `run` does otherwise. Raises BundleError."""
        with self._lock:
            if self._weights is not None:
                check_answers(self._bundle, self._weights, self._own_scores, images=1)
                self._weights = None

    def _own_scores(self, pixels: Pixels) -> Scores:
        return self._scores(self._run(self._wanted, pixels), len(pixels))

    def _run(self, names: Sequence[str], pixels: Pixels) -> list[Any]:
        try:
            return list(self._session.run(names, {INPUT: pixels}))
        except Exception as error:  # as above
            raise self.refused(f"cannot classify {len(pixels)} images: {error}") from error

    @property
    def _wanted(self) -> list[str]:
        return [LOGITS, FAMILIARITY] if FAMILIARITY in self.outputs else [LOGITS]

    def _scores(self, outputs: Sequence[Any], count: int) -> Scores:
        logits = self._array(outputs[0], LOGITS, (count, len(self._bundle.labels)))
        return Scores(logits, self._array(outputs[1], FAMILIARITY, (count,)) if len(outputs) > 1 else None)

    def _places(self, output: Any, count: int) -> Floats:
        """Check that places are those of a square map, row by row."""
        tokens = np.shape(output)[1] if np.ndim(output) == 3 else 0
        side = max(math.isqrt(tokens), 1)
        return self._array(output, PLACE_SCORES, (count, side * side, len(self._bundle.labels)))

    def _array(self, output: Any, name: str, shape: tuple[int, ...]) -> Floats:
        values = np.asarray(output)
        if values.shape != shape or values.dtype.kind != "f":
            raise self.refused(f"gives {name} of shape {values.shape} where {shape} is needed")
        return values.astype(np.float32, copy=False)

    def _check_shapes(self) -> None:
        """Compare what the model says of itself with the bundle; a dimension without a number may be any."""
        size, labels = self._bundle.preprocess.size, len(self._bundle.labels)
        inputs = {each.name: each for each in self._session.get_inputs()}
        outputs = {each.name: each for each in self._session.get_outputs()}
        if set(inputs) != {INPUT} or LOGITS not in outputs:
            raise self.refused(f"must have the input {INPUT} alone and the output {LOGITS}")
        wanted = {INPUT: (None, size, size, 3), LOGITS: (None, labels)}
        for name, shape in wanted.items():
            said = (inputs | outputs)[name].shape
            if len(said) != len(shape) or not all(map(_may_be, said, shape)):
                shown = " x ".join(str(length or "N") for length in shape)
                raise self.refused(f"has {name} of {' x '.join(map(str, said))}, and the bundle says {shown}")
        if inputs[INPUT].type != "tensor(uint8)" or isinstance(inputs[INPUT].shape[0], int):
            raise self.refused(f"must take any number of {INPUT} as bytes")
        self.outputs: tuple[str, ...] = tuple(outputs)

    def refused(self, problem: str) -> BundleError:
        """Make the error of a model that is not used. problem: a predicate of its file, of whatever length."""
        if any(sign in problem for sign in OUT_OF_MEMORY):
            problem = "cannot be used: it needs more memory than any model of this size should"
        return refusal(self._bundle.model_path, problem, remedy=REMEDY)


def _may_be(said: Any, wanted: int | None) -> bool:
    return wanted is None or not isinstance(said, int) or said == wanted


def has_cuda_provider() -> bool:
    """True where the installed onnxruntime was built for GPUs of NVIDIA."""
    return CUDA_PROVIDER in onnxruntime.get_available_providers()
