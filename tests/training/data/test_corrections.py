"""Corrections as labelled images: of the bytes that people saw, mixed with other data without a leak."""

import hashlib
from dataclasses import replace

import pytest
from by_url import parsed
from sqlalchemy import update

from cataloger.errors import TrainingError, UsageError
from cataloger.ledger import register_source
from cataloger.schema.models import ItemRow
from cataloger.sources.file_keys import key_of
from cataloger.training.data.read import read_dataset
from cataloger.training.options import DataOptions


@pytest.fixture
def tagged(world, make, tmp_path):
    """A function that records an image in a file and its correction."""

    def tag(name, said, **values):
        path = tmp_path / name
        path.write_bytes(name.encode("utf-8", "surrogateescape"))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        world.sink.write([replace(make.good(name, uri=str(path), **values), content_hash=digest)])
        [(item_id,)] = world.rows("SELECT MAX(i.id) FROM cataloger_item i")
        world.say_of(item_id, said)
        return path

    return tag


@pytest.fixture
def options(world):
    url = world.database.engine.url.render_as_string(hide_password=False)
    return lambda **values: DataOptions(corrections=True, db=parsed(url), **values)


def test_labels_come_from_words_and_images_from_their_files(tagged, options):
    paths = [tagged("a.jpg", "Hat", product_key="p"), tagged("b é.jpg", "Cape"), tagged("c.jpg", "not_product")]
    data = read_dataset(options())
    assert data.labels == ("Cape", "Hat")
    found = {example.path: (example.labels, example.split, example.product) for example in data.examples}
    assert found == {paths[0]: (("Hat",), "", "p"), paths[1]: (("Cape",), "", "")}


def test_what_people_call_no_product_can_be_learned_from(tagged, options, tmp_path):
    paths = [tagged("a.jpg", "Hat"), tagged("b.jpg", "not_product"), tagged("c.jpg", "not_product")]
    alone = read_dataset(options(no_product=""))
    assert [example.path for example in alone.no_products("")] == paths[1:]
    (tmp_path / "labels.csv").write_text("image,label,split\nb.jpg,Cape,val\nd.jpg,,train\ne.jpg,Hat,train\n")
    mixed = read_dataset(options(no_product="", data=tmp_path / "labels.csv"))
    assert {(example.path.name, example.split) for example in mixed.examples if not example.labels} == {
        ("b.jpg", "val"), ("c.jpg", "train"), ("d.jpg", "train"),
    }  # fmt: skip
    assert mixed.problems == ()


def test_a_file_that_has_changed_since_is_left_out_and_named(tagged, options):
    path = tagged("a.jpg", "Hat")
    tagged("b.jpg", "Hat")
    path.write_bytes(b"another picture")
    data = read_dataset(options())
    assert [example.path.name for example in data.examples] == ["b.jpg"]
    assert [(problem.kind, problem.place) for problem in data.problems] == [("changed_image", str(path))]


def test_an_image_in_a_column_is_named_with_what_to_do(world, make, tagged, options):
    world.sink.write([make.good("blob", uri="products/7")])
    [(item_id,)] = world.rows("SELECT MAX(i.id) FROM cataloger_item i")
    world.say_of(item_id, "Hat")
    with pytest.raises(TrainingError, match=r"no labelled image.*no images in a column.*corrections export"):
        read_dataset(options())
    tagged("a.jpg", "Hat")
    assert [problem.kind for problem in read_dataset(options()).problems] == ["no_image"]


def test_words_are_mixed_with_other_data_and_leak_nothing(tagged, options, tmp_path):
    tagged("test.jpg", "Hat")
    tagged("new.jpg", "Sock")
    (tmp_path / "labels.csv").write_text(
        "file,label,split\ntest.jpg,Dress,test\nold.jpg,Dress,train\nv.jpg,Hat,val\n"
    )
    data = read_dataset(options(data=tmp_path / "labels.csv"))
    found = {example.path.name: (example.labels, example.split) for example in data.examples}
    assert found == {
        "test.jpg": (("Hat",), "test"),
        "old.jpg": (("Dress",), "train"),
        "v.jpg": (("Hat",), "val"),
        "new.jpg": (("Sock",), "train"),
    }


def test_no_row_of_the_other_data_stands_against_a_word(tagged, options, tmp_path):
    path = tagged("a.jpg", "Hat")
    (tmp_path / "link.jpg").symlink_to(path)
    (tmp_path / "labels.csv").write_text("file,label\na.jpg,Dress\na.jpg,Cape\nlink.jpg,Sock\n")
    data = read_dataset(options(data=tmp_path / "labels.csv"))
    assert {example.labels for example in data.examples} == {("Hat",)}
    assert data.labels == ("Hat",)


def test_what_shows_no_product_is_left_out_of_the_other_data_and_named(tagged, options, tmp_path):
    tagged("a.jpg", "Hat")
    path = tagged("size chart.jpg", "not_product")
    (tmp_path / "labels.csv").write_text("file,label\na.jpg,Dress\nsize chart.jpg,Dress\n")
    data = read_dataset(options(data=tmp_path / "labels.csv"))
    assert [(example.path.name, example.labels) for example in data.examples] == [("a.jpg", ("Hat",))]
    [problem] = data.problems
    assert (problem.kind, path.name in problem.place, "Dress" in problem.message) == ("no_product", True, True)


def test_of_the_words_of_two_sources_on_one_file_the_latest_counts(world, make, tagged, options):
    path = tagged("a.jpg", "Hat")
    [(first,)] = world.rows("SELECT MAX(i.id) FROM cataloger_item i")
    source = register_source(world.database, kind="folder", root="/other")
    other = type(world)(world.database, source, world.model).begin()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    other.sink.write([replace(make.good("a", uri=str(path)), content_hash=digest)])
    [(second,)] = world.rows("SELECT MAX(i.id) FROM cataloger_item i")
    other.say_of(second, "Sock")
    for said in ("Sock", "Cape"):
        [example] = read_dataset(options()).examples
        assert example.labels == (said,)
        world.say_of(first, "Cape")
    assert [problem.kind for problem in read_dataset(options()).problems] == ["older_word"]


def test_a_file_name_that_is_not_utf8_is_found(tagged, options, world):
    path = tagged("plain.jpg", "Hat")
    odd = path.rename(path.with_name("\udcff%41.jpg"))
    with world.database.begin() as connection:
        connection.execute(update(ItemRow).values(uri=key_of(bytes(odd))))
    assert [example.path for example in read_dataset(options()).examples] == [odd]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"corrections": True}, "needs --db"),
        ({"corrections": True, "db": "sqlite:///x.db", "query": "select 1"}, "exclude each other"),
        ({"db": "sqlite:///x.db", "query": "select 1", "schema": "tags"}, "--schema belongs to"),
    ],
)
def test_flags_that_make_no_sense_are_refused(values, message):
    with pytest.raises(UsageError, match=message):
        DataOptions(**values)
