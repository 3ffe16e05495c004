"""The network: parameter counts of the paper's baseline, place scores, frozen part, backbone weights."""

import pytest

torch = pytest.importorskip("torch", reason="the extra 'torch' is not installed")

from cataloger.errors import UsageError  # noqa: E402
from cataloger.model.network import (  # noqa: E402
    DepthwiseSeparable,
    Network,
    _positions,
    count_parameters,
    load_backbone,
    load_head,
    normalise,
)
from cataloger.options import NetworkConfig  # noqa: E402

BASELINE = NetworkConfig(classes=1000, attention="none", head="single")
CONFIGS = [
    BASELINE,
    NetworkConfig(classes=39),
    NetworkConfig(classes=39, attention="none"),
    NetworkConfig(classes=39, positions=False, heads=4, width=256),
]


@pytest.fixture
def pixels():
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8, generator=generator)


def test_the_baseline_has_the_published_number_of_parameters():
    assert count_parameters(Network(BASELINE)) == (4_253_864, 4_231_976)


def test_the_default_network_stays_far_below_the_budget_of_the_paper():
    total, _ = count_parameters(Network(NetworkConfig(classes=50)))
    assert total < 14_703_738 / 2


def test_freezing_explains_the_frozen_parameters_of_the_paper():
    network = Network(NetworkConfig(classes=50, attention="none"))
    network.freeze()
    total, trainable = count_parameters(network)
    head_batch_norm_statistics = 2 * 1024
    assert total - trainable + head_batch_norm_statistics == 14_703_738 - 13_061_050


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_logits_are_the_mean_of_49_place_scores(config, pixels):
    network = Network(config).eval()
    with torch.inference_mode():
        logits, place_scores = network(normalise(pixels))
    assert place_scores.shape == (2, 49, config.classes)
    torch.testing.assert_close(place_scores.mean(dim=1), logits, atol=1e-5, rtol=0)


def test_place_scores_of_the_single_head_equal_pooling_before_the_classifier(pixels):
    network = Network(BASELINE).eval()
    maps = []
    network.block13.register_forward_hook(lambda _m, _i, output: maps.append(output))
    with torch.inference_mode():
        logits, _ = network(normalise(pixels))
        pooled = network.head.output(maps[0].mean(dim=(2, 3)))
    torch.testing.assert_close(logits, pooled, atol=1e-5, rtol=1e-5)


def test_the_frozen_part_and_the_rest_make_the_whole(pixels):
    network = Network(NetworkConfig(classes=5)).eval()
    with torch.inference_mode():
        features = network.frozen_features(normalise(pixels))
        assert features.shape == (2, 512, 7, 7)
        torch.testing.assert_close(network.classify(features)[0], network(normalise(pixels))[0])


def test_training_leaves_the_frozen_part_untouched(pixels):
    network = Network(NetworkConfig(classes=5)).train()
    network.freeze()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    network(normalise(pixels))[0].square().sum().backward()
    optimizer.step()
    changed = {name.split(".")[0] for name, value in network.state_dict().items() if (value != before[name]).any()}
    assert changed == {"block12", "block13", "attention", "head"}
    assert torch.equal(before["block12.depthwise.bn.running_mean"], network.block12.depthwise.bn.running_mean)


def test_normalise_maps_bytes_to_minus_one_to_one():
    ends = torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1).expand(2, 4, 4, 3)
    assert normalise(ends).amin(dim=(1, 2, 3)).tolist() == [-1.0, 1.0]


def test_stride_two_pads_right_and_bottom_as_tensorflow_does():
    network = Network(NetworkConfig(classes=5)).eval()
    with torch.no_grad():
        network.conv1.conv.weight.zero_()
        network.conv1.conv.weight[0, 0, 0, 0] = 1.0
    image = torch.arange(16.0).reshape(1, 1, 4, 4).expand(1, 3, 4, 4) / 16
    assert torch.allclose(network.conv1(image)[0, 0], image[0, 0, ::2, ::2] / (1 + 0.001) ** 0.5)


def test_a_backbone_is_loaded_whole_or_not_at_all():
    donor, network = Network(BASELINE), Network(NetworkConfig(classes=5))
    state = {name: value.half() for name, value in donor.state_dict().items()}
    load_backbone(network, state)
    assert torch.equal(network.conv1.conv.weight, donor.conv1.conv.weight.half().float())
    del state["block7.depthwise.conv.weight"]
    with pytest.raises(KeyError, match=r"block7\.depthwise\.conv\.weight"):
        load_backbone(network, state)


