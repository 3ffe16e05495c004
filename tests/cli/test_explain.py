"""`cataloger explain`: the answer that `tag` gives, and maps that lie where the thing is."""

import json
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest
from full_disk import full_disk
from PIL import Image
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.imaging.preprocess import load
from cataloger.inference.activation_maps import activation_map, draw, explain_images, overlaid
from cataloger.inference.onnx import OnnxClassifier
from cataloger.model.bundle import default_bundle_path, read_bundle

IMAGES = Path(__file__).parents[2] / "examples" / "images"


@pytest.fixture(scope="module")
def bundle():
    return read_bundle(default_bundle_path()).at("auto")


def drawing(name, size):
    return Image.open(IMAGES / name).convert("RGBA").resize(size)


def invoke(*arguments, status=0):
    result = CliRunner().invoke(app, ["explain", *map(str, arguments)])
    assert result.exit_code == status, result.output + str(result.exception)
    return result


def weight_of_sides(heat):
    half = heat.shape[1] // 2
    return heat[:, :half].sum(), heat[:, half:].sum()


@pytest.mark.parametrize("is_left", [True, False])
def test_each_thing_lights_up_on_its_own_side(bundle, tmp_path, is_left):
    canvas = Image.new("RGB", (448, 224), "white")
    shirt, sunglasses = drawing("t-shirt-print.png", (200, 170)), drawing("sunglasses.png", (200, 100))
    canvas.paste(shirt, (10 if is_left else 240, 30), shirt)
    canvas.paste(sunglasses, (240 if is_left else 10, 60), sunglasses)
    canvas.save(tmp_path / "both.png")
    pixels = load((tmp_path / "both.png").read_bytes(), bundle.preprocess).pixels
    place_scores = OnnxClassifier(bundle).place_scores(pixels[None])[0]
    for label, thing_is_left in (("T-shirt", is_left), ("Sunglasses", not is_left)):
        left, right = weight_of_sides(activation_map(place_scores, bundle.labels.index(label), 224))
        assert (left > 1.2 * right) if thing_is_left else (right > 1.2 * left), label


def test_the_answer_is_the_one_that_tag_writes(bundle, tmp_path):
    CliRunner().invoke(app, ["tag", str(IMAGES / "blue-fedora.png"), "--db", f"sqlite:///{tmp_path}/a.db", "-q"])
    with sqlite3.connect(tmp_path / "a.db") as connection:
        columns = ", ".join(f"label_{rank}, confidence_{rank}" for rank in range(1, 6))
        row = connection.execute(f"SELECT decision, {columns} FROM cataloger_image_top5").fetchone()
    (found,) = explain_images(bundle, [IMAGES / "blue-fedora.png"])
    assert found.decision == row[0]
    assert found.labels == row[1::2]
    assert found.maps[0].max() == pytest.approx(1.0)
    assert found.maps[4].max() < 1.0
    assert found.confidences == pytest.approx(row[2::2], abs=1e-5)


def test_a_map_shows_where_scores_are_above_those_of_others():
    scores = np.zeros((4, 3))
    scores[1] = (6.0, 0.0, 0.0)  # the upper right of two by two places speaks for the first label
    heat = activation_map(scores, 0, 64)
    assert np.unravel_index(heat.argmax(), heat.shape) == (
        heat[:32, 32:].argmax() // 32,
        32 + heat[:32, 32:].argmax() % 32,
    )
    assert 3.0 < heat.max() < 6.0  # 4, and what bicubic interpolation adds
    assert activation_map(scores, 1, 64).max() == 0.0


def test_colour_lies_only_where_the_map_is():
    pixels = np.full((8, 8, 3), 200, np.uint8)
    heat = np.zeros((8, 8))
    heat[:4] = 1.0
    mixed = overlaid(pixels, heat).astype(int)
    assert (mixed[4:] == 200).all()
    assert (mixed[:4].max(axis=2) != mixed[:4].min(axis=2)).all()


def test_pictures_keep_their_shape_and_long_names_fit(bundle, tmp_path):
    Image.new("RGB", (1000, 500), "navy").save(tmp_path / ("wide" * 40 + ".png"))
    Image.new("RGB", (300, 900), "navy").save(tmp_path / "tall.png")
    wide, tall = explain_images(bundle, sorted(tmp_path.glob("*.png"), reverse=True))
    assert draw([wide], 2).width > 1.5 * draw([tall], 2).width
    assert draw([wide, tall], 3).height == 2 * draw([tall], 1).height


