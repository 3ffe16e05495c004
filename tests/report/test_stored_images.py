"""Pictures of what the ledger knows: from files, the web and columns; never anything else."""

import importlib.util
import io
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import by_url
import numpy
import pytest
from by_url import open_database
from PIL import Image
from sqlalchemy import insert, select
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.errors import ImageError
from cataloger.imaging.thumbnails import as_jpeg, load_small
from cataloger.options import Limits, PreprocessSpec
from cataloger.records import Failure, Fetched
from cataloger.report.stored_images import Pictures
from cataloger.schema.hashing import key_hash
from cataloger.schema.models import ItemRow
from cataloger.sources.file_keys import key_of, name_of

EXAMPLES = Path(__file__).parents[2] / "examples" / "images"
HAT = (EXAMPLES / "winter-hat.png").read_bytes()
AWKWARD = [b"caf\xe9.png", b"100%41.png", b"%\xff%.png", "größe <b>.png".encode(), b"a%2F..%2Fb.png"]


def load(path):
    """Import a program by its path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


rig = load(Path(__file__).parents[1] / "sync_rig.py")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def cataloger(*arguments, status=0):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == status, result.output
    return result.stdout


def thumbnail(data, longest, limits=None):
    loaded = load_small(data, PreprocessSpec(size=longest), limits or Limits())
    return as_jpeg(numpy.asarray(loaded.pixels), loaded.width, loaded.height, longest)


def everything(url="sqlite:///cataloger.db", **options):
    """Return what reading each item gives, by key."""
    with closing(open_database(url)) as database, Pictures(database, **options) as pictures:
        with database.read() as connection:
            items = connection.execute(select(ItemRow.id, ItemRow.key)).all()
        return {item.key: pictures.read(item.id) for item in items}


def add_item(database, key, uri=""):
    """Put an item in the ledger as no scan would; return its id."""
    with database.begin() as connection:
        values = {"source_id": 1, "key": key, "key_hash": key_hash(key), "uri": uri}
        return connection.execute(insert(ItemRow).values(values)).inserted_primary_key[0]


def refused(key, uri="", url="sqlite:///cataloger.db"):
    """Return the code that an item which no scan would make gets."""
    with closing(open_database(url)) as database, Pictures(database) as pictures:
        answer = pictures.read(add_item(database, key, uri))
    assert isinstance(answer, Failure), answer
    return answer.code


@pytest.mark.parametrize("name", [*AWKWARD, b"plain.jpg", b"%", b"%%25", b"%2\xff5", b"%e9", b"\xe9%e9"])
def test_every_name_comes_back_from_its_key(name):
    assert name_of(key_of(name)) == name


def test_files_of_a_folder_are_read_whatever_their_names(tmp_path):
    folder = os.fsencode(tmp_path / "photos")
    os.mkdir(folder)
    for number, name in enumerate(AWKWARD):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(HAT + bytes([number]))
    cataloger("tag", "photos", "-q")
    found = everything()
    assert {key: answer.data[-1] for key, answer in found.items()} == {key_of(n): i for i, n in enumerate(AWKWARD)}


def test_files_of_a_folder_inside_a_known_one_and_of_a_moved_one_are_read(tmp_path):
    (tmp_path / "photos/hats").mkdir(parents=True)
    (tmp_path / "photos/a.png").write_bytes(HAT)
    cataloger("tag", "photos", "-q")
    (tmp_path / "photos/hats/b.png").write_bytes(HAT)
    cataloger("tag", "photos/hats", "-q")
    (tmp_path / "photos").rename(tmp_path / "pictures")
    cataloger("sources", "move", tmp_path / "photos", "pictures")
    assert {key: answer.data for key, answer in everything().items()} == {"a.png": HAT, "hats/b.png": HAT}


def test_files_of_a_manifest_are_read_where_it_names_them(tmp_path):
    for place in ("elsewhere/a.png", "lists/b.png", "c.png"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_bytes(HAT)
    (tmp_path / "lists/list.csv").write_text(f"path\n{tmp_path}/elsewhere/a.png\nb.png\n../c.png\n")
    cataloger("tag", "lists/list.csv", "-q")
    assert [answer.data for answer in everything().values()] == [HAT] * 3


def test_nothing_outside_of_a_folder_is_read(tmp_path):
    (tmp_path / "photos").mkdir()
    for place in ("photos/a.png", "secret.png"):
        (tmp_path / place).write_bytes(HAT)
    cataloger("tag", "photos", "-q")
    for key in (
        "../secret.png",
        "x/../../secret.png",
        f"{tmp_path}/secret.png",
        "%2E%2E/secret.png",
        "..%2Fsecret.png",
    ):
        assert refused(key, f"{tmp_path}/secret.png") == "source.outside_root", key
    assert refused("", "") == "source.outside_root"


def test_links_are_followed_as_the_newest_run_has_it_and_exchanged_files_not_at_all(tmp_path):
    (tmp_path / "photos").mkdir()
    for place in ("photos/a.png", "photos/b.png", "secret.png"):
        (tmp_path / place).write_bytes(HAT)
    (tmp_path / "photos/link.png").symlink_to("../secret.png")
    cataloger("tag", "photos", "-q")
    assert set(everything()) == {"a.png", "b.png"}
    (tmp_path / "photos/b.png").unlink()
    (tmp_path / "photos/b.png").symlink_to("../secret.png")
    assert everything()["b.png"].code == "source.outside_root"
    cataloger("tag", "photos", "-q", "--follow-links")
    assert {key: answer.data for key, answer in everything().items()} == dict.fromkeys(
        ("a.png", "b.png", "link.png"), HAT
    )
    cataloger("tag", "photos", "-q")
    found = everything()
    assert [found[key].code for key in ("b.png", "link.png")] == ["source.outside_root"] * 2
    with closing(sqlite3.connect("cataloger.db")) as connection:  # what is left out has not left
        rows = connection.execute("SELECT key FROM cataloger_image_top5 WHERE status = 'ok'").fetchall()
    assert len(rows) == 3


def test_a_table_whose_paths_are_links_out_of_the_image_root(tmp_path):
    (tmp_path / "root/vendor").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "root/ok.png").write_bytes(HAT)
    (tmp_path / "outside/private.png").write_bytes(HAT)
    (tmp_path / "root/vendor/link.png").symlink_to("../../outside/private.png")
    (tmp_path / "root/vendor/dir").symlink_to("../../outside")
    with closing(sqlite3.connect("shop.db")) as shop, shop:
        shop.execute("CREATE TABLE p (sku TEXT PRIMARY KEY, img TEXT)")
        paths = ("ok.png", "vendor/link.png", "vendor/dir/private.png", "../outside/private.png")
        shop.executemany("INSERT INTO p VALUES (?, ?)", [(f"{n}", path) for n, path in enumerate(paths)])
    arguments = ("sync", "--db", "sqlite:///shop.db", "--table", "p", "--id", "sku", "--image", "img", "-q")
    arguments += ("--image-root", tmp_path / "root", "--max-failure-rate", "1")
    cataloger("db", "upgrade", "--db", "sqlite:///shop.db")
    cataloger(*arguments)
    outside = ["source.outside_root"] * 3
    view = "SELECT error_code FROM cataloger_image_top5 ORDER BY key"
    with closing(sqlite3.connect("shop.db")) as shop:
        assert [code for (code,) in shop.execute(view)] == [None, *outside]
        cataloger(*arguments, "--follow-links", "--retry-failed")
        assert [code for (code,) in shop.execute(view)] == [None, None, None, outside[0]]
    found = everything("sqlite:///shop.db")
    assert [found[key].data for key in ("0", "1", "2")] == [HAT] * 3


def test_what_is_gone_is_no_file_or_too_large_is_a_failure(tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("gone", "large", "pipe"):
        (tmp_path / f"photos/{name}.png").write_bytes(HAT)
    cataloger("tag", "photos", "-q")
    (tmp_path / "photos/gone.png").unlink()
    (tmp_path / "photos/pipe.png").unlink()
    os.mkfifo(tmp_path / "photos/pipe.png")
    codes = {key: answer.code for key, answer in everything(limits=Limits(max_bytes=len(HAT) - 1)).items()}
    assert codes == {
        "gone.png": "io.missing",
        "large.png": "decode.too_many_bytes",
        "pipe.png": "io.not_a_file",
    }


def test_an_item_that_is_not_there_is_a_failure():
    with closing(open_database("sqlite:///cataloger.db")) as database, Pictures(database) as pictures:
        assert pictures.read(17).code == "source.unknown_item"


@pytest.fixture
def make_shop(tmp_path):
    """Make a shop of one hat in a database, and sync it."""
    shops = []

    def make(url, kind, **options):
        shop = rig.Shop(url, kind, tmp_path, photos={"hat": HAT}, **options)
        shops.append(shop)
        shop.sync()
        return shop

    yield make
    for shop in shops:
        shop.stop()


@pytest.mark.parametrize("kind", ["path", "blob"])
def test_images_of_a_table_are_read_on_every_engine(url, make_shop, kind):
    shop = make_shop(url, kind)
    assert everything(url)["hat"].data == HAT
    shop.execute("DELETE FROM products")
    assert isinstance(everything(url)["hat"], Fetched if kind == "path" else Failure)


@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)
def test_bytes_of_a_table_are_read_beside_tables_of_ours_in_a_schema(empty_url):
    by_url.upgrade(empty_url, schema="tags")
    rig.execute(empty_url, "CREATE TABLE products (sku TEXT PRIMARY KEY, photo BYTEA)")
    rig.execute(empty_url, "INSERT INTO products VALUES ('hat', :photo)", {"photo": HAT})
    rig.sync(empty_url, "--schema", "tags")
    with closing(open_database(empty_url, schema="tags")) as database, Pictures(database) as pictures:
        with database.read() as connection:
            identity = connection.scalar(select(ItemRow.id))
        assert pictures.read(identity).data == HAT


def test_bytes_in_another_database_are_a_failure_that_says_so(tmp_path, make_shop):
    ledger = f"sqlite:///{tmp_path}/ledger.db"
    make_shop(f"sqlite:///{tmp_path}/shop.db", "blob", ledger=ledger)
    answer = everything(ledger)["hat"]
    assert (answer.code, "products" in answer.message) == ("source.not_in_database", True)


def test_no_file_outside_of_the_image_root_of_a_table_is_read(tmp_path):
    url = f"sqlite:///{tmp_path}/cataloger.db"
    by_url.upgrade(url)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/hat.png").write_bytes(HAT)
    (tmp_path / "secret.png").write_bytes(HAT)
    rig.execute(url, "CREATE TABLE products (sku TEXT PRIMARY KEY, photo TEXT)")
    rig.execute(url, "INSERT INTO products VALUES ('hat', 'hat.png')")
    rig.sync(url, "--image-root", str(tmp_path / "photos"))
    assert everything()["hat"].data == HAT
    for uri in (f"{tmp_path}/secret.png", f"{tmp_path}/photos/../secret.png", f"{tmp_path}/photos/%2E%2E/secret.png"):
        assert refused(uri, uri) == "source.outside_root"


def test_images_on_the_web_are_read_with_the_guards_of_sync(tmp_path, make_shop):
    url = f"sqlite:///{tmp_path}/cataloger.db"
    by_url.upgrade(url)
    make_shop(url, "url")
    assert everything(allow_private=True)["hat"].data == HAT
    assert everything()["hat"].code == "fetch.private_address"


def test_a_thumbnail_is_an_upright_jpeg_without_metadata_in_the_shape_of_the_image():
    picture = Image.new("RGBA", (400, 100), (255, 0, 0, 0))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "taken at home"
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", exif=exif)
    data = thumbnail(buffer.getvalue(), 80)
    with Image.open(io.BytesIO(data)) as small:
        assert (small.format, small.size, small.getpixel((10, 40))) == ("JPEG", (20, 80), (255, 255, 255))
        assert not small.getexif()
    assert b"taken at home" not in data


def test_a_small_image_is_not_made_larger():
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20), "green").save(buffer, "PNG")
    with Image.open(io.BytesIO(thumbnail(buffer.getvalue(), 160))) as small:
        assert small.size == (30, 20)


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", "decode.empty"), (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "decode.unsupported"), (HAT[:500], None)],
)
def test_what_is_no_image_has_no_thumbnail(data, code):
    with pytest.raises(ImageError) as caught:
        thumbnail(data, 80)
    assert code in (None, caught.value.code)


def test_a_thumbnail_keeps_to_the_limits():
    with pytest.raises(ImageError) as caught:
        thumbnail(HAT, 80, limits=Limits(max_pixels=100))
    assert caught.value.code == "decode.too_large"
