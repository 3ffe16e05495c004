"""`cataloger tag s3://..`, and objects that tables and manifests name, against a server that speaks S3."""

import hashlib
import json
import re
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import by_url
import numpy as np
import pytest
from object_rig import s3_server
from small_bundles import small_bundle
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.corrections.store import CorrectionInput, correct
from cataloger.db import DatabaseURL
from cataloger.engine import SyncOptions, TagOptions, sync_table, tag_images
from cataloger.errors import (
    BundleError,
    LostOutputError,
    MissingExtraError,
    OutageError,
    OutputError,
    SourceError,
    UsageError,
)
from cataloger.inference import explain_images
from cataloger.model import read_bundle, resolve_bundle_path
from cataloger.objects import client
from cataloger.options import Limits, PreprocessSpec, RunOptions, WebOptions
from cataloger.report import Pictures
from cataloger.schema import open_results
from cataloger.table_options import TableOptions
from cataloger.training.curation.inventory import take_inventory
from cataloger.training.data import read_dataset
from cataloger.training.evaluation.scoring import score
from cataloger.training.options import DataOptions

EXAMPLES = Path(__file__).parents[2] / "examples" / "images"
SECRET = "wJalrXUtnFEMI-SECRET"


@pytest.fixture(scope="module")
def door():
    with s3_server() as door:
        yield door