def test_what_people_see(tmp_path):
    output = invoke(IMAGES / "blue-fedora.png", IMAGES / "sunglasses.png", "-o", tmp_path / "why.png").stdout
    assert "blue-fedora.png" in output
    assert "Hat 0." in output
    with Image.open(tmp_path / "why.png") as picture:
        assert picture.format == "PNG"


def test_a_bad_image_costs_no_other_one(tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    paths = [tmp_path / "bad.jpg", IMAGES / "sunglasses.png", tmp_path / "gone.jpg"]
    result = invoke(*paths, "-o", tmp_path / "why.png", "--json", status=3)
    first, second, third = json.loads(result.stdout)
    assert first["file"].endswith("sunglasses.png")
    assert (second["error_code"], third["error_code"]) == ("decode.not_image", "io.missing")
    assert (tmp_path / "why.png").exists()
    invoke(tmp_path / "bad.jpg", "-o", tmp_path / "none.png", status=3)
    assert not (tmp_path / "none.png").exists()


@pytest.mark.parametrize(
    ("name", "problem"),
    [("why.jpg", "name a .png file"), ("missing/why.png", "there is no folder"), ("", "name a .png file")],
)
def test_a_place_that_cannot_be_written_is_told_at_once(tmp_path, name, problem):
    result = CliRunner().invoke(app, ["explain", str(IMAGES / "sunglasses.png"), "-o", str(tmp_path / name)])
    assert result.exit_code == 2
    assert problem in result.output


def test_a_full_disk_leaves_the_old_picture(tmp_path, monkeypatch):
    (tmp_path / "x.png").write_text("old")
    with ExitStack() as stack:

        def draw_and_fill(*arguments):  # before, the limit would be one for the memory that decoders share, too
            sheet = draw(*arguments)
            stack.enter_context(full_disk(1000))
            return sheet

        monkeypatch.setattr("cataloger.inference.draw", draw_and_fill)
        result = invoke(IMAGES / "blue-fedora.png", "-o", tmp_path / "x.png", status=1)
    assert result.stderr == f"cataloger: error: {tmp_path}/x.png cannot be written: File too large\n"
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x.png", "old")]


def test_a_picture_that_cannot_be_written_is_an_error_and_no_traceback(tmp_path):
    result = invoke(IMAGES / "blue-fedora.png", "-o", "/proc/x.png", status=1)
    assert "cannot be written" in result.stderr


def test_where_in_the_shop_an_answer_stands(tmp_path):
    photo, url = tmp_path / "hat.png", f"sqlite:///{tmp_path}/shop.db"
    photo.write_bytes((IMAGES / "blue-fedora.png").read_bytes())
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection, connection:
        connection.execute("CREATE TABLE products (sku TEXT PRIMARY KEY, photo TEXT, category TEXT)")
        connection.execute("CREATE TABLE tags (sku TEXT, tag TEXT, kind INTEGER)")
        connection.execute("INSERT INTO products VALUES ('A', ?, '')", [str(photo)])
    sync = ["sync", "--db", url, "--table", "products", "--id", "sku", "--image", "photo", "--quiet"]
    sync += ["--write", "category=label_1", "--write-link", "tags:sku,tag,kind==7"]
    sync += ["--only-decision", "accept", "--only-decision", "review", "--only-decision", "abstain"]
    for command in (["db", "upgrade", "--db", url], sync):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
    (product,) = json.loads(invoke("--product", "A", "--db", url, "--json").stdout)
    cells = {
        each["table"]: (each["row"], each["column"], each["value"], each["run_id"]) for each in product["written"]
    }
    assert cells == {
        "products": ({"sku": "A"}, "category", "Hat", 1),
        "tags": ({"sku": "A", "kind": "7"}, "tag", "Hat", 1),
    }
    output = invoke(photo, "--db", url, "-o", tmp_path / "why.png").stdout
    assert "products.category where sku=A" in " ".join(output.split())
    image, of_image = json.loads(invoke(photo, "--db", url, "-o", tmp_path / "why.png", "--json").stdout)
    assert (image["file"], of_image) == (str(photo), product)
    assert "written nowhere: B" in invoke("--product", "B", "--db", url).stdout
    for arguments in ((), ("--product", "A")):
        assert CliRunner().invoke(app, ["explain", *arguments]).exit_code == 2
