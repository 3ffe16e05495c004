"""Files of presets: what is wrong in them, what they stand for, and which flags go before them."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.cli.source_flags import complete_presets
from cataloger.errors import ConfigError, UsageError
from cataloger.ledger.label_map import LabelCode
from cataloger.presets.as_options import table_options
from cataloger.presets.filling import fill
from cataloger.presets.label_maps import label_map_template
from cataloger.presets.reading import preset_names, read_preset
from cataloger.presets.shop_categories import ShopCategory
from cataloger.presets.shown_sql import statements

IMAGES = Path(__file__).parents[2] / "examples" / "images"
OWN = """\
title = "Our shop"
databases = ["sqlite"]

[settings.prefix]
help = "beginning of the tables"
default = "my_"

[settings.folder]
kind = "folder"
help = "where the photos are"

[settings.shelf]
kind = "number"
optional = true
help = "shelf to link with"
choices = "select 1 as value, 'first' as name union all select 2, '{{second}}'"

[sync]
source-name = "ours {prefix}"
image-root = "{folder}"
image-query = "select id as product_id, photo as image from {prefix}products"

[[write]]
link = "{prefix}links:product,category,place=7"

[[write]]
table = "{prefix}shelves:category=label_1"
key = "product"
where = "shelf = {shelf}"
if = "shelf"

[categories]
query = "select id as code, name, above as parent from {prefix}categories"