@pytest.mark.parametrize(
    "values",
    [
        {"classes": 1},
        {"classes": 5, "heads": 3},
        {"classes": 5, "head": "triple"},
        {"classes": 5, "head": "single"},
    ],
)
def test_impossible_networks_are_refused(values):
    with pytest.raises(UsageError):
        NetworkConfig(**values)


def head_rows(network):
    state = network.state_dict()
    return state["head.output.weight"], state["head.output.bias"]


def small(labels):
    torch.manual_seed(len(labels))
    return Network(NetworkConfig(classes=len(labels), width=16, heads=4, hidden=8))


def test_a_known_category_keeps_its_row_and_a_new_one_is_new():
    old_labels, new_labels = ("Hat", "Shirt", "Tie"), ("Cape", "Hat", "Tie")
    old, new = small(old_labels), small(new_labels)
    drawn = head_rows(new)[0][0].clone()
    state = old.state_dict()
    assert load_head(new, state, known=old_labels, wanted=new_labels) == ["Hat", "Tie"]
    for part in (0, 1):
        assert torch.equal(head_rows(new)[part][1], head_rows(old)[part][0])
        assert torch.equal(head_rows(new)[part][2], head_rows(old)[part][2])
    assert torch.equal(head_rows(new)[0][0], drawn)
    assert torch.equal(new.attention.project.weight, old.attention.project.weight)


def test_a_head_of_another_shape_is_left_alone():
    labels = ("Hat", "Shirt")
    old = Network(NetworkConfig(classes=2, width=32, heads=4, hidden=8))
    new = small(labels)
    before = {name: value.clone() for name, value in new.state_dict().items()}
    assert load_head(new, old.state_dict(), known=labels, wanted=labels) == []
    assert all(torch.equal(value, before[name]) for name, value in new.state_dict().items())


def test_learned_positions_are_stretched_to_images_of_another_size():
    torch.manual_seed(0)
    network = Network(NetworkConfig(classes=3, width=16, heads=4, hidden=8)).eval()
    with torch.no_grad():
        # A position that says its row: the same for all columns, whatever the size of the map.
        rows = torch.arange(7.0).repeat_interleave(7)
        network.attention.position.copy_(rows[:, None].expand(49, 16))
        logits, place_scores = network(torch.zeros(1, 3, 160, 160))
    assert place_scores.shape == (1, 25, 3)
    stretched = _positions(network.attention.position, 25).detach().reshape(5, 5, 16)
    assert torch.allclose(stretched, stretched[:, :1].expand(5, 5, 16), atol=1e-5)
    assert (stretched[1:, 0, 0] > stretched[:-1, 0, 0]).all()
    assert stretched.mean() == pytest.approx(3.0, abs=1e-4)
    assert torch.allclose(place_scores.mean(dim=1), logits, atol=1e-6)


@pytest.mark.parametrize("size", [32, 56])
def test_mixed_precision_on_a_cpu_strides_as_full_precision_does(size):
    torch.manual_seed(0)
    block = DepthwiseSeparable(8, 16, stride=2).train().to(memory_format=torch.channels_last)
    images = torch.rand(4, 8, size, size).contiguous(memory_format=torch.channels_last)
    expected = block(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = block(images).float()
    assert mixed.shape == expected.shape
    assert torch.allclose(mixed, expected, atol=0.1)


EARLY = NetworkConfig(classes=5, attention="mhsa-early", width=16, heads=4, hidden=8)


def test_attention_in_front_of_the_last_convolutions_begins_as_none(pixels):
    torch.manual_seed(0)
    network = Network(EARLY).eval()
    features = network.frozen_features(normalise(pixels))
    with torch.inference_mode():
        attended = network.feature_map(features)
        network.attention = None
        assert torch.equal(attended, network.feature_map(features))


def test_attention_in_front_of_the_last_convolutions_mixes_places(pixels):
    torch.manual_seed(0)
    network = Network(EARLY).eval()
    torch.nn.init.normal_(network.attention.output.weight)
    features = network.frozen_features(normalise(pixels)).detach()
    changed = features.clone()
    changed[:, :, 0, 0] += 1.0
    with torch.inference_mode():
        difference = network.attention(changed) - network.attention(features)
    assert difference[:, :, 6, 6].abs().max() > 1e-4, "the farthest place hears of it"


def test_scores_of_places_stay_exact_with_attention_in_front(pixels):
    torch.manual_seed(0)
    network = Network(EARLY).eval()
    torch.nn.init.normal_(network.attention.output.weight, std=0.1)
    with torch.inference_mode():
        logits, place_scores = network(normalise(pixels))
    assert place_scores.shape == (2, 49, 5)
    torch.testing.assert_close(logits, place_scores.mean(dim=1))