@pytest.fixture(autouse=True)
def environment(door, monkeypatch, tmp_path):
    """Settings as an operator of an own server makes them; nothing of this machine's."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", door.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN", "AWS_SKIP_SIGNATURE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(client, "FIRST_WAIT", 0.01)


def image(name):
    return (EXAMPLES / f"{name}.png").read_bytes()


def run(tmp_path, *paths, **options):
    url = DatabaseURL.parse(f"sqlite:///{tmp_path}/catalog.db")
    return tag_images(TagOptions(paths, db=url, **options))


def rows(tmp_path, query="select key, status, error_code, uri from cataloger_image_top5 order by key"):
    with sqlite3.connect(tmp_path / "catalog.db") as connection:
        return connection.execute(query).fetchall()


def test_a_bucket_is_a_source_like_a_folder(door, tmp_path, capfd):
    names = ("baseball-cap", "blue-fedora", "bow-tie")
    odd = {"deep/ü b+c %41?#&.PNG": image("earring"), ".hidden/a.png": b"x", "notes.txt": b"x", "folder/": b""}
    door.put("shop", {f"photos/{n}.png": image(n) for n in names} | {f"photos/{k}": v for k, v in odd.items()})
    door.put("shop", {"photos/broken.jpg": b"no picture", "other/c.png": image("bow-tie")})

    assert run(tmp_path, "S3://shop/photos/", run=RunOptions(dry_run=True)).run.planned["new"] == 5
    report = run(tmp_path, "S3://shop/photos/")

    assert (report.run.done, report.run.failed) == (4, 1)
    assert report.run.left_out == {"hidden": 1, ".txt": 1, "no_extension": 1}
    assert rows(tmp_path) == [
        ("baseball-cap.png", "ok", None, "s3://shop/photos/baseball-cap.png"),
        ("blue-fedora.png", "ok", None, "s3://shop/photos/blue-fedora.png"),
        ("bow-tie.png", "ok", None, "s3://shop/photos/bow-tie.png"),
        ("broken.jpg", "failed", "decode.not_image", "s3://shop/photos/broken.jpg"),
        ("deep/ü b+c %41?#&.PNG", "ok", None, "s3://shop/photos/deep/ü b+c %41?#&.PNG"),
    ]
    assert rows(tmp_path, "select kind, root from cataloger_source") == [("bucket", "s3://shop/photos")]
    assert run(tmp_path, "s3://shop/photos").run.skipped == {"unchanged": 4, "failed_before": 1}
    without = run(tmp_path, "s3://shop/photos", run=RunOptions(exclude=("deep", "*.jpg")))
    assert (without.missing, without.run.left_out["excluded"]) == (2, 2)
    assert run(tmp_path, "s3://shop/photos").restored == 2

    # Changed under its name, deleted, new; then there again. A folder of a known source shares its keys.
    door.put("shop", {"photos/bow-tie.png": image("earring"), "photos/new/cap.png": image("baseball-cap")})
    door.delete("shop", "photos/blue-fedora.png")
    report = run(tmp_path, "s3://shop/photos", "s3://shop/photos/new")
    assert report.run.planned == {"new": 1, "changed": 1}
    assert report.missing == 1
    door.put("shop", {"photos/blue-fedora.png": image("blue-fedora")})
    report = run(tmp_path, "s3://shop/photos/blue-fedora.png")
    assert (report.restored, report.run.done, report.run.skipped["unchanged"]) == (1, 0, 1)
    assert run(tmp_path, "s3://shop/photos/new/").run.skipped == {"unchanged": 1}
    assert len(rows(tmp_path, "select 1 from cataloger_source")) == 1

    url = DatabaseURL.parse(f"sqlite:///{tmp_path}/catalog.db")
    with closing(open_results(url)) as database, Pictures(database) as shown:
        (number,) = rows(tmp_path, "select id from cataloger_item where key like 'deep/%'")
        assert shown.read(number[0]).data == image("earring")
    everything = capfd.readouterr().err + (tmp_path / "catalog.db").read_bytes().decode("latin-1")
    assert SECRET not in everything
    assert "AKIATEST" not in everything


def test_what_is_too_large_is_not_read(door, tmp_path):
    door.put("large", {"a.png": image("bow-tie"), "huge.png": b"\0" * 3_000_000})
    report = run(tmp_path, "s3://large", limits=Limits(max_bytes=2_500_000))
    assert report.run.failures == {"decode.too_many_bytes": 1}
    assert ("GET", "/large/huge.png") not in door.asked


def test_a_store_that_asks_for_fewer_requests_is_asked_again(door, tmp_path):
    door.put("slow", {"a.png": image("bow-tie"), "b.png": image("earring")})
    door.refuse.update({"/slow": 2, "/slow/a.png": 2, "/slow/b.png": 99})
    report = run(tmp_path, "s3://slow", web=WebOptions(attempts=3))
    assert report.run.done == 1
    assert rows(tmp_path)[1][:3] == ("b.png", "failed", "fetch.http_status")
    assert door.asked["GET", "/slow/b.png"] == 3
    # Many of them in a row are an outage: nothing is recorded of it.
    door.refuse.update({"/slow/b.png": 99, "/slow/a.png": 99})
    report = run(
        tmp_path, "s3://slow", str(EXAMPLES / "earring.png"),
        web=WebOptions(attempts=1), run=RunOptions(outage_after=2, force=True),
    )  # fmt: skip
    assert [each.place for each in report.run.outages] == ["the bucket s3://slow"]
    door.refuse.clear()


@pytest.mark.parametrize(
    ("path", "settings", "error", "text"),
    [
        ("s3://nowhere", {}, SourceError, "s3://nowhere does not exist there (NoSuchBucket)"),
        ("s3://empty/x", {}, SourceError, "no image found below s3://empty/x"),
        ("s3://slow", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, OutageError, "no connection to s3://slow"),
        (f"s3://me:{SECRET}@shop/x", {}, UsageError, "names no valid bucket"),
        (f"s3://shop/x.png?X-Amz-Signature={SECRET}", {}, UsageError, "the address is signed"),
        ("s3://shop/../x", {}, UsageError, "'.' or '..'"),
        ("s3://shop/list.csv", {}, UsageError, "copy it here first"),
        ("ftp://shop/list", {}, UsageError, "http, https, s3, gs, az"),
        ("s3://slow", {"AWS_PROFILE": "none"}, UsageError, "AWS_PROFILE=none: no such profile"),
        ("az://photos", {}, UsageError, "AZURE_STORAGE_ACCOUNT_NAME"),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(door, tmp_path, monkeypatch, path, settings, error, text):
    door.put("empty", {"a.txt": b"x"})
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(error) as raised:
        run(tmp_path, path, web=WebOptions(attempts=1))
    assert text in str(raised.value)
    assert "\n" not in str(raised.value)
    assert SECRET not in str(raised.value)


def test_keys_and_endpoint_come_from_a_profile(door, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)
    (tmp_path / "config").write_text(f"[profile shop]\nendpoint_url = {door.url}\nregion = eu-west-1\n")
    (tmp_path / "credentials").write_text("[shop]\naws_access_key_id = PROFILED\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_PROFILE", "shop")
    door.put("own", {"a.png": image("bow-tie")})
    assert run(tmp_path, "s3://own").run.done == 1
    assert "PROFILED" in door.headers[-1]["authorization"]
    assert "eu-west-1" in door.headers[-1]["authorization"]
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    assert run(tmp_path, "s3://own", run=RunOptions(force=True)).run.done == 1
    assert "authorization" not in door.headers[-1]


def test_buckets_of_google_are_read_through_the_same_interface(door, tmp_path, monkeypatch):
    """Of Google's XML interface no server runs here; what of it is asked for, moto answers in the same way."""
    monkeypatch.setenv("GOOGLE_BASE_URL", door.url)
    monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "true")
    door.put("google", {"a/1.png": image("bow-tie"), "b.png": image("earring")})
    report = run(tmp_path, "GS://google/a")
    assert (report.run.done, rows(tmp_path)[0][3]) == (1, "gs://google/a/1.png")
    assert run(tmp_path, "gs://google/a/1.png").run.skipped == {"unchanged": 1}
    assert "authorization" not in door.headers[-1]
    with pytest.raises(SourceError, match=r"gs://nowhere does not exist there \(NoSuchBucket\)"):
        run(tmp_path, "gs://nowhere")
    (tmp_path / "key.json").write_text(
        f'{{"private_key": "{SECRET}", "client_email": "a@b.c", "private_key_id": "1"}}'
    )
    monkeypatch.delenv("GOOGLE_SKIP_SIGNATURE")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    with pytest.raises(UsageError, match=r"gs://google cannot be opened .*; set GOOGLE_APPLICATION") as raised:
        run(tmp_path, "gs://google")
    assert SECRET not in str(raised.value)