[privileges]
"{prefix}links" = "SELECT, INSERT, DELETE"
"""


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own.toml").write_text(OWN)


def call(*arguments, status=0):
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exit_code == status, result.output
    return result.stdout or result.stderr


@pytest.mark.parametrize(
    ("found", "instead", "message"),
    [
        ('title = "Our shop"', 'tilte = "x"', "line 1: unknown key 'tilte'; known are .*nearest is 'title'"),
        ('["sqlite"]', '["oracle"]', "line 2: databases: oracle is none of mysql"),
        ('["sqlite"]', '"sqlite"', "line 2: databases is a list of texts"),
        ('kind = "folder"', 'kind = "path"', r"line 9: \[settings.folder\]: kind is one of name, number, folder"),
        ('default = "my_"', "default = 5", r"line 6: \[settings.prefix\]: default is a text"),
        ('default = "my_"', 'default = "a; b"', r"line 6: \[settings.prefix\]: default is letters, digits and _"),
        ("optional = true", 'optional = "yes"', r"line 14: \[settings.shelf\]: optional is true or false"),
        ('help = "where the photos are"', "", r"line 8: \[settings.folder\] lacks the key 'help'"),
        ("source-name", "sorce-name", r"line 19: \[sync\] has an unknown key 'sorce-name'"),
        ('source-name = "ours {prefix}"', 'only-if = "2"', r"line 19: \[sync\]: only-if is a list of texts"),
        ("{prefix}products", "{prefx}products", r"line 21: {prefx} is no setting; there are .*nearest is 'prefix'"),
        ("{prefix}products", "{folder}products", r"line 21: {folder} is a folder, which cannot be a part of SQL"),
        ("[[write]]\nlink", "[[write]]\nlnik", r"\[\[write\]\] number 1 has an unknown key 'lnik'"),
        ('key = "product"', 'link = "a:b,c"', r"\[\[write\]\] number 2 has either the key 'link' or the key 'table'"),
        ('if = "shelf"', 'if = "self"', "if: self is no setting"),
        ('query = "select id as code', 'qery = "select id as code', r"line 33: \[categories\] has an unknown key"),
        ('"SELECT, INSERT, DELETE"', "true", r"line 36: \[privileges\]: {prefix}links is a text"),
        ("[sync]", "[sync", "is not valid TOML"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_its_line(found, instead, message):
    assert OWN.count(found) >= 1
    Path("own.toml").write_text(OWN.replace(found, instead, 1))
    with pytest.raises(ConfigError, match=f"own.toml.*{message}"):
        read_preset("own.toml")


def test_a_name_that_is_none_and_a_file_that_is_missing():
    with pytest.raises(UsageError, match=r"--preset woocomerce: there is no such preset; .*nearest is 'woocommerce'"):
        read_preset("woocomerce")
    with pytest.raises(ConfigError, match=r"none\.toml cannot be read"):
        read_preset("./none.toml")


def test_a_preset_becomes_flags():
    filled = fill(read_preset("own.toml"), {"folder": "/srv/{photos}", "shelf": "2"})
    assert filled.flags == {
        "source-name": "ours my_",
        "image-root": "/srv/{photos}",
        "image-query": "select id as product_id, photo as image from my_products",
        "write-table": ["my_shelves:category=label_1"],
        "write-key": ["product"],
        "write-where": ["shelf = 2"],
        "write-link": ["my_links:product,category,place=7"],
    }
    assert filled.choices["shelf"].endswith("'{second}'")
    assert "write-table" not in fill(read_preset("own.toml"), {"folder": "/srv"}).flags


@pytest.mark.parametrize(
    ("settings", "own_flags", "message"),
    [
        ({}, (), r"needs --set folder=\.\.\.: where the photos are, or --image-root"),
        ({"folder": "/srv", "prefix": "a-b"}, (), "prefix=a-b: beginning of the tables: write letters, digits and _"),
        ({"folder": "/srv", "shelf": "1 or 1=1"}, (), "shelf=1 or 1=1: shelf to link with: write a whole number"),
        ({"foldr": "/srv"}, (), "foldr: the preset own has no such setting; .*nearest is 'folder'"),
    ],
)
def test_settings_that_cannot_be(settings, own_flags, message):
    with pytest.raises(UsageError, match=message):
        fill(read_preset("own.toml"), settings, own=own_flags)


def test_flags_of_ones_own_go_before_the_preset():
    preset = read_preset("own.toml")
    filled = fill(preset, {}, own=("image-root", "write-link"))
    assert filled.flags.keys() == {"source-name", "image-query"}
    assert not filled.targets


OF_FILES = ("shopify",)


@pytest.mark.parametrize("name", [name for name in preset_names() if name not in OF_FILES])
def test_the_presets_that_come_with_the_package_can_be_shown(name, fits_schema):
    preset = read_preset(name)
    assert preset.targets
    assert preset.categories
    filled = fill(preset, {}, strict=False)
    shown = statements(filled)
    assert {"add", "read"} <= {purpose.split()[0] for purpose, _ in shown}
    written = {t.table.partition(":")[0] for t in filled.targets if t.table}
    written |= {t.link.partition(":")[0] for t in filled.targets if t.link}
    assert {table: filled.privileges[table].count("SELECT") for table in written} == dict.fromkeys(written, 1)
    text = call("presets", "show", name)
    assert all(sql in text for _, sql in shown)
    found = json.loads(call("presets", "show", name, "--json"))
    fits_schema("presets-show", found)
    assert found["flags"]["image-root"].startswith("{folder}/")
    assert all(grant in text for grants in found["privileges_by_database"].values() for grant in grants)
    assert ("-- PostgreSQL\n" in text) is (name == "spree")
    assert name in call("presets", "list")


def test_a_preset_for_files_is_listed_shown_and_checked(fits_schema):
    assert {each for each in preset_names() if read_preset(each).file} == set(OF_FILES)
    assert "Shopify, product CSV" in call("presets", "list")
    found = json.loads(call("presets", "show", "shopify", "--json"))
    fits_schema("presets-show", found)
    assert found["file"]["read"]["product"] == ["URL handle", "Handle"]
    assert found["file"]["written"] == ["Product Category", "Type", "Tags"]
    shown = call("presets", "show", "shopify")
    commands = found["file"]["commands"]
    assert [command.split()[1] for command in commands] == ["tag", "feed"]
    assert all(f"  {line}\n" in shown for line in (*commands, *found["notes"], "Product Category"))
    Path("a.csv").write_text("Handle,Title,Type,Image Src\na,A,Robe,http://h.example/1.jpg\na,,,2.jpg\n,,,3.jpg\n")
    checked = call("presets", "check", "shopify", "--file", "a.csv")
    assert "ok      file: 1 product in 3 rows; a copy of it can be imported\n" in checked
    assert "ok      column Type: 1 of 1 products have a value; it stays\n" in checked
    assert "ok      column Tags: not in the file" in checked
    assert (
        "ok      images: 1 by address, 1 by path; 1 row cannot be used, the first in line 4: the row has" in checked
    )
    flags = ("presets", "check", "shopify", "--json", "--file")
    lacking = json.loads(call(*flags, "a.csv", "--db", "sqlite:///none.db", status=2))
    fits_schema("presets-check", lacking)
    assert [each["subject"] for each in lacking["findings"] if not each["is_fine"]] == ["tables of cataloger"]
    Path("b.csv").write_text("Handle;Title;Type;Image Src\na;A;Robe;1.jpg\n")
    [problem, *_] = json.loads(call(*flags, "b.csv", status=2))["findings"]
    assert "not as Shopify imports it, with commas" in problem["text"]
    Path("c.csv").write_text("Handle,Title,Image Src\na,A,\n")
    assert not any(each["is_fine"] for each in json.loads(call(*flags, "c.csv", status=2))["findings"][1:])


def test_a_file_of_ones_own_may_be_for_exports():
    Path("own.toml").write_text('[file]\nformat = "shopify"\n')
    Path("a.csv").write_text(f"Handle,Title,Type,Image Src\na,A,,{IMAGES}/sombrero.png\na,,,\n")
    plan = json.loads(call("tag", "a.csv", "--preset", "own.toml", "--dry-run", "--json"))
    assert (plan["done"], plan["failed"]) == (0, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[file]\nformat = "amazon"\n', r"line 2: \[file\]: format is one of shopify"),
        ('[file]\nform = "shopify"\n', r"line 2: \[file\] has an unknown key 'form'"),
        ('[file]\nformat = "shopify"\n[sync]\n', r"line 3: sync is of a database, and \[file\] of a file"),
    ],
)
def test_what_is_wrong_in_a_preset_for_files(text, message):
    Path("own.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_preset("own.toml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("presets", "check", "shopify"), "the preset shopify is for a file: give the shop's own export with --file"),
        (("presets", "check", "opencart"), "the preset opencart is for a database: give --db URL"),
        (("presets", "check", "opencart", "--file", "a.csv", "--db", "sqlite:///a.db"), "without --file"),
        (("presets", "categories", "shopify", "--db", "sqlite:///a.db"), "models labels --taxonomy shopify"),
        (("sync", "--preset", "shopify", "--db", "sqlite:///a.db"), "cataloger tag EXPORT.csv --preset shopify"),
        (("tag", "a.csv", "--preset", "magento"), "cataloger sync --preset magento"),
        (("tag", "a.csv", "--preset", "shopfy"), "the nearest is 'shopify'"),
    ],
)
def test_a_preset_goes_with_its_command(arguments, message):
    assert message in call(*arguments, status=2)


def test_the_file_that_the_reference_explains_is_one():
    page = (Path(__file__).parents[2] / "docs" / "reference" / "presets.md").read_text()
    text = page.partition("<!-- preset -->\n```\n")[2].partition("```\n")[0]
    Path("own.toml").write_text(text)
    filled = fill(read_preset("own.toml"), {"folder": "/srv", "shelf": "4"})
    assert len(filled.targets) == len(filled.preset.targets) == 2
    assert len(statements(filled)) == 10


def test_a_template_of_a_label_map_names_what_is_called_alike():
    found = [
        ("1", "Dresses", None),
        ("2", "T-Shirts", "1"),
        ("3", "Hats", None),
        ("4", "hat", None),
        ("5", "Bags", None),
    ]
    categories = [ShopCategory(*each, path=each[1]) for each in found]
    lines = label_map_template(("Dress", "T-shirt", "Hat", "Bag", "Sock"), categories, [LabelCode("Bag", "9")])
    assert lines == [
        "label,code,name,parent,candidates",
        "Dress,1,Dresses,,Dresses",
        "T-shirt,2,T-Shirts,1,T-Shirts",
        "Hat,,,,3 Hats; 4 hat",
        "Bag,9,,,",
        "Sock,,,,",
    ]


def test_the_names_of_presets_are_completed():
    assert complete_presets("mag") == ["magento", "magento-attribute"]
    command = typer.main.get_command(app).commands["sync"]
    parameter = next(each for each in command.params if each.name == "preset")
    with command.make_context("sync", [], resilient_parsing=True) as context:
        assert [each.value for each in parameter.shell_complete(context, "woo")] == ["woocommerce"]


# --- a file of one's own, through the command


@pytest.fixture
def shop(tmp_path):
    """A shop with three products and two categories, in SQLite, with our tables."""
    url = f"sqlite:///{tmp_path}/shop.db"
    call("db", "upgrade", "--db", url)
    with closing(sqlite3.connect("shop.db")) as connection:
        connection.executescript(
            """
            CREATE TABLE my_products (id INTEGER PRIMARY KEY, photo TEXT);
            CREATE TABLE my_links (product INTEGER, category INTEGER, place INTEGER, PRIMARY KEY (product, category));
            CREATE TABLE my_categories (id INTEGER PRIMARY KEY, name TEXT, above INTEGER);
            INSERT INTO my_products VALUES (1, 'sombrero.png'), (2, 'red-fedora.png'), (3, 'sunglasses.png');
            INSERT INTO my_categories VALUES (30, 'All', NULL), (34, 'Hats', 30), (35, 'Sunglasses', 30);
            """
        )
        connection.commit()
    return url


def links():
    with closing(sqlite3.connect("shop.db")) as connection:
        return connection.execute("SELECT * FROM my_links ORDER BY product").fetchall()


def test_a_file_of_ones_own_from_nothing_to_a_job(shop, fits_schema):
    flags = ("own.toml", "--db", shop)
    found = call("presets", "check", *flags, status=2)
    assert "MISSING setting folder: not given: where the photos are" in found
    assert "ok      setting shelf: not given: shelf to link with" in found
    assert "1 first\n" in found
    assert "All > Hats" in call("presets", "categories", *flags)
    found = json.loads(call("presets", "categories", *flags, "--json"))
    fits_schema("presets-categories", found)
    assert found[1]["parent"] == "30"
    fits_schema("presets-list", json.loads(call("presets", "list", "--json")))
    fits_schema("presets-check", json.loads(call("presets", "check", *flags, "--json", status=2)))
    Path("codes.csv").write_text(call("presets", "label-map", *flags))
    assert "Hat,34,Hats,30,All > Hats" in Path("codes.csv").read_text()
    settings = ("--set", f"folder={IMAGES}")
    assert "code is empty" in call("sync", "--preset", *flags, *settings, "--label-map", "codes.csv", status=2)
    lines = [line.partition(",")[0] for line in Path("codes.csv").read_text().splitlines()[1:]]
    known = {"Hat": "34", "Sunglasses": "35"}
    Path("codes.csv").write_text("label,code\n" + "".join(f"{x},{known.get(x, 'ignore')}\n" for x in lines))
    checked = call("presets", "check", *flags, *settings, "--label-map", "codes.csv")
    assert "ok      write to my_links" in checked
    assert links() == []
    Path("cataloger.toml").write_text(
        f'[jobs.night]\ncommand = "sync"\npreset = "./own.toml"\ndb = "{shop}"\nset = ["folder={IMAGES}"]\n'
        'label-map = "codes.csv"\nonly-decision = ["accept", "review", "abstain"]\n'
        'write-link = ["my_links:product,category,place=9"]\n'
    )
    # A process of its own: a fork of this one would have none of the threads that other tests have started.
    command = [sys.executable, "-m", "cataloger", "run", "night"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, "preset: ./own.toml" in done.stdout) == (0, True), done.stderr
    assert links() == [(1, 34, 9), (2, 34, 9), (3, 35, 9)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "folder=/srv"), "--set and --prefix are settings of a preset: give --preset, too"),
        (
            ("--preset", "own.toml", "--table", "t", "--set", "folder=/x"),
            "--table does not go with --preset own.toml",
        ),
        (("--preset", "own.toml", "--set", "folder"), "--set folder: write NAME=VALUE"),
        (
            ("--preset", "own.toml", "--set", "prefix=a_", "--prefix", "b_"),
            "--prefix b_ and --set prefix=a_ contradict",
        ),
        (("--preset", "own.toml", "--write", "c=label_1", "--set", "folder=/x"), "--write needs the product table"),
        (("--preset", "own.toml", "--prefix", "no_", "--set", f"folder={IMAGES}"), "no such table: no_products"),
    ],
)
def test_flags_that_make_no_sense_beside_a_preset(shop, arguments, message):
    assert message in call("sync", "--db", shop, *arguments, status=2)


def test_what_is_configured_goes_before_the_preset(shop, monkeypatch):
    Path("cataloger.toml").write_text(f'[sync]\nimage-root = "{IMAGES}"\nsource-name = "named"\n')
    Path("codes.csv").write_text("label,code\nHat,34\nSunglasses,35\n")
    flags = ("sync", "--db", shop, "--preset", "own.toml", "--label-map", "codes.csv", "--dry-run", "--json")
    assert json.loads(call(*flags))["preset"] == "own.toml"
    assert "no_products" in call(*flags, "--prefix", "no_", status=2)
    monkeypatch.setenv("CATALOGER_PREFIX", "no_")
    assert "no_products" in call(*flags, status=2)


def test_each_flag_of_a_table_is_checked():
    given = {
        "table": "products",
        "id": ["sku"],
        "image": "photo",
        "department-column": "aisle",
        "where": "a = 1",
    }
    options = table_options(given)
    assert (options.department_column, options.where, options.ids) == ("aisle", "a = 1", ("sku",))
