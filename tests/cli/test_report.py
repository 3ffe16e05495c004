"""`cataloger report`: one page with everything inside, inert whatever the names, readable everywhere."""

import base64
import hashlib
import importlib.util
import json
import os
import re
import shutil
import sys
from contextlib import closing
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import by_url
import pytest
from by_url import open_database
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.errors import UsageError
from cataloger.model.bundle import default_bundle_path
from cataloger.report import images as report_pictures
from cataloger.report import stored_images
from cataloger.report.gather import ReportOptions, gather_report
from cataloger.report.html import link, percent, shortened
from cataloger.report.images import open_maps
from cataloger.web import read_asset

EXAMPLES = Path(__file__).parents[2] / "examples" / "images"
HOSTILE = (
    b"<script>alert(1)<\\script>.png",
    b'" onerror="alert(1)" x=".png',
    b"'><img src=x onerror=alert(1)>.png",
    b"{{ 7 * 7 }}.png",
    b"caf\xe9.png",
    "\u202egnp.txt.png".encode(),
    b"javascript:alert(1).png",
    b"a" * 250 + b".png",
)
REVIEW = "http://127.0.0.1:8765"
LOADING = {"src", "href", "data", "poster", "srcset", "action", "formaction", "xlink:href", "background", "style"}


def load(path):
    """Import a program by its path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


rig = load(Path(__file__).parents[1] / "sync_rig.py")


class Page(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text, self.size = [], "", path.stat().st_size
        self._is_style = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._is_style = tag in ("style", "script")

    def handle_endtag(self, tag):
        self._is_style = False

    def handle_data(self, data):
        self.text += "" if self._is_style else data

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def cataloger(*arguments, status=0):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == status, result.output + repr(result.exception)
    return " ".join((result.stderr if status else result.stdout).split())


def hostile_folder(folder):
    folder = os.fsencode(folder)
    os.mkdir(folder)
    for number, name in enumerate(HOSTILE):
        source = sorted(EXAMPLES.glob("*.png"))[number]
        with open(os.path.join(folder, name), "wb") as file:
            file.write(source.read_bytes() if number % 3 else b"not an image")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A page about files with hostile names, some of which failed."""
    folder = tmp_path_factory.mktemp("hostile")
    hostile_folder(folder / "photos")
    db = f"sqlite:///{folder}/a.db"
    cataloger("tag", folder / "photos", "--db", db, "-q", status=3)
    cataloger("report", "--db", db, "-o", folder / "page.html", "-q")
    return folder / "page.html"


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """A page about the examples."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(EXAMPLES, folder / "photos")
    (folder / "photos/torn.png").write_bytes((EXAMPLES / "sombrero.png").read_bytes()[:700])
    db = f"sqlite:///{folder}/a.db"
    for _ in range(2):
        cataloger("tag", folder / "photos", "--db", db, "-q", "--max-failure-rate", 1)
    cataloger("report", "--db", db, "-o", folder / "page.html", "-q")
    return folder / "page.html"


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory):
    """A page about the examples after a person, whose name is hostile, has spoken of some of them."""
    folder = tmp_path_factory.mktemp("reviewed")
    shutil.copytree(EXAMPLES, folder / "photos", ignore=shutil.ignore_patterns("*.md"))
    names = sorted(path.name for path in (folder / "photos").iterdir())
    (folder / "list.csv").write_text(
        "path,sku\n" + "".join(f"photos/{name},P{n // 4}\n" for n, name in enumerate(names))
    )
    db = f"sqlite:///{folder}/a.db"
    cataloger("tag", folder / "list.csv", "--product-column", "sku", "--db", db, "-q")
    rows = [f"photos/{names[0]},Shoes,\n", f"photos/{names[4]},T-shirt,\n", f"photos/{names[1]},,not_product\n"]
    (folder / "words.csv").write_text("key,label,verdict\n" + "".join(rows))
    cataloger("corrections", "import", folder / "words.csv", "--author", "<b>ann\u202e", "--new-labels", "--db", db)
    cataloger("tag", folder / "list.csv", "--product-column", "sku", "--db", db, "-q")
    cataloger("report", "--db", db, "-o", folder / "page.html", "-q")
    return folder / "page.html"


@pytest.mark.parametrize("page", ["hostile", "examples", "reviewed"])
def test_nothing_is_loaded_and_only_our_own_script_runs(page, request):
    html = request.getfixturevalue(page).read_text(encoding="utf-8")
    page = Page(request.getfixturevalue(page))
    assert {tag for tag, _ in page.tags} & {"link", "iframe", "object", "embed", "form", "base"} == set()
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in LOADING & attributes.keys():
            value = attributes[name]
            assert "url(" not in value
            if tag == "a":
                assert value.startswith(("#", "file:///", f"{REVIEW}/?")), value
            elif name != "style":
                assert value.startswith("data:image/jpeg;base64,")
    (policy,) = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert "default-src 'none'" in policy
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'; " in policy
    assert script == read_asset("page.js").decode()


@pytest.mark.parametrize("page", ["hostile", "examples", "reviewed"])
def test_every_picture_is_a_jpeg_with_words_for_those_who_do_not_see_it(page, request):
    images = Page(request.getfixturevalue(page)).all("img")
    assert images
    for image in images:
        assert image["alt"].strip()
        assert base64.b64decode(image["src"].partition(",")[2]).startswith(b"\xff\xd8")


def test_people_are_told_from_the_model_and_their_names_are_inert(reviewed):
    text = " ".join(Page(reviewed).text.split())
    assert "People have corrected or confirmed 3 of 20 images; 1 shows no product." in text
    assert "<b>ann\\u202e: Shoes; the model:" in text
    assert text.count("by hand") == 2
    assert "3 images moved to another category, all of them by corrections." in text
    assert "People corrected or confirmed 3 images." in text
    assert "found nothing new. This page shows run 1" in text
    assert "by <b>ann\\u202e" in text
    found = re.search(r"The model was right about (\d) of 2 \((\d+)%\)", text)
    assert found
    assert int(found[2]) == 50 * int(found[1])


def test_a_page_of_a_named_run_shows_words_beside_what_it_found(reviewed):
    cataloger("report", "--run", 1, "--db", f"sqlite:///{reviewed.parent}/a.db", "--no-maps", "-q")
    text = " ".join(Page(Path("report.html")).text.split())
    assert "marks corrections beside them" in text
    assert "<b>ann\\u202e: no product" in text
    assert "by hand" not in text


def test_failures_are_named_with_code_and_file(examples):
    text = Page(examples).text
    assert "torn.png" in text
    assert "decode.truncated: 1 image" in re.sub(r"\s+", " ", text)


def test_hostile_names_are_shown_as_they_are(hostile):
    text = Page(hostile).text
    for name in (
        "<script>alert(1)<\\script>.png",
        "'><img src=x onerror=alert(1)>.png",
        "{{ 7 * 7 }}.png",
        "caf%E9.png",
    ):
        assert name in text
    assert "\u202e" not in text
    assert "a" * 150 not in text


def test_links_lead_to_the_files(hostile):
    links = {each["href"] for each in Page(hostile).all("a") if each["href"].startswith("file:")}
    folder = str(hostile.parent / "photos")
    assert f"file://{folder}/caf%E9.png" in links
    assert f"file://{folder}/%7B%7B%207%20%2A%207%20%7D%7D.png" in links
    assert len(links) == len(HOSTILE)


def test_every_picture_leads_to_its_review_and_none_where_no_page_is_wanted(reviewed, tmp_path):
    page = Page(reviewed)
    links = [parse_qs(urlsplit(each["href"]).query) for each in page.all("a") if each.get("class") == "picture"]
    assert len(links) == len([image for image in page.all("img") if "areas that speak" not in image["alt"]])
    assert all(
        link["reviewed"] == ["any"] and link["source"] == [str(reviewed.parent / "list.csv")] for link in links
    )
    assert {link["product"][0] for link in links} == {f"P{number}" for number in range(5)}
    arguments = ("report", "--db", f"sqlite:///{reviewed.parent}/a.db", "--no-maps", "-q", "--review-url")
    cataloger(*arguments, "")
    assert not [each for each in Page(Path("report.html")).all("a") if each["href"].startswith("http")]
    for wrong in ("javascript:alert(1)", "shop:8765", "http://", "http://shop/?a=1", "file:///etc"):
        assert "give the address of the review page" in cataloger(*arguments, wrong, status=2)


@pytest.mark.parametrize("uri", ["javascript:alert(1)", "data:text/html,x", "products/7", "(not a URL)", ""])
def test_what_is_no_place_gets_no_link(uri):
    assert link(uri) is None


def test_maps_are_drawn_beside_the_least_confident_and_left_out_if_wanted(examples):
    maps = [image for image in Page(examples).all("img") if "areas that speak for" in image["alt"]]
    assert len(maps) == 20
    db = f"sqlite:///{examples.parent}/a.db"
    cataloger("report", "--db", db, "--no-maps", "-q")
    page = Page(Path("report.html"))
    assert "areas that speak for" not in page.text + str(page.all("img"))
    assert len(page.all("img")) < len(Page(examples).all("img"))


def test_a_model_that_is_gone_costs_the_maps_alone_and_can_be_named(tmp_path):
    model, db = tmp_path / "model", "sqlite:///a.db"
    shutil.copytree(default_bundle_path(), model)
    cataloger("tag", EXAMPLES / "sombrero.png", "--model", model, "--db", db, "-q")
    model.rename(tmp_path / "moved")
    cataloger("report", "--db", db)
    page = Page(Path("report.html"))
    assert "give it with --model" in page.text
    assert page.all("img")
    cataloger("report", "--db", db, "--model", "moved")
    assert "areas that speak for Hat" in str(Page(Path("report.html")).all("img"))
    assert "no model at nowhere" in cataloger("report", "--db", db, "--model", "nowhere", status=2)


def test_a_model_that_did_not_give_the_answers_is_refused(examples):
    with closing(open_database(f"sqlite:///{examples.parent}/a.db")) as database:
        report = gather_report(database, ReportOptions())
        (origin,) = report.sources
        with pytest.raises(UsageError, match="is not the model that gave the answers"):
            open_maps(database, replace(report, sources=(replace(origin, weights_id="b" * 64),)), "default")


def test_servers_that_are_down_are_asked_a_few_times_and_not_for_every_image(tmp_path, monkeypatch):
    monkeypatch.setattr(report_pictures, "OUTAGE", 3)
    monkeypatch.setattr(stored_images, "CONNECT_TIMEOUT", 0.5)
    web, db = rig.web.Shop(), f"sqlite:///{tmp_path}/a.db"
    by_url.upgrade(db)
    data = (EXAMPLES / "sombrero.png").read_bytes()
    web.answers |= {f"/{number}.png": rig.web.answer(data) for number in range(30)}
    rows = [{"sku": str(number), "photo": web.url(f"/{number}.png")} for number in range(30)]
    rig.execute(db, "CREATE TABLE products (sku TEXT PRIMARY KEY, photo TEXT)")
    rig.execute(db, "INSERT INTO products VALUES (:sku, :photo)", rows)
    rig.sync(db, "--allow-private")
    web.stop()
    cataloger("report", "--db", db, "--allow-private", "-q")
    text = Page(Path("report.html")).text
    assert "No image: fetch.connection" in text
    assert text.count("No image: fetch.given_up") > 10


def test_an_image_that_changed_or_went_since_is_said(tmp_path):
    shutil.copytree(EXAMPLES, "photos")
    cataloger("tag", "photos", "-q")
    shutil.copy("photos/sombrero.png", "photos/earring.png")
    Path("photos/silk-shirt.png").unlink()
    cataloger("report", "-q")
    text = Page(Path("report.html")).text
    assert text.count("The image has changed since it was tagged.") == 2
    assert text.count("No image: io.missing") == 2


def test_the_page_stays_small_whatever_the_pictures(examples, monkeypatch):
    monkeypatch.setattr(report_pictures, "MAX_CHARACTERS", 50_000)
    cataloger("report", "--db", f"sqlite:///{examples.parent}/a.db", "-q")
    page = Page(Path("report.html"))
    assert page.size < 200_000
    assert "the page would be too large" in page.text


def test_json_holds_the_data_and_writes_no_page_unless_named(examples):
    values = json.loads(cataloger("report", "--json", "--db", f"sqlite:///{examples.parent}/a.db"))
    assert (values["images"], values["failures"][0]["code"]) == (21, "decode.truncated")
    assert (values["run"]["id"], values["latest"]["id"], values["moves"]) == (1, 2, None)
    assert (values["week"]["since"], values["week"]["counts"]) == (1, {"same": 21})
    assert not Path("report.html").exists()


def test_a_database_without_results_is_one_line_and_is_not_made():
    assert "has no results of cataloger" in cataloger("report", status=1)
    assert not Path("cataloger.db").exists()


def test_a_page_that_cannot_be_written_is_one_line(examples):
    db = f"sqlite:///{examples.parent}/a.db"
    assert "there is no folder" in cataloger("report", "--db", db, "-o", "no/page.html", status=2)
    assert "--output . is a folder" in cataloger("report", "--db", db, "-o", ".", "--no-maps", status=2)
    assert "cannot be written" in cataloger("report", "--db", db, "-o", "/proc/page.html", "--no-maps", status=1)


def test_a_full_disk_is_one_line(examples, tmp_path):
    (tmp_path / "page.html").symlink_to("/dev/full")
    told = cataloger("report", "--db", f"sqlite:///{examples.parent}/a.db", "-o", tmp_path / "page.html", status=1)
    assert told == f"cataloger: error: {tmp_path}/page.html cannot be written: No space left on device"


def test_shares_that_are_neither_none_nor_all_are_not_rounded_to_it():
    assert [percent(value) for value in (0, 0.001, 0.5, 0.999, 1, None)] == [
        "0%",
        "under 1%",
        "50%",
        "over 99%",
        "100%",
        "–",
    ]
    assert shortened("x" * 300) == "x" * 50 + "…" + "x" * 50
