"""What `cataloger tag` makes of inputs as people have them: every one ends as one result, or is counted."""

import csv
import http.server
import json
import os
import shutil
import sqlite3
import threading
from functools import partial
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from cataloger.cli.app import app

EXAMPLES = Path(__file__).parents[2] / "examples" / "images"
NAMES = ("earring.png", "sombrero.png", "sunglasses.png", "winter-hat.png", "t-shirt-black.png")
runner = CliRunner()


@pytest.fixture(autouse=True)
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p").mkdir()
    for name in NAMES:
        shutil.copy(EXAMPLES / name, tmp_path / "p" / name)
    return tmp_path / "p"


def tag(*arguments, status=0):
    """Tag; return the report."""
    result = runner.invoke(app, ["tag", *map(str, arguments), "--json"])
    assert result.exit_code == status, result.output
    return json.loads(result.stdout)


def shown(*columns):
    with sqlite3.connect("cataloger.db") as connection:
        return connection.execute(f"SELECT {', '.join(columns)} FROM cataloger_image_top5 ORDER BY key").fetchall()


def manifest(path, *, damaged=False):
    rows = [f"Product {number},p/{name}" for number, name in enumerate(NAMES)]
    if damaged:
        rows[1] = rows[1].replace("Product 1", '"Baggy jeans')
        rows[3] = rows[3].replace("Product 3", '"Slim" fit')
    Path(path).write_text("\n".join(["title,image", *rows, ""]))


def test_a_stray_quotation_mark_in_a_manifest_takes_no_image_out_of_the_views():
    manifest("m.csv")
    assert tag("m.csv")["done"] == 5
    manifest("m.csv", damaged=True)
    for _ in range(2):
        report = tag("m.csv", "--forget", "--max-failure-rate", "1")
        assert (report["gone"], report["forgotten"]) == (0, 0)
        assert "2 rows of the manifest" in report["warnings"][0]
    good = [key for key, status in shown("key", "status") if status == "ok"]
    assert good == [f"p/{name}" for name in sorted(NAMES)]
    assert [row for row in shown("key", "error_code") if row[1]] == [
        ("line 3", "source.bad_row"),
        ("line 5", "source.bad_row"),
    ]
    # Once all rows can be read, what is not among them has left.
    manifest("m.csv")
    Path("m.csv").write_text(Path("m.csv").read_text().replace("p/earring.png", "p/sombrero.png"))
    report = tag("m.csv", "--forget")
    assert (report["gone"], report["forgotten"], len(shown("key"))) == (3, 3, 4)


def test_rows_that_can_be_read_are_not_kept_by_one_that_names_no_image():
    manifest("m.csv")
    tag("m.csv")
    Path("m.csv").write_text(f"title,image\nnone yet,\nProduct,p/{NAMES[0]}\n")
    assert tag("m.csv", status=3)["gone"] == 4


def test_the_summary_says_why_and_what_was_left_out(photos):
    (photos / "notes.txt").write_text("x")
    (photos / ".hidden.png").write_bytes(b"x")
    Path("w.csv").write_bytes(b"title;image\nM\xfctze;p/earring.png\n")
    report = tag("p", "w.csv", status=3)
    assert report["left_out"] == {"hidden": 1, ".txt": 1}
    assert report["failed_why"] == {
        "source.bad_row": "line 2 is not UTF-8, perhaps Windows-1252; save the file as `CSV UTF-8`"
    }
    result = runner.invoke(app, ["tag", "p", "w.csv"])
    assert "left out: 1 hidden, 1 .txt" in result.stdout
    planned = runner.invoke(app, ["tag", "p", "--dry-run"])
    assert "left out: 1 hidden, 1 .txt" in planned.stdout
    result = runner.invoke(app, ["tag", "w.csv", "--retry-failed"])
    assert "perhaps Windows-1252" in result.stdout


def test_a_picture_of_two_pictures_is_an_image_in_a_folder_and_beside_it(photos):
    first = Image.open(photos / "earring.png").convert("RGB")
    first.save(photos / "x.mpo", save_all=True, append_images=[first])
    assert tag("p")["done"] == 6
    assert ("x.mpo", "ok") in shown("key", "status")


