"""The review of shops whose pictures are on the web or bytes in a column: the queue, and each picture at once."""

import io
from contextlib import closing

import by_url
import pytest
import sync_rig as rig
from PIL import Image

from cataloger.db import DatabaseURL
from cataloger.report import Pictures
from cataloger.review.image_cache import SIZES, Images
from cataloger.review_queue import Filters, Queue
from cataloger.schema import open_database

HAT = rig.pictures()["blue-fedora"]


@pytest.mark.parametrize("kind", ["url", "blob"])
def test_the_pictures_of_a_queue_come_from_where_the_shop_has_them_and_once(tmp_path, kind):
    url = f"sqlite:///{tmp_path}/shop.db"
    by_url.upgrade(url)
    shop = rig.Shop(url, kind, tmp_path, photos={"hat": HAT})
    try:
        shop.sync()
        with (
            closing(open_database(DatabaseURL.parse(url))) as database,
            Pictures(database, allow_private=True) as pictures,
            Images(database, pictures) as images,
        ):
            (row,) = Queue(database).page(Filters())[0]
            assert row["product"] == "hat"
            for size in SIZES:
                with Image.open(io.BytesIO(images.thumbnail(row["item"], size))) as shown:
                    assert max(shown.size) <= size
            assert images.activation_map(row["item"], 1).startswith(b"\x89PNG")
            shop.execute("UPDATE products SET photo = ''")
            assert images.thumbnail(row["item"], SIZES[0])
    finally:
        shop.stop()