def test_tables_name_objects_only_below_a_root(door, tmp_path):
    door.put("catalog", {"a/1.png": image("bow-tie"), "b/2.png": image("earring")})
    door.put("secret", {"x.png": image("earring")})
    url = f"sqlite:///{tmp_path}/catalog.db"
    by_url.upgrade(url)
    named = [
        "s3://catalog/a/1.png",
        "s3://catalog/a/none.png",
        "s3://catalog/b/2.png",
        "S3://secret/x.png",
        "gs://catalog/a/1.png",
    ]
    with sqlite3.connect(tmp_path / "catalog.db") as connection:
        connection.execute("create table product (sku text primary key, photo text)")
        connection.executemany("insert into product values (?, ?)", [(f"p{n}", name) for n, name in enumerate(named)])
    table = TableOptions("product", ("sku",), "photo", object_roots=("s3://catalog/a/",))
    options = SyncOptions(DatabaseURL.parse(url), table, run=RunOptions(max_failure_rate=1))
    before = door.asked.copy()

    assert sync_table(options).run.done == 1

    assert set((door.asked - before).elements()) == {("GET", "/catalog/a/1.png"), ("GET", "/catalog/a/none.png")}
    assert [row[:3] for row in rows(tmp_path)] == [
        ("p0", "ok", None),
        ("p1", "failed", "fetch.not_found"),
        *((f"p{n}", "failed", "source.outside_root") for n in (2, 3, 4)),
    ]
    assert sync_table(options).run.skipped == {"unchanged": 1, "failed_before": 3}
    # Asked whether it is still the same, the store tells of a change.
    door.put("catalog", {"a/1.png": image("earring")})
    asking = SyncOptions(options.db, table, web=WebOptions(revalidate=True), run=options.run)
    assert sync_table(asking).run.planned == {"changed": 1, "retry": 1}
    assert sync_table(asking).run.planned == {"retry": 1}
    with closing(open_results(options.db)) as database, Pictures(database) as shown:
        (number,) = rows(tmp_path, "select id from cataloger_item where key = 'p0'")
        assert shown.read(number[0]).data == image("earring")

    manifest = tmp_path / "feed.csv"
    manifest.write_text("path\n" + "\n".join(named))
    report = run(tmp_path, str(manifest), object_roots=("s3://catalog/b",), run=options.run)
    assert (report.run.done, report.run.failures) == (1, {"source.outside_root": 4})
    with pytest.raises(UsageError, match="--object-root: the address names no valid bucket"):
        run(tmp_path, str(manifest), object_roots=("s3://k:v@b",))


