"""What the weights must answer, computed without torch: the same as the network itself."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from cataloger.model import network as own  # noqa: E402
from cataloger.model import reference_network, weights_file  # noqa: E402
from cataloger.model.reference_network import expected_scores, is_of_network  # noqa: E402
from cataloger.options import NetworkConfig  # noqa: E402

SIZE = 64
SHAPES = {
    "as shipped": {},
    "without attention": {"attention": "none"},
    "early attention": {"attention": "mhsa-early", "width": 64, "heads": 4},
    "neither": {"attention": "none", "head": "single"},
    "without positions": {"positions": False, "width": 64, "heads": 4, "hidden": 48},
}


def made(config):
    """Return a network with batch norms that change something, and its tensors as a bundle has them."""
    torch.manual_seed(0)
    network = own.Network(config, size=SIZE).eval()
    with torch.no_grad():
        for name, values in network.state_dict().items():
            if name.endswith(("bn.weight", "running_var", "norm.weight")):
                values.uniform_(0.5, 2)
            elif name == "attention.output.weight":  # early attention begins with zeros
                values.normal_(std=0.1)
            elif name.endswith(("bias", "running_mean")):
                values.normal_(std=0.3)
    prototypes = torch.nn.functional.normalize(torch.randn(5, own.FEATURES), dim=1)
    tensors = {name: values.numpy() for name, values in network.state_dict().items() if "num_batches" not in name}
    return own.FromPixels(network, prototypes), tensors | {own.PROTOTYPES: prototypes.numpy()}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_it_answers_as_the_network_does(shape):
    config = NetworkConfig(classes=7, **shape)
    network, tensors = made(config)
    assert is_of_network(tensors, config, size=SIZE)
    images = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    with torch.inference_mode():
        logits, _, familiarity = (values.numpy() for values in network(torch.from_numpy(images)))
    found = expected_scores(tensors, config, images)
    assert found[0] == pytest.approx(logits, abs=1e-4)
    assert found[1] == pytest.approx(familiarity, abs=1e-5)
    assert np.abs(logits).max() > 0.1


def test_without_prototypes_nothing_is_familiar():
    config = NetworkConfig(classes=7, attention="none", head="single")
    _, tensors = made(config)
    del tensors[own.PROTOTYPES]
    assert is_of_network(tensors, config, size=SIZE)
    assert expected_scores(tensors, config, np.zeros((1, SIZE, SIZE, 3), np.uint8))[1] is None


def test_other_tensors_are_of_no_network_of_ours():
    config = NetworkConfig(classes=7)
    _, tensors = made(config)
    assert not is_of_network(tensors, NetworkConfig(classes=8), size=SIZE)
    assert not is_of_network(tensors, config, size=SIZE + 1)
    assert not is_of_network(tensors | {"more": np.zeros(3)}, config, size=SIZE)
    assert not is_of_network({}, config, size=SIZE)


def test_both_have_the_same_constants():
    assert own.BLOCKS == reference_network.BLOCKS
    assert own.PROTOTYPES == reference_network.PROTOTYPES
    assert pytest.approx(own.BATCH_NORM_EPSILON) == float(weights_file.BATCH_NORM_EPSILON)
