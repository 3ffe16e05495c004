"""The mapping of labels to Google's and Shopify's categories is complete, and what it names stands in the lists."""

import csv
import os
import re
import runpy
import sys
from pathlib import Path

import pytest

from cataloger.errors import UsageError
from cataloger.model import read_bundle, resolve_bundle_path
from cataloger.taxonomy import NAMES, merged_codes, read_taxonomy, taxonomy_codes
from cataloger.taxonomy.lists import BELOW, LISTS

ROOT = Path(__file__).parents[2]
# Full copies of the lists under their published names, to compare ours with; see docs/reference/taxonomies.md.
FULL_LISTS = os.environ.get("CATALOGER_FULL_TAXONOMIES")
PUBLISHED = {"google": "taxonomy-with-ids.en-US.txt", "shopify": "categories.txt"}


def default_labels():
    """Return the labels of the default model, and those that are to come."""
    with (ROOT / "examples" / "default_model" / "fold_39.csv").open(newline="") as file:
        coming = [row["label"] for row in csv.DictReader(file)]
    assert len(coming) == 11
    return {*read_bundle(resolve_bundle_path("default"), check=()).labels, *coming}


@pytest.mark.parametrize("name", NAMES)
def test_every_label_of_the_default_model_has_a_category(name):
    taxonomy = read_taxonomy(name)
    labels = default_labels()
    assert len(labels) == 50
    assert set(taxonomy.labels) == labels
    assert {taxonomy.of_label(label).id for label in labels} <= set(taxonomy.categories)


@pytest.mark.parametrize("name", NAMES)
def test_every_category_is_below_one_that_is_there(name):
    taxonomy = read_taxonomy(name)
    for category in taxonomy.categories.values():
        above, _, own = category.path.rpartition(BELOW)
        assert own == own.strip() != ""
        assert (category.parent is None) == (above == "")
        assert category.parent is None or taxonomy.categories[category.parent].path == above


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_kept_that_no_label_needs(name):
    taxonomy = read_taxonomy(name)
    needed = set()
    for label in taxonomy.labels:
        category = taxonomy.of_label(label)
        while category is not None:
            needed.add(category.id)
            category = taxonomy.categories.get(category.parent)
    assert set(taxonomy.categories) == needed


def test_ids_of_shopify_are_their_place_in_the_tree():
    for category in read_taxonomy("shopify").categories.values():
        assert category.parent == (category.id.rpartition("-")[0] or None)


@pytest.mark.parametrize(
    ("name", "label", "key", "path"),
    [
        ("google", "Dress", "2271", "Apparel & Accessories > Clothing > Dresses"),
        ("google", "Watch", "201", "Apparel & Accessories > Jewelry > Watches"),
        ("google", "Boots", "187", "Apparel & Accessories > Shoes"),
        ("google", "Fragrance", "479", "Health & Beauty > Personal Care > Cosmetics > Perfume & Cologne"),
        ("shopify", "Dress", "aa-1-4", "Apparel & Accessories > Clothing > Dresses"),
        ("shopify", "Hoodie", "aa-1-13-13", "Apparel & Accessories > Clothing > Clothing Tops > Hoodies"),
        ("shopify", "Backpack", "lb-1", "Luggage & Bags > Backpacks"),
    ],
)
def test_some_categories_that_were_looked_up(name, label, key, path):
    category = read_taxonomy(name).of_label(label)
    assert (category.id, category.path) == (key, path)


def test_versions_and_licences_stand_in_the_files():
    assert {name: read_taxonomy(name).version for name in NAMES} == {
        "google": "2021-09-21",
        "shopify": "2026-02-unstable",
    }
    page = (ROOT / "docs" / "reference" / "taxonomies.md").read_text()
    for name in NAMES:
        assert f"`{read_taxonomy(name).version}`" in page
    assert "Permission is hereby granted" in (LISTS / "shopify.txt").read_text()


CHECK = runpy.run_path(str(ROOT / "examples" / "taxonomy" / "check_list.py"))
OTHERS = "".join(f"{number} - Other > {number}\n" for number in range(900001, 900060))
"""What a full list has besides our categories."""


def check_list(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["check_list.py", *map(str, arguments)])
    status = CHECK["main"]()
    printed = capsys.readouterr()
    return status, printed.out + printed.err


@pytest.mark.parametrize("name", NAMES)
def test_a_full_list_is_compared_with_ours(name, tmp_path, monkeypatch, capsys):
    full = tmp_path / "full.txt"
    more = OTHERS if name == "google" else OTHERS.replace(" - ", " : ")
    kept = (LISTS / f"{name}.txt").read_text()
    full.write_text(kept + more)
    status, text = check_list(monkeypatch, capsys, name, full)
    assert (status, "50 labels, 0 of them to be looked at" in text) == (0, True), text
    # Another id has the path of the dresses, and backpacks are no more.
    dress, bag = (read_taxonomy(name).of_label(label) for label in ("Dress", "Backpack"))
    lines = kept.replace(f"{dress.id} ", "zz-9 ").splitlines(keepends=True)
    full.write_text("".join(line for line in lines if bag.path not in line) + more)
    status, text = check_list(monkeypatch, capsys, name, full)
    assert (status, "50 labels, 2 of them to be looked at" in text) == (1, True), text
    assert f"Dress: {dress.path!r} was {dress.id}; the list has no {dress.id}; zz-9 has that path" in text
    assert f"Backpack: {bag.path!r} was {bag.id}; the list has no {bag.id}\n" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is no list of google: .*No such file"),
        ("<html>moved</html>", "line 1 is not ID - PATH: '<html>moved</html>'"),
        ("1 - Animals\n", "it has 1 categories; was all of it saved?"),
    ],
)
def test_a_file_that_is_no_list_is_said_to_be_none(text, message, tmp_path, monkeypatch, capsys):
    path = tmp_path / "full.txt"
    if text is not None:
        path.write_text(text)
    status, printed = check_list(monkeypatch, capsys, "google", path)
    assert status == 2
    assert re.search(message, printed)


if FULL_LISTS:

    @pytest.mark.parametrize("name", NAMES)
    def test_every_id_has_this_path_in_the_published_list(name, monkeypatch, capsys):
        status, text = check_list(monkeypatch, capsys, name, Path(FULL_LISTS) / PUBLISHED[name])
        assert status == 0, text


def test_a_taxonomy_that_is_none_is_wrong_usage():
    with pytest.raises(UsageError, match="--taxonomy amazon: write one of google, shopify"):
        read_taxonomy("amazon")


def test_codes_have_the_path_as_name_and_the_id_above_as_parent():
    [code] = taxonomy_codes("google", ["Sari of ours", "Saree"])
    assert (code.label, code.code, code.parent) == ("Saree", "8248", "5388")
    assert code.name == "Apparel & Accessories > Clothing > Traditional & Ceremonial Clothing > Saris & Lehengas"


def test_labels_of_which_none_is_known_are_wrong_usage():
    with pytest.raises(UsageError, match="--taxonomy google has a category for none of the model's labels"):
        taxonomy_codes("google", ["Sofa", "Lamp"])


def test_the_lines_of_a_shop_go_before_those_of_a_taxonomy():
    hat, dress = taxonomy_codes("google", ["Hat", "Dress"])
    own = [type(hat)("Hat", "ignore")]
    assert merged_codes(own, [hat, dress]) == [*own, dress]