def test_rows_that_share_an_object_ask_for_it_once(door, tmp_path):
    door.put("shared", {f"{name}.png": image(name) for name in ("bow-tie", "earring")})
    url = f"sqlite:///{tmp_path}/catalog.db"
    by_url.upgrade(url)
    named = ["s3://shared/bow-tie.png", "S3://shared/earring.png", " s3://shared/bow-tie.png", "s3://shared/none.png"]
    with sqlite3.connect(tmp_path / "catalog.db") as connection:
        connection.execute("create table product (sku text primary key, photo text)")
        connection.executemany(
            "insert into product values (?, ?)", [(f"p{n:03}", named[n % len(named)]) for n in range(200)]
        )
    table = TableOptions("product", ("sku",), "photo", object_roots=("s3://shared",))
    options = SyncOptions(DatabaseURL.parse(url), table, run=RunOptions(max_failure_rate=1))
    before = door.asked.copy()
    report = sync_table(options).run
    assert (report.done, report.failures) == (150, {"fetch.not_found": 50})
    assert door.asked - before == {("GET", f"/shared/{name}.png"): 1 for name in ("bow-tie", "earring", "none")}
    answers = rows(tmp_path, "select uri, label_1, confidence_1, count(*) from cataloger_image_top5 group by 1, 2, 3")
    assert [(uri, count) for uri, _, _, count in answers] == [
        ("s3://shared/bow-tie.png", 100), ("s3://shared/earring.png", 50), ("s3://shared/none.png", 50),
    ]  # fmt: skip


def test_an_object_can_be_explained(door):
    door.put("explained", {"tie.png": image("bow-tie")})
    bundle = read_bundle(resolve_bundle_path("default"), check=()).at("auto")
    there, missing, file = explain_images(
        bundle, ["s3://explained/tie.png", "s3://explained/none.png", EXAMPLES / "bow-tie.png"]
    )
    assert there.confidences == file.confidences
    assert (missing.item.uri, missing.code) == ("s3://explained/none.png", "fetch.not_found")
    with pytest.raises(UsageError, match="names no valid bucket"):
        list(explain_images(bundle, [f"s3://me:{SECRET}@shop/a.png"]))


def test_without_the_extra_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'fashion-cataloger\[objects\]'"):
        run(tmp_path, "s3://shop/photos")


