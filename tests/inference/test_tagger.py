"""The tagger without a database: the answers of `cataloger tag`, in order, and nothing left behind."""

import io
import threading
from pathlib import Path

import pytest
from PIL import Image

from cataloger.db import DatabaseURL
from cataloger.engine import TagOptions, tag_images
from cataloger.errors import BundleError, UsageError
from cataloger.inference import Tagger
from cataloger.options import Limits
from cataloger.records import Failure, Prediction

pytestmark = pytest.mark.usefixtures("started_decoders")

EXAMPLES = Path(__file__).parents[2] / "examples" / "images"
HAT, SHIRT, HEELS = (EXAMPLES / f"{name}.png" for name in ("winter-hat", "t-shirt-black", "feet-in-sandals"))


@pytest.fixture(scope="module")
def tagger():
    return Tagger(device="cpu")


def children():
    """Return the processes that this one has started, ended ones that nobody has waited for included."""
    found = set()
    for path in Path("/proc/self/task").glob("*/children"):
        found |= set(path.read_text().split())
    return found


def same(left, right):
    """True for answers that differ by rounding at most, which depends on what is classified together."""
    return left.labels == right.labels and left.confidences == pytest.approx(right.confidences, abs=1e-4)


def test_paths_bytes_and_images_of_pillow_get_the_same_answer_in_their_order(tagger):
    with Image.open(HAT) as picture:
        results = list(tagger.predict([HAT, str(SHIRT), HAT.read_bytes(), picture, bytearray(SHIRT.read_bytes())]))
    assert all(isinstance(result, Prediction) for result in results)
    assert [result.item.key for result in results] == [str(HAT), str(SHIRT), "2", "3", "4"]
    assert same(results[0], results[2])
    assert same(results[0], results[3])
    assert same(results[1], results[4])
    assert len(results[0].labels) == len(results[0].confidences) == 5
    assert set(results[0].labels) <= set(tagger.labels)


def test_the_answers_are_those_of_a_run(tagger, tmp_path):
    output = tmp_path / "answers.csv"
    db = DatabaseURL.parse(f"sqlite:///{tmp_path}/catalog.db")
    tag_images(TagOptions((str(HAT), str(SHIRT)), db=db, output=output))
    lines = {line.split(",")[1]: line for line in output.read_text().splitlines()[1:]}
    for result in tagger.predict([HAT, SHIRT]):
        assert f",{result.labels[0]}," in lines[Path(result.item.key).name]


def test_what_cannot_be_used_is_a_value_and_stands_where_it_belongs(tagger, tmp_path):
    (tmp_path / "cut.png").write_bytes(HAT.read_bytes()[:700])
    images = [
        tmp_path / "none.png", HAT, tmp_path, tmp_path / "cut.png", b"", b"<html>", "https://me:pw@shop.example/a.png?k=1",
        SHIRT, "a\0b.png", Image.new("RGB", (0, 5)), "shop.com/a.png", "s3://bucket/a.png",
    ]  # fmt: skip
    results = list(tagger.predict(images))
    codes = [result.code if isinstance(result, Failure) else "ok" for result in results]
    assert codes[:8] == [
        *("io.missing", "ok", "io.not_a_file", "decode.truncated"),
        *("decode.empty", "decode.not_image", "source.scheme", "ok"),
    ]
    assert codes[8] == "io.missing"
    assert codes[9].startswith("decode.")
    assert codes[10:] == ["source.scheme", "source.scheme"]
    assert "cataloger tag" in results[6].message
    assert results[6].item.uri == "https://shop.example/a.png"


def test_an_image_of_pillow_that_cannot_be_read_is_one_failure(tagger):
    broken = Image.open(io.BytesIO(HAT.read_bytes()[:2000]))
    results = list(tagger.predict([broken, HAT]))
    assert isinstance(results[0], Failure)
    assert results[0].code == "decode.corrupt"
    assert isinstance(results[1], Prediction)


def test_an_image_of_pillow_is_turned_as_its_file_is(tagger):
    buffer, turned = io.BytesIO(), Image.Exif()
    turned[0x0112] = 6
    with Image.open(SHIRT) as picture:
        picture.convert("RGBA").convert("RGB").rotate(90, expand=True).resize((300, 200)).save(
            buffer, "PNG", exif=turned
        )
    read = Image.open(io.BytesIO(buffer.getvalue()))
    results = list(tagger.predict([buffer.getvalue(), read]))
    assert (results[0].width, results[0].height) == (results[1].width, results[1].height) == (200, 300)
    assert same(*results)


@pytest.mark.parametrize(
    "image", [HAT, HAT.read_bytes(), bytearray(HAT.read_bytes())], ids=["path", "bytes", "array"]
)
def test_encoded_bytes_above_the_limit_are_a_failure(image):
    small = Tagger(limits=Limits(max_bytes=1000), device="cpu")
    assert [result.code for result in small.predict([image])] == ["decode.too_many_bytes"]


def test_pixels_above_the_limit_are_a_failure():
    small = Tagger(limits=Limits(max_pixels=1000), device="cpu")
    assert [result.code for result in small.predict([Image.new("RGB", (40, 30))])] == ["decode.too_large"]


@pytest.mark.parametrize(
    "image", [str(HAT), HAT, b"x", Image.new("L", (9, 9))], ids=["str", "path", "bytes", "image"]
)
def test_a_single_image_is_refused_at_once(tagger, image):
    with pytest.raises(UsageError, match="several images"):
        tagger.predict(image)


def test_what_is_no_image_is_refused_by_its_number(tagger):
    before = children()
    with pytest.raises(UsageError, match="image 1 is of type int"):
        list(tagger.predict([HAT, 7]))
    assert children() == before


def test_no_images_no_answers(tagger):
    assert list(tagger.predict([])) == []


def test_answers_come_before_all_images_are_taken(tagger):
    taken = []

    def endless():
        while True:
            taken.append(HAT)
            yield HAT

    results = tagger.predict(endless())
    assert isinstance(next(results), Prediction)
    assert len(taken) < 2000
    results.close()


def test_no_process_and_no_thread_is_left_when_it_is_left_early(tagger):
    before, threads = children(), threading.active_count()
    results = tagger.predict([HAT] * 40)
    next(results)
    assert children() > before
    results.close()
    assert (children(), threading.active_count()) == (before, threads)


def test_an_error_of_the_images_themselves_is_raised_and_leaves_nothing(tagger):
    def images():
        yield HAT
        raise ValueError("mine")

    before = children()
    with pytest.raises(ValueError, match="mine"):
        list(tagger.predict(images()))
    assert children() == before
    assert [type(result) for result in tagger.predict([HAT])] == [Prediction]


def test_several_threads_share_one(tagger):
    answers = {}

    def work(number, image):
        answers[number] = list(tagger.predict([image] * 3))

    threads = [threading.Thread(target=work, args=each) for each in enumerate((HAT, SHIRT, HEELS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, image in enumerate((HAT, SHIRT, HEELS)):
        assert all(same(result, next(tagger.predict([image]))) for result in answers[number])


def test_top_k_and_wrong_arguments(tmp_path):
    result = next(Tagger(top_k=2, device="cpu").predict([HAT]))
    assert len(result.labels) == len(result.confidences) == 2
    with pytest.raises(UsageError, match="top_k"):
        Tagger(top_k=0)
    with pytest.raises((BundleError, UsageError)):
        Tagger(tmp_path / "no model")


def test_it_says_what_it_is(tagger):
    assert repr(tagger) == f"Tagger('{tagger.model}': 50 categories, int8 on cpu)"