def test_what_is_named_beside_its_folder_gets_a_result_and_stays(photos):
    (photos / "notes.txt").write_text("x")
    (photos / ".h").mkdir()
    shutil.copy(EXAMPLES / "blue-fedora.png", photos / ".h" / "a.png")
    shutil.copy(EXAMPLES / "blue-fedora.png", photos / ".b.png")
    report = tag("p/.h", "p/notes.txt", "p/.b.png", "p", "--output", "o.jsonl", status=3)
    assert (report["done"], report["failures"]) == (7, {"decode.not_image": 1})
    keys = sorted([".b.png", ".h/a.png", "notes.txt", *NAMES])
    assert [row[0] for row in shown("key")] == keys
    assert sorted(json.loads(line)["key"] for line in Path("o.jsonl").read_text().splitlines()) == keys
    # The folder alone does not say that they have left; their files do.
    assert tag("p")["gone"] == 0
    (photos / "notes.txt").unlink()
    (photos / "sombrero.png").rename(photos / "earring2.png")
    assert tag("p")["gone"] == 2


class _Quiet(http.server.SimpleHTTPRequestHandler):
    met: list = []  # noqa: RUF012

    def do_GET(self):
        self.met.append(self.path)
        self.path = self.path.partition("?")[0]
        super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(photos):
    """Address of a web server that serves the photos."""
    _Quiet.met.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=photos)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def feed(server, *names):
    rows = [f"{name.split('.')[0]},,{server}/{name}?X-Amz-Signature=secret{len(names)}" for name in names]
    Path("feed.csv").write_text("\n".join(["Handle,Title,Image Src", *rows, ""]))
    return ("feed.csv", "--path-column", "image src", "--product-column", "handle")


def test_web_addresses_of_a_manifest_are_downloaded_with_the_rules_of_sync(server):
    arguments = feed(server, *NAMES)
    report = tag(*arguments, status=3)
    assert report["failures"] == {"fetch.private_address": 5}
    assert _Quiet.met == []
    assert tag(*arguments, "--allow-private")["done"] == 5
    assert shown("key", "status") == [(f"{server}/{name}", "ok") for name in sorted(NAMES)]
    # Signed anew each night, and the same images; what the feed does not name any more has left.
    report = tag(*feed(server, *NAMES[:3], "nowhere.png"), "--allow-private", status=3)
    assert (report["skipped_by_reason"], report["failures"], report["gone"]) == (
        {"unchanged": 3},
        {"fetch.not_found": 1},
        2,
    )
    assert "secret" not in json.dumps(report)
    assert b"secret" not in Path("cataloger.db").read_bytes()


def test_a_manifest_may_name_files_and_addresses(server):
    Path("m.jsonl").write_text(
        json.dumps({"image": "p/earring.png"}) + "\n" + json.dumps({"image": f"{server}/sombrero.png"}) + "\n"
    )
    assert tag("m.jsonl", "--allow-private")["done"] == 2


def test_addresses_are_arguments(server, photos):
    address = f"{server}/earring.png"
    secret = address.replace("http://", "http://me:secret@") + "?sig=secret"
    assert tag(secret, "p", "--allow-private", "--output", "o.jsonl")["done"] == 6
    assert len(Path("o.jsonl").read_text().splitlines()) == 6
    report = tag(address, "--allow-private", "--output", "o.jsonl")
    assert (report["skipped_by_reason"], report["gone"]) == ({"unchanged": 1}, 0)
    assert [json.loads(line)["uri"] for line in Path("o.jsonl").read_text().splitlines()] == [address]
    with sqlite3.connect("cataloger.db") as connection:
        roots = connection.execute("SELECT kind, root FROM cataloger_source ORDER BY kind").fetchall()
        options = str(connection.execute("SELECT options FROM cataloger_run").fetchall())
    assert roots == [("folder", str(photos)), ("web", server)]
    assert "secret" not in options
    without_scheme = address.removeprefix("http://")
    assert tag(without_scheme, "--allow-private", "--dry-run")["skipped_by_reason"] == {"unchanged": 1}
    # The same name on another host is another image, and no sign of a move.
    other = address.replace("127.0.0.1", "localhost")
    assert tag(other, "--allow-private")["done"] == 1
    assert tag(address, other, "--allow-private", "--dry-run")["skipped_by_reason"] == {"unchanged": 2}


