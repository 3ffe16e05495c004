"""The review of shops whose pictures are on the web, in a bucket or bytes in a column, as the page asks for it."""

import io

import by_url
import pytest
import sync_rig as rig
from object_rig import s3_server
from PIL import Image

from cataloger.review.image_cache import SIZES

HAT = rig.pictures()["blue-fedora"]
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}


@pytest.fixture
def bucket(monkeypatch, tmp_path):
    """A bucket `shop` with the picture of a hat."""
    with s3_server() as door:
        door.put("shop", {"hats/blue.png": HAT})
        files = {"AWS_CONFIG_FILE": f"{tmp_path}/none", "AWS_SHARED_CREDENTIALS_FILE": f"{tmp_path}/none"}
        for name, value in {**CREDENTIALS, **files, "AWS_ENDPOINT_URL": door.url}.items():
            monkeypatch.setenv(name, value)
        yield "s3://shop"


@pytest.fixture(params=["url", "blob", "bucket"])
def shop(request, tmp_path):
    """A shop of one hat whose picture was classified."""
    url = f"sqlite:///{tmp_path}/shop.db"
    by_url.upgrade(url)
    is_bucket = request.param == "bucket"
    shop = rig.Shop(url, "path" if is_bucket else request.param, tmp_path, photos={"hat": HAT})
    try:
        if is_bucket:
            root = request.getfixturevalue("bucket")
            shop.execute(f"UPDATE products SET photo = '{root}/hats/blue.png'")
            shop.sync("--object-root", root)
        else:
            shop.sync()
        yield shop
    finally:
        shop.stop()


def test_its_pictures_are_shown_once_read_and_its_product_is_answered(shop, tmp_path, serve_here, word):
    with serve_here(tmp_path / "shop.db", "anna", allow_private=True) as served:
        client = served.client()
        (product,) = client.get("/api/queue?by=product").json()["rows"]
        (row,) = product["images"]
        assert product["product"] == "hat"
        for size in SIZES:
            with Image.open(
                io.BytesIO(client.get(f"/image/{row['item']}/{size}.jpg").raise_for_status().content)
            ) as shown:
                assert max(shown.size) <= size
        assert client.get(f"/map/{row['item']}/1.png").content.startswith(b"\x89PNG")
        saved = client.post("/api/words", json={"words": [word(row)]}).json()["outcomes"]
        assert [each["status"] for each in saved] == ["saved"]
        assert client.get("/api/queue?by=product").json()["rows"] == []
        (example,) = client.get(f"/api/examples/{row['source']}?label={row['answers'][0][0]}").json()
        shop.execute("UPDATE products SET photo = ''")
        assert client.get(f"/image/{example['item']}/{SIZES[0]}.jpg").status_code == 200
    assert rig.rows(shop.url, "SELECT label FROM cataloger_correction") == [(row["answers"][0][0],)]
