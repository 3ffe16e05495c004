"""What a training starts from: the weights of a bundle, or of a backbone alone."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cataloger.errors import BundleError, TrainingError
from cataloger.model import WEIGHTS, Network, load_backbone, load_head, read_bundle, sha256_of
from cataloger.options import Attention, NetworkConfig, PreprocessSpec
from cataloger.utils import listed, one_line


@dataclass(frozen=True, slots=True)
class Start:
    """Tensors to begin with.

    spec: preprocessing they were trained with. labels: of their head, if they have one. shape: of the whole network,
    if they are more than convolutions.
    """

    name: str
    sha256: str
    spec: PreprocessSpec
    tensors: Mapping[str, Tensor]
    labels: tuple[str, ...] = ()
    shape: NetworkConfig | None = None

    def config(self, attention: Attention | None, *, classes: int) -> NetworkConfig:
        """Return the shape of a network that starts from this: its own, except for what is asked."""
        shape = replace(self.shape or NetworkConfig(classes=classes), classes=classes)
        return shape if attention is None else replace(shape, attention=attention)


def read_start(path: Path) -> Start:
    """Read a bundle, or a safetensors file of convolutions.

    Raises BundleError or TrainingError, and UsageError for a copy that has been kept without its weights.
    """
    bundle = read_bundle(path, check=(WEIGHTS,)) if path.is_dir() else None
    if bundle is not None:
        bundle.require_training_files("--start")
    file = path / WEIGHTS if bundle else path
    try:
        sha256, tensors = sha256_of(file), load_file(file)
    except (OSError, BundleError, SafetensorError) as error:
        raise TrainingError(f"the weights of {path} cannot be read: {one_line(error)}") from error
    if bundle is None:
        return Start(path.name, sha256, PreprocessSpec(), tensors)
    return Start(bundle.title, sha256, bundle.preprocess, tensors, bundle.labels, bundle.network)


def load_start(network: Network, start: Start, labels: tuple[str, ...]) -> str:
    """Copy into the network what fits it; return one line that says what."""
    tensors = dict(start.tensors)
    try:
        load_backbone(network, tensors)
        kept = load_head(network, tensors, known=start.labels, wanted=labels) if start.labels else []
    except (IndexError, KeyError, RuntimeError) as error:
        raise TrainingError(f"the weights of {start.name} do not fit the network: {one_line(error, 300)}") from error
    if not start.labels:
        return f"start: convolutions of {start.name}; attention and head are new"
    if not kept and set(start.labels) & set(labels):
        return f"start: convolutions of {start.name}, whose attention or head has another shape; both are new"
    return f"start: {start.name}; {len(kept)} of {len(labels)} categories are known to it" + (
        f", new: {listed([label for label in labels if label not in kept])}" if len(kept) < len(labels) else ""
    )
