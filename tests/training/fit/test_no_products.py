"""Learning what shows no product: the loss, how often such images are drawn, and a training from end to end."""

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")
pytest.importorskip("torchvision", reason="the extra 'train' is not installed")
pytest.importorskip("onnxscript", reason="the extra 'train' is not installed")

from cataloger.cli.app import app  # noqa: E402
from cataloger.inference import log_sum_exp  # noqa: E402
from cataloger.model.bundle import read_bundle  # noqa: E402
from cataloger.training.calibration import measure_product_score  # noqa: E402
from cataloger.training.data import Example  # noqa: E402
from cataloger.training.evaluation import ScoredImages, score  # noqa: E402
from cataloger.training.fit.loss import losses_with_no_products  # noqa: E402
from cataloger.training.inputs.sampling import NO_PRODUCT_REPEATS, NO_PRODUCT_SHARE, with_no_products  # noqa: E402

ACCEPTED = torch.tensor([[True, False, False], [False, True, True], [False, False, False]])


def test_the_loss_names_products_and_tells_them_from_the_rest():
    logits = torch.tensor([[3.0, 0.0, -1.0], [0.0, 2.0, 1.0], [-2.0, -3.0, -1.0]])
    scores = torch.cat([logits, torch.zeros(3, 1)], dim=1).softmax(dim=1)
    right = torch.stack([scores[0, 0], scores[1, 1] + scores[1, 2], scores[2, 3]])
    assert float(losses_with_no_products(logits, ACCEPTED).mean()) == pytest.approx(
        float(-right.log().mean()), rel=1e-6
    )
    shows_product = torch.sigmoid(logits.logsumexp(dim=1))
    assert torch.allclose(1 - scores[:, 3], shows_product)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("rows", [[0, 1, 2], [2, 2], [0, 1]])
def test_every_batch_has_a_gradient_that_leads_down(rows, smoothing):
    logits = torch.zeros(len(rows), 3, requires_grad=True)
    loss = losses_with_no_products(logits, ACCEPTED[rows], smoothing=smoothing).mean()
    loss.backward()
    assert torch.isfinite(logits.grad).all()
    after = losses_with_no_products(logits - 0.1 * logits.grad, ACCEPTED[rows], smoothing=smoothing).mean()
    assert float(after) < float(loss)


@pytest.mark.parametrize(
    ("products", "others", "share"), [(700, 300, NO_PRODUCT_SHARE), (990, 10, 40 / 1030), (10, 10, NO_PRODUCT_SHARE)]
)
def test_so_many_of_the_images_drawn_show_no_product(products, others, share):
    is_product = np.arange(products + others) < products
    weights = np.linspace(0.5, 1.5, products)
    for found in (with_no_products(weights, is_product), with_no_products(None, is_product)):
        assert found[~is_product].sum() / found.sum() == pytest.approx(share)
        assert found[~is_product].max() <= NO_PRODUCT_REPEATS * found[is_product].mean() * (1 + 1e-9)
        assert found.mean() == pytest.approx(1.0)
    drawn = with_no_products(weights, is_product)[is_product]
    assert np.allclose(drawn / weights, drawn[0] / weights[0])


def scored(*sums):
    examples = tuple(Example(str(number), None, (), "val") for number in range(len(sums)))
    logits = np.array([[value - math.log(2)] * 2 for value in sums], np.float32)
    return ScoredImages(examples, logits, ())


def test_what_passes_and_what_it_costs_is_counted():
    found = measure_product_score(scored(1.0, 2.0, 3.0, 4.0), scored(0.0, 1.5, -1.0), least=1.5 - 1e-6)
    assert (found.products, found.others) == (4, 3)
    assert found.auroc.value == pytest.approx(11 / 12)
    assert found.auroc.low <= found.auroc.value <= found.auroc.high
    assert (found.lost.value, found.passed.value) == (0.25, pytest.approx(1 / 3))