def test_a_report_shows_images_of_a_feed(server):
    tag(*feed(server, *NAMES), "--allow-private")
    result = runner.invoke(app, ["report", "--output", "r.html", "--allow-private", "--json"])
    assert result.exit_code == 0, result.output
    assert Path("r.html").read_text().count("data:image/") >= 5


def export(server, *rows):
    """Write an export of Shopify. rows: handle, type, tags, images of the product and of the variant."""
    address = {"": "", **{name: f"{server}/{name}?v=17" for name in NAMES}}
    lines = [
        f'{handle},{handle and "T"},"<p>a, b\r\nc</p>",,{kind},"{tags}",{address[image]},1,{address[variant]}\r\n'
        for handle, kind, tags, image, variant in rows
    ]
    header = "Handle,Title,Body (HTML),Product Category,Type,Tags,Image Src,Image Position,Variant Image\r\n"
    Path("products_export.csv").write_bytes((header + "".join(lines)).encode())


def told(name):
    """Return handle, last part of the category, type and tags of each row."""
    with Path(name).open(newline="") as file:
        return [(r["Handle"], r["Product Category"][-12:], r["Type"], r["Tags"]) for r in csv.DictReader(file)]


def test_an_export_of_shopify_is_tagged_and_copied_with_categories(server):
    hat, shirt, glasses = "sombrero.png", "t-shirt-black.png", "sunglasses.png"
    first = [
        ("hat", "", "sale", hat, hat),
        ("hat", "", "", "", hat),  # a variant that shows the same image
        ("hat", "", "", "winter-hat.png", ""),
        ("tee", "Tops", "", shirt, ""),
        ("", "", "", "earring.png", ""),
    ]
    export(server, *first)
    tagging = ("products_export.csv", "--preset", "shopify", "--allow-private")
    report = tag(*tagging, status=3)
    assert (report["done"], report["failures"], report["skipped_by_reason"]) == (3, {"source.bad_row": 1}, {})
    feeding = ["feed", "-o", "new.csv", "--into", "products_export.csv", "--only-decision", "accept"]
    feeding += ["--only-decision", "review", "--only-decision", "abstain"]
    dry = runner.invoke(app, [*feeding, "--dry-run"])
    assert (dry.exit_code, "would get 2 products" in dry.stderr, Path("new.csv").exists()) == (0, True, False)
    result = runner.invoke(app, feeding)
    assert result.exit_code == 0, result.output
    assert "left as they are: 1 cell with a value of the shop" in result.stderr
    rows = told("new.csv")
    assert rows[0] == ("hat", "ories > Hats", "Hat", "sale, Hat")
    assert rows[3][0::2] == ("tee", "Tops")
    assert [row[1:] for row in rows[1:3]] == [("", "", "")] * 2
    # The second night: imported, a product is new, one has the image of another one, which is gone.
    Path("new.csv").rename("imported.csv")
    night = [("hat", "Hat", "Hat, sale", shirt, ""), ("shades", "", "", glasses, glasses)]
    export(server, *night)
    report = tag(*tagging)
    assert (report["done"], report["gone"]) == (2, 3)
    assert runner.invoke(app, feeding).exit_code == 0
    hat_row, shades = told("new.csv")
    assert (hat_row[1], hat_row[3].split(", ")[0], shades[2]) == ("", "sale", "Sunglasses")  # emptied by a colleague
    assert hat_row[2] == hat_row[3].split(", ")[1] != "Hat"
    # And all of it taken back: the copy imported, its runs undone. The category is the colleague's.
    Path("new.csv").rename("products_export.csv")
    result = runner.invoke(app, ["feed", "-o", "new.csv", "--into", "products_export.csv", "--undo"])
    assert result.exit_code == 0, result.output
    assert told("new.csv") == [("hat", "", "", "sale"), ("shades", "", "", "")]