def test_results_are_written_into_a_store_as_a_whole_or_not_at_all(door, tmp_path):
    door.put("drawer", {"a.png": image("bow-tie")})
    files = {form: str(tmp_path / f"now.{form}") for form in ("csv", "parquet")}
    for form, file in files.items():
        run(tmp_path, "s3://drawer", output=Path(file))
        run(tmp_path, "s3://drawer", output=f"S3://drawer/results/now.{form}")
        assert door.read("drawer", f"results/now.{form}") == Path(file).read_bytes()
    assert run(tmp_path, "s3://drawer").run.left_out == {".csv": 1, ".parquet": 1}
    before = door.read("drawer", "results/now.csv")
    door.put("drawer", {"b.png": image("earring")})
    door.refuse_writing.update({"/drawer/results/now.csv": 99})
    with pytest.raises(
        LostOutputError, match=r"^s3://drawer/results/now.csv cannot be written: .*SlowDown.*database$"
    ):
        run(tmp_path, "s3://drawer", output="s3://drawer/results/now.csv", web=WebOptions(attempts=1))
    assert door.read("drawer", "results/now.csv") == before
    assert len(rows(tmp_path)) == 2
    for output, error, text in (
        ("s3://nowhere/now.csv", OutputError, "s3://nowhere does not exist there (NoSuchBucket)"),
        ("s3://drawer", UsageError, "the extension says which"),
        (f"s3://me:{SECRET}@drawer/now.csv", UsageError, "--output: the address names no valid bucket"),
    ):
        with pytest.raises(error) as raised:
            run(tmp_path / "none", "s3://drawer", output=output)
        assert text in str(raised.value)
        assert SECRET not in str(raised.value)