def draw(kind, random):
    image = Image.new("RGB", (96, 96), "white")
    left, top = random.integers(8, 24, size=2)
    box = (left, top, left + 60, top + 60)
    colour = tuple(int(part) for part in random.integers(0, 180, size=3))
    if kind == "stripes":
        for x in range(int(left) % 8, 96, 8):
            ImageDraw.Draw(image).line((x, 0, x, 96), fill=colour, width=3)
    else:
        getattr(ImageDraw.Draw(image), kind)(box, fill=colour)
    return image


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Squares, discs and, as what is no product, stripes."""
    folder = tmp_path_factory.mktemp("shop")
    random = np.random.default_rng(5)
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "labels", "split", "shop"])
        for number in range(84):
            kind, label = (("rectangle", "Square"), ("ellipse", "Disc"), ("stripes", "nothing"))[number % 3]
            draw(kind, random).save(folder / f"{number}.png")
            split = "train" if number < 48 else "val" if number < 66 else "test"
            writer.writerow([f"{number}.png", label, split, "" if label == "nothing" else "large"])
    return folder


@pytest.fixture(scope="module")
def trained(shop, one_export):
    arguments = ["train", shop / "labels.csv", "--output", shop / "model", "--no-product", "nothing", "--json"]
    arguments += ["--recipe", "quick", "--epochs", 6, "--name", "shapes", "--balance-by", "shop=large:1"]
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.slow
def test_a_model_learns_to_tell_products_from_what_is_none(trained, shop):
    assert trained.exit_code == 0, trained.stderr
    bundle = read_bundle(shop / "model")
    assert bundle.labels == ("Disc", "Square")
    told = bundle.provenance["no_product"]
    assert told["label"] == "nothing"
    assert (told["test"]["products"], told["test"]["others"]) == (12, 6)
    assert told["test"]["auroc"]["value"] >= 0.9
    assert "28 of them show no product: 16 train, 6 val, 6 test" in trained.stderr
    assert "no product, on test: AUROC " in trained.stderr
    card = (shop / "model" / "MODEL_CARD.md").read_text()
    assert "- test: AUROC " in card
    assert "shop=large:1" in card


@pytest.mark.slow
def test_the_score_is_what_every_result_keeps(trained, shop):
    bundle = read_bundle(shop / "model")
    products = [Example(f"{n}.png", shop / f"{n}.png", ("Disc",), "val") for n in range(48, 66) if n % 3 != 2]
    sums = log_sum_exp(score(bundle, products).logits.astype(np.float64))
    assert bundle.calibration.least_log_sum_exp == pytest.approx(float(sums.min()), abs=1e-6)  # 1% of 12 is none
    arguments = ["explain", shop / "48.png", "--model", shop / "model", "--output", shop / "maps.png", "--json"]
    explained = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert json.loads(explained.stdout)[0]["log_sum_exp"] == pytest.approx(float(sums[0]), abs=1e-4)


@pytest.mark.slow
def test_the_same_labels_measure_the_model_without_what_is_no_product(trained, shop):
    arguments = ["evaluate", str(shop / "labels.csv"), "--model", str(shop / "model"), "--json"]
    measured = CliRunner().invoke(app, arguments)
    assert measured.exit_code == 0, measured.stderr
    assert json.loads(measured.stdout)["subject"]["images"] == 12


@pytest.mark.slow
def test_without_such_images_nothing_is_said_of_them(shop, one_export):
    arguments = ["train", shop / "labels.csv", "--output", shop / "plain", "--recipe", "quick", "--epochs", 1]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.stderr
    bundle = read_bundle(shop / "plain")
    assert bundle.labels == ("Disc", "Square", "nothing")
    assert "no_product" not in bundle.provenance
    assert "no product" not in (shop / "plain" / "MODEL_CARD.md").read_text()
    assert replace(bundle.calibration, least_log_sum_exp=None) != bundle.calibration