@pytest.mark.parametrize("form", ["shopify", "jsonl"])
def test_products_that_share_a_picture_each_get_their_category(server, form):
    def night(*rows):
        """Tag a file of (product, picture), by address of Shopify's export and else by path; return the report."""
        if form == "shopify":
            export(server, *((product, "", "", picture, "") for product, picture in rows))
            return tag("products_export.csv", "--preset", "shopify", "--allow-private")
        lines = [json.dumps({"sku": product, "image": f"p/{picture}"}) for product, picture in rows]
        Path("m.jsonl").write_text("\n".join([*lines, ""]))
        return tag("m.jsonl", "--product-column", "sku")

    def products():
        with sqlite3.connect("cataloger.db") as connection:
            rows = connection.execute("SELECT product_key, images, label_1 FROM cataloger_product_top5").fetchall()
            return {product: (images, label) for product, images, label in rows}

    def items():
        with sqlite3.connect("cataloger.db") as connection:
            return dict(connection.execute("SELECT key, id FROM cataloger_item WHERE gone_run_id IS NULL"))

    hat, shirt = "sombrero.png", "t-shirt-black.png"
    assert night(("a", hat), ("a", hat), ("b", shirt))["done"] == 2
    (alone,) = (number for key, number in items().items() if key.endswith(hat))
    # A colleague inserts others with the same picture, before and behind. The first keeps its item and its history.
    _Quiet.met.clear()
    report = night(("c", hat), ("a", hat), ("c", hat), ("b", shirt), ("d", hat), ("d", shirt))
    assert report["skipped_by_reason"].get("duplicate_for_another_product", 0) == 0
    assert (report["done"], report["gone"]) == (3, 0)
    assert len([each for each in _Quiet.met if hat in str(each)]) == (1 if form == "shopify" else 0)
    label = products()["a"][1]
    assert products() == {
        "a": (1, label),
        "b": (1, products()["b"][1]),
        "c": (1, label),
        "d": (2, products()["d"][1]),
    }
    assert [number for key, number in items().items() if key.startswith('["a", ') and key.endswith(f'{hat}"]')] == [
        alone
    ]
    # Another order is nothing new; and the others gone, the first goes on under its plain key.
    assert night(("d", shirt), ("d", hat), ("a", hat), ("c", hat), ("b", shirt))["done"] == 0
    assert night(("a", hat), ("b", shirt))["gone"] == 3
    assert [number for key, number in items().items() if key.endswith(hat)] == [alone]
    assert set(products()) == {"a", "b"}
    result = runner.invoke(app, ["report", "--output", "r.html", "--allow-private", "--json"])
    assert (result.exit_code, Path("r.html").read_text().count("data:image/") >= 2) == (0, True), result.output


def test_shopify_knows_its_columns(server):
    Path("other.csv").write_text("Title,Image Src\nA,a.jpg\n")
    for arguments, text, status in (
        (("products_export.csv", "--preset", "shopify", "--path-column", "x"), "leave out --path-column", 2),
        (("products_export.csv", "--preset", "magento"), "its presets are shopify", 2),
        (("other.csv", "--preset", "shopify"), "no column 'URL handle' or 'Handle'", 2),
        (("other.csv",), "--preset shopify reads it", 1),
    ):
        export(server)
        result = runner.invoke(app, ["tag", *arguments])
        assert (result.exit_code, text in " ".join(result.stderr.split())) == (status, True), result.stderr


@pytest.mark.parametrize("name", ["pipe.csv", "pipe.jsonl"])
def test_a_pipe_is_not_waited_for(name):
    tag("p")
    os.mkfifo(name)
    for arguments in (["tag", name], ["corrections", "import", name]):
        result = runner.invoke(app, arguments)
        assert result.exit_code in (1, 2), result.output
        assert "it is not a regular file" in result.stderr
        assert result.stderr.count("\n") == 1