def test_a_model_may_lie_in_a_store(door, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    small_bundle(tmp_path / "small")
    files = {f"models/shop/{each.name}": each.read_bytes() for each in (tmp_path / "small").iterdir()}
    door.put("models", files | {"photos/a.png": image("bow-tie")})
    asked = door.asked.copy()

    assert run(tmp_path, "s3://models/photos", model="S3://models/models/shop/").run.done == 1

    place = "s3://models/models/shop"
    assert rows(tmp_path, "select location from cataloger_model") == [(place,)]
    assert {number for path, number in (door.asked - asked).items() if "shop/" in path[1]} == {1}
    # The next night asks what the bundle is, and downloads none of it again.
    asked = door.asked.copy()
    assert run(tmp_path, "s3://models/photos", run=RunOptions(force=True)).run.done == 1
    assert {path for _, path in door.asked - asked if "shop/" in path} == {"/models/models/shop/bundle.json"}
    # Another bundle there: none of the files of the old one are used, and one that is not whole is refused.
    small_bundle(tmp_path / "other", labels=("Hat", "Shirt", "Sock", "Tie"))
    others = {f"models/shop/{each.name}": each.read_bytes() for each in (tmp_path / "other").iterdir()}
    door.put("models", {name: data for name, data in others.items() if not name.endswith("safetensors")})
    with pytest.raises(BundleError, match=f"^the model at {place} cannot be read: .*weights.safetensors is not the"):
        run(tmp_path, "s3://models/photos", model=place)
    door.put("models", others)
    assert run(tmp_path, "s3://models/photos", model=place).run.planned == {"model": 1}
    for there, error in ((f"{place}/none", "the object"), ("s3://nowhere/x", "does not exist there \\(NoSuchBucket")):
        with pytest.raises(BundleError, match=f"the model at {there} cannot be read: .*{error}"):
            run(tmp_path, "s3://models/photos", model=there)
    with pytest.raises(UsageError, match="--model: the address is signed"):
        run(tmp_path, "s3://models/photos", model=f"{place}?X-Amz-Signature={SECRET}")
    door.put("models", {"models/shop/bundle.json": b'{"files": []}'})
    with pytest.raises(BundleError, match="none of a model bundle"):
        run(tmp_path, "s3://models/photos")


def test_a_bundle_is_stored_whole_or_is_none(door, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    small, other = small_bundle(tmp_path / "small"), small_bundle(tmp_path / "other", labels=("Hat", "Sock", "Tie"))
    door.put("shelf", {"photos/a.png": image("bow-tie"), "full/photos/a.png": b"", "half/MODEL_CARD.md": b"# shop"})
    place = "s3://shelf/models/shop"

    def keep(bundle, target=place, *flags):
        return CliRunner().invoke(app, ["models", "keep", str(bundle.path), target, *flags])

    # A store that fails in the middle has no bundle, and nothing is lost.
    door.refuse_writing.update({"/shelf/models/shop/weights.safetensors": 99})
    failed = keep(small)
    door.refuse_writing.clear()
    assert failed.exit_code == 5
    [kept] = (tmp_path / "temporary").glob("*/bundle")
    assert read_bundle(kept, check=tuple(small.files)).weights_id == small.weights_id
    assert re.fullmatch(f".*at {place}: .*SlowDown.*; it is kept in {kept}: copy .* last", failed.stderr.strip())
    shutil.rmtree(kept.parent)
    with pytest.raises(BundleError, match=f"{place} cannot be read: .*does not have the object"):
        resolve_bundle_path(place)
    # The same command again makes it whole, what names the place names it as --model does, and nothing stays here.
    written = [path for method, path in door.asked if method == "PUT"]
    done = keep(small, "S3://shelf/models/shop/", "--json")
    assert (done.exit_code, json.loads(done.stdout)["path"]) == (0, place)
    assert not any((tmp_path / "temporary").iterdir())
    assert written.count("/shelf/models/shop/bundle.json") == 0
    assert read_bundle(resolve_bundle_path(place), check=tuple(small.files)).files == small.files
    assert run(tmp_path, "s3://shelf/photos", model=place).run.done == 1
    assert keep(small).exit_code == 0
    door.put("shelf", {"large/bundle.json": b" " * 5_000_001})
    for target, status, text in (
        (place, 2, "contains another model already"),
        ("s3://shelf/large", 2, "contains another model already"),
        ("s3://shelf/full", 1, "exists and is not a model bundle"),
        ("s3://nowhere/shop", 1, "TARGET s3://nowhere/shop: s3://nowhere does not exist there (NoSuchBucket)"),
        (f"s3://me:{SECRET}@shelf/shop", 2, "TARGET: the address names no valid bucket"),
    ):
        refused = keep(other, target)
        assert refused.exit_code == status, target
        assert text in refused.stderr
        assert SECRET not in refused.stderr
    assert keep(other, "s3://shelf/half").exit_code == 0

    # A bundle of a store is calibrated in its place, and a part of the new one and of the old one is none.
    labels = tmp_path / "labels.csv"
    labels.write_text("image,label\nbow-tie.png,Hat\nearring.png,Sock\nbaseball-cap.png,Hat\n")
    calibrate = ["calibrate", str(labels), "--images", str(EXAMPLES), "--model", place, "--output", place]
    assert CliRunner().invoke(app, calibrate).exit_code == 0
    again = read_bundle(resolve_bundle_path(place), check=tuple(small.files))
    assert (again.weights_id, again.calibration_id == small.calibration_id) == (small.weights_id, False)
    door.put("shelf", {"models/shop/MODEL_CARD.md": b"# another"})
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(BundleError, match=r"MODEL_CARD.md is not the file that its manifest names"):
        resolve_bundle_path(place)


def test_where_a_file_or_folder_is_wanted_an_address_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in (
        ["report", "--output", f"s3://shelf/{SECRET}.html"],
        ["evaluate", "labels.csv", "--output", f"GS://shelf/{SECRET}"],
        ["evaluate", f"az://shelf/{SECRET}.csv"],
        ["inspect", "photos", "--work", f"s3://shelf/{SECRET}"],
    ):
        refused = CliRunner().invoke(app, arguments)
        assert refused.exit_code == 2
        assert "://...) was given where a file or folder of this machine is wanted" in refused.stderr
        assert SECRET not in refused.stderr
    assert not any(tmp_path.iterdir())


def test_labels_may_name_objects_below_a_root(door, tmp_path):
    names = ("baseball-cap", "blue-fedora", "bow-tie", "earring")
    door.put("labelled", {f"a/{name}.png": image(name) for name in names} | {"b/earring.png": image("earring")})
    manifest = tmp_path / "labels.csv"
    labels = ("Hat", "Hat", "Tie", "Jewellery", "Jewellery", "Hat")
    places = [*(f"S3://labelled/a/{name}.png" for name in names), "s3://labelled/b/earring.png", "ftp://a.b/c.png"]
    manifest.write_text("image,label\n" + "".join(f"{p},{x}\n" for p, x in zip(places, labels, strict=True)))
    options = DataOptions(data=manifest, object_roots=("s3://labelled/a",))
    before = door.asked.copy()

    data = read_dataset(options)

    assert door.asked == before
    assert [example.place for example in data.examples] == [f"s3://labelled/a/{name}.png" for name in names]
    assert ["--object-root" in each.message for each in data.problems] == [True, False]
    # Each is read once; as long as its store says that it is the same, another run takes what is known of it.
    for times, next_image in ((1, "bow-tie"), (1, "earring"), (2, "bow-tie")):
        inventory = take_inventory(data.examples, PreprocessSpec(), tmp_path / "work", lambda _: None)
        assert inventory.sha256[2] == hashlib.sha256(door.read("labelled", "a/bow-tie.png")).digest()
        assert door.asked["GET", "/labelled/a/bow-tie.png"] == times
        door.put("labelled", {"a/bow-tie.png": image(next_image)})
    assert door.asked["GET", "/labelled/a/earring.png"] == 1

    # A model is measured by them as by files.
    bundle = read_bundle(resolve_bundle_path("default"), check=()).at("auto")
    (tmp_path / "files.csv").write_text(
        "image,label\n" + "".join(f"{name}.png,{x}\n" for name, x in zip(names, labels, strict=False))
    )
    scores = [
        score(bundle, read_dataset(each).examples, progress=lambda _: None).logits
        for each in (options, DataOptions(data=tmp_path / "files.csv", images=EXAMPLES))
    ]
    assert np.array_equal(*scores)
    with pytest.raises(UsageError, match="--object-root: the address names no valid bucket") as raised:
        DataOptions(data=manifest, object_roots=(f"s3://me:{SECRET}@labelled",))
    assert SECRET not in str(raised.value)


def test_what_people_have_corrected_is_learned_from_where_it_lies(door, tmp_path):
    door.put("said", {"a.png": image("bow-tie"), "b.png": image("earring"), "c.png": image("baseball-cap")})
    run(tmp_path, "s3://said")
    url = DatabaseURL.parse(f"sqlite:///{tmp_path}/catalog.db")
    with closing(open_results(url)) as database:
        for name, said in (("a.png", "Hat"), ("b.png", "Hat"), ("c.png", None)):
            query = "select item_id, r.id from cataloger_result r join cataloger_item i on i.id = item_id"
            [ids] = rows(tmp_path, f"{query} where key = '{name}'")
            saying = CorrectionInput(ids[0], "label" if said else "not_product", said, None, ids[1])
            assert correct(database, [saying], "Ann")[0].status == "saved"
    options = DataOptions(corrections=True, db=url, no_product="")
    assert {each.place: each.labels for each in read_dataset(options).examples} == {
        "s3://said/a.png": ("Hat",), "s3://said/b.png": ("Hat",), "s3://said/c.png": (),
    }  # fmt: skip
    door.put("said", {"a.png": image("earring")})
    changed = read_dataset(options)
    assert [(each.kind, each.place) for each in changed.problems] == [("changed_image", "s3://said/a.png")]
    assert [each.place for each in changed.products] == ["s3://said/b.png"]
    # A table may name any object: only below the roots of its newest run they are read.
    with sqlite3.connect(tmp_path / "catalog.db") as connection:
        connection.execute("update cataloger_source set kind = 'table'")
    refused = read_dataset(DataOptions(corrections=True, db=url, data=_one_label(tmp_path)))
    assert {each.message for each in refused.problems if each.kind == "no_image"} == {
        "the object lies below no --object-root of the last run over its table"
    }


def _one_label(folder):
    (folder / "one.csv").write_text(f"image,label\n{EXAMPLES / 'bow-tie.png'},Tie\n")
    return folder / "one.csv"
