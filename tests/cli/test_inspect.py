"""`cataloger inspect`: the report on stdout, as a table or JSON; status 0 whatever the problems."""

import json

import pytest
from typer.testing import CliRunner

pytest.importorskip("imagehash", reason="the extra 'train' is not installed")

from by_url import make_engine
from PIL import Image

from cataloger.cli.app import app


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Two categories of six pictures, and a file that is none."""
    for number in range(12):
        path = tmp_path / "photos" / ("Hat" if number < 6 else "Top") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((64, 64), 90).save(path)
    (tmp_path / "photos" / "Hat" / "broken.jpg").write_bytes(b"no picture")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def run(*arguments):
    return CliRunner().invoke(app, ["inspect", *map(str, arguments)])


def test_the_report_is_a_table_and_lines(photos):
    result = run(photos)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["category", "train", "val", "test"]
    assert lines[1].split() == ["Hat", "4", "1", "1"]
    assert "data: 12 images in 2 categories: 8 train, 2 val, 2 test" in lines
    assert any(
        line.startswith("unreadable (1): images that cannot be read are left out: Hat/broken") for line in lines
    )
    assert any(line.startswith("tiny_class (2): ") for line in lines)
    assert (photos.parent / "inspect.work" / "problems.csv").is_file()


def test_json_is_the_whole_report(photos, tmp_path):
    result = run(photos, "--json", "--work", tmp_path / "w")
    report = json.loads(result.stdout)
    assert report["splits"] == {"train": 8, "val": 2, "test": 2}
    assert report["labels"]["Top"] == {"train": 4, "val": 1, "test": 1}
    assert report["problems"]["unreadable"]["total"] == 1
    assert report["problems"]["unreadable"]["problems"][0]["place"] == "Hat/broken.jpg"


def test_a_query_is_a_source(photos, tmp_path):
    url = f"sqlite:///{tmp_path}/shop.db"
    engine = make_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE product (image TEXT, category TEXT, product_id INTEGER)")
        for number in range(12):
            label = "Hat" if number < 6 else "Top"
            row = (f"{label}/{number}.png", label, number // 2)
            connection.exec_driver_sql("INSERT INTO product VALUES (?, ?, ?)", row)
    query = "select image, category, product_id from product"
    result = run("--db", url, "--query", query, "--images", photos, "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["images"] == 12
    assert report["splits"] == {"train": 4, "val": 4, "test": 4}  # three products of two pictures a category


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "name the labelled images"),
        (["none"], 1, "none does not exist"),
        (["photos", "--shares", "1,2"], 2, "--shares 1,2: write three numbers"),
        (["photos", "--db", "sqlite:///x.db", "--query", "select 1"], 2, "DATA and --query exclude each other"),
    ],
)
def test_what_cannot_work_is_one_clear_error(photos, arguments, status, message):
    result = run(*arguments)
    assert result.exit_code == status
    assert message in result.stderr


def test_the_database_of_the_configuration_is_no_harm(photos, monkeypatch):
    monkeypatch.setenv("CATALOGER_DB", "sqlite:///catalog.db")
    assert run(photos).exit_code == 0
