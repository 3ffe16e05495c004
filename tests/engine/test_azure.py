"""`cataloger tag az://..` against Azurite, a server of Microsoft's that speaks what Azure Blob Storage does."""

import sqlite3
from pathlib import Path

import pytest
from conftest import find
from object_rig import AZURE_ACCOUNT, AZURE_KEY, azure_server
from small_bundles import small_bundle

from cataloger.db import DatabaseURL
from cataloger.engine import TagOptions, tag_images
from cataloger.errors import BundleError, SourceError
from cataloger.objects import ObjectStores, client, read_address
from cataloger.options import RunOptions, WebOptions

EXAMPLES = Path(__file__).parents[2] / "examples" / "images"

pytestmark = pytest.mark.long


@pytest.fixture
def azure(monkeypatch, tmp_path):
    with azure_server(find("azurite-blob"), "photos") as url:
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", url)
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", AZURE_ACCOUNT)
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", AZURE_KEY)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setattr(client, "FIRST_WAIT", 0.01)
        yield ObjectStores(WebOptions(attempts=2))


def run(tmp_path, *paths, **options):
    return tag_images(TagOptions(paths, db=DatabaseURL.parse(f"sqlite:///{tmp_path}/catalog.db"), **options))


def put(stores, address, file):
    stores.put(read_address(address), file)


def test_a_container_is_a_source_and_holds_models_and_results(azure, tmp_path, monkeypatch):
    put(azure, "az://photos/a/bow-tie.png", EXAMPLES / "bow-tie.png")
    put(azure, "az://photos/a/deep/ü b+c %41?#&.PNG", EXAMPLES / "earring.png")
    small_bundle(tmp_path / "small")
    for each in (tmp_path / "small").iterdir():
        put(azure, f"az://photos/models/shop/{each.name}", each)
    report = run(tmp_path, "AZ://photos/a/", model="az://photos/models/shop", output="az://photos/out/now.csv")
    assert report.run.done == 2
    with sqlite3.connect(tmp_path / "catalog.db") as connection:
        query = "select key, uri from cataloger_item order by key"
        assert connection.execute(query).fetchall() == [
            ("bow-tie.png", "az://photos/a/bow-tie.png"),
            ("deep/ü b+c %41?#&.PNG", "az://photos/a/deep/ü b+c %41?#&.PNG"),
        ]
    written = azure.get(read_address("az://photos/out/now.csv"), lambda _, body: body.read())
    assert written.count(b"az://photos/a/") == 2
    assert run(tmp_path, "az://photos/a").run.skipped == {"unchanged": 2}
    # Named alone it is the same version as in a listing.
    assert run(tmp_path, "az://photos/a/bow-tie.png").run.skipped == {"unchanged": 1}
    put(azure, "az://photos/a/bow-tie.png", EXAMPLES / "earring.png")
    assert run(tmp_path, "az://photos/a", run=RunOptions(dry_run=True)).run.planned == {"changed": 1}
    with pytest.raises(SourceError, match=r"az://nowhere does not exist there \(ContainerNotFound\)"):
        run(tmp_path, "az://nowhere")
    with pytest.raises(BundleError, match=r"az://photos does not have the object \(BlobNotFound\)"):
        run(tmp_path, "az://photos/a", model="az://photos/none")
    wrong = "AAAA" + AZURE_KEY[4:]
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", wrong)
    with pytest.raises(SourceError, match=r"az://photos: access denied \(AuthorizationFailure\)") as raised:
        run(tmp_path, "az://photos/a", model="default")
    assert wrong not in str(raised.value)
