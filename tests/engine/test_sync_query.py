"""`cataloger sync --image-query` from a SELECT to the views, on every engine; its source is tested by itself."""

import json
import shutil
from contextlib import closing
from pathlib import Path

import pytest
from by_url import open_source
from sqlalchemy import text
from typer.testing import CliRunner

from cataloger.cli.app import app

EXAMPLES = Path(__file__).parents[2] / "examples" / "images"
IMAGES = ("blue-fedora.png", "sunglasses.png", "summer-shorts.png", "winter-hat.png")
QUERY = (
    "SELECT p.sku AS product_id, i.id AS image_id, i.file AS image, i.version FROM products p {} i ON i.pid = p.id"
)
INNER, OUTER = QUERY.format("JOIN images"), QUERY.format("LEFT JOIN images")


@pytest.fixture
def shop(url, tmp_path):
    """URL of a database with products and their images, the third without any, and with our tables."""
    binary = "BYTEA" if url.startswith("postgresql") else "LONGBLOB"
    execute(url, "CREATE TABLE products (id INTEGER PRIMARY KEY, sku VARCHAR(20))")
    execute(
        url,
        f"CREATE TABLE images (id INTEGER PRIMARY KEY, pid INTEGER, file TEXT, version INTEGER, data {binary})",
    )
    execute(url, "INSERT INTO products VALUES (1, 'A'), (2, 'B'), (3, 'C')")
    for number, name in enumerate(IMAGES):
        shutil.copy(EXAMPLES / name, tmp_path)
        values = {"id": number, "pid": 1 + number % 2, "file": name, "data": (EXAMPLES / name).read_bytes()}
        execute(url, "INSERT INTO images VALUES (:id, :pid, :file, 1, :data)", **values)
    return url


def execute(url, statement, **values):
    with closing(open_source(url)) as database, database.begin() as connection:
        result = connection.execute(text(statement), values)
        return [tuple(row) for row in result] if result.returns_rows else result.rowcount


def sync(url, folder, query, *flags, status=0):
    arguments = ["sync", "--db", url, "--image-root", str(folder), "--image-query", query, "--json", *flags]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == status, result.output
    return (json.loads(result.stdout) if result.stdout else {}) | {"stderr": result.stderr}


def keys(url):
    return sorted(key for (key,) in execute(url, "SELECT v.key FROM cataloger_image_top5 v"))


ALL = ['["A", "0"]', '["A", "2"]', '["B", "1"]', '["B", "3"]']


def test_the_nights_of_a_query(shop, tmp_path):
    plan = sync(shop, tmp_path, OUTER, "--dry-run", "-v")
    assert (plan["planned_by_reason"], plan["skipped_by_reason"]) == ({"new": 4}, {"no_image": 1})
    assert "how the database reads the rows:" in plan["stderr"]
    assert plan["stderr"].partition("reads the rows:")[2].count("INFO") >= 2  # a line for each of the two tables
    assert keys(shop) == []
    first = sync(shop, tmp_path, OUTER)
    assert (first["done"], first["failed"], first["warnings"]) == (4, 0, [])
    assert keys(shop) == ALL
    products = execute(shop, "SELECT product_key, label_1 FROM cataloger_product_top5 ORDER BY product_key")
    assert [product for product, _ in products] == ["A", "B"]
    second = sync(shop, tmp_path, OUTER)
    assert (second["done"], second["skipped_by_reason"]) == (0, {"unchanged": 4, "no_image": 1})
    execute(shop, "DELETE FROM images WHERE id = 3")
    execute(shop, "UPDATE images SET version = 2 WHERE id = 0")
    execute(shop, "INSERT INTO images SELECT 9, 3, file, 1, data FROM images WHERE id = 1")
    third = sync(shop, tmp_path, OUTER)
    assert (third["done"], third["gone"], third["skipped_by_reason"]) == (2, 1, {"unchanged": 2})
    assert keys(shop) == [*ALL[:3], '["C", "9"]']


def test_another_text_of_the_query_is_the_same_source_and_takes_nothing_out_at_once(shop, tmp_path):
    sync(shop, tmp_path, INNER)
    part = f"{INNER} WHERE p.sku = 'A'"
    report = sync(shop, tmp_path, part)
    assert (report["gone"], keys(shop)) == (0, ALL)
    assert "another one than in the last run" in report["warnings"][0]
    assert "--source-name" in report["warnings"][0]
    assert sync(shop, tmp_path, part, "--dry-run")["gone"] == 2
    report = sync(shop, tmp_path, part)
    assert (report["gone"], report["warnings"], keys(shop)) == (2, [], ALL[:2])
    report = sync(shop, tmp_path, INNER)
    assert (report["done"], report["returned"], keys(shop)) == (0, 2, ALL)
    assert len(execute(shop, "SELECT id FROM cataloger_source")) == 1


def test_a_table_of_images_may_become_a_query(shop, tmp_path):
    table = ["--table", "products", "--id", "id", "--image", "file", "--image-table", "images", "--image-fk", "pid"]
    arguments = ["sync", "--db", shop, *table, "--image-root", str(tmp_path), "--source-name", "shop"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    query = "SELECT pid AS product_id, id AS image_id, file AS image FROM images"
    report = sync(shop, tmp_path, query, "--source-name", "shop")
    assert (report["done"], report["skipped_by_reason"], report["warnings"]) == (0, {"unchanged": 4}, [])


def test_bytes_of_a_query_get_answers_and_are_shown_in_a_report(shop, tmp_path):
    query = "SELECT pid AS product_id, id AS image_id, data AS image FROM images"
    assert sync(shop, tmp_path, query)["done"] == 4
    execute(
        shop, "UPDATE images SET data = (SELECT d FROM (SELECT data AS d FROM images WHERE id = 1) x) WHERE id = 0"
    )
    report = sync(shop, tmp_path, query, "--dry-run", "-v")
    assert (report["planned_by_reason"], report["skipped_by_reason"]) == ({"changed": 1}, {"unchanged": 3})
    assert "and for the bytes of an image:" in report["stderr"]
    page = tmp_path / "report.html"
    assert CliRunner().invoke(app, ["report", "--db", shop, "--output", str(page)]).exit_code == 0
    assert page.read_text().count("data:image") >= 3


def test_what_a_query_repeats_or_has_no_key_for_is_recorded(shop, tmp_path):
    query = "SELECT sku AS product_id, {} AS image_id, file AS image FROM products p JOIN images i ON i.pid = p.id"
    report = sync(shop, tmp_path, query.format(1), status=3)
    assert (report["done"], report["failures"]) == (0, {"source.repeated_key": 2})
    rows = execute(shop, "SELECT product_key, error_code FROM cataloger_image_top5 ORDER BY product_key")
    assert rows == [("A", "source.repeated_key"), ("B", "source.repeated_key")]
    report = sync(shop, tmp_path, query.format("NULL"), "--source-name", "nulls", status=3)
    assert report["failures"] == {"source.no_key": 4}
    report = sync(
        shop, tmp_path, f"{query.format('i.id')} UNION ALL {query.format('i.id')}", "--source-name", "twice"
    )
    assert (report["done"], report["skipped_by_reason"]) == (4, {"duplicate": 4})


def test_departments_have_a_usual_column(shop, tmp_path):
    (tmp_path / "departments.toml").write_text('heads = ["Hat", "Dress"]\nothers = ["Shorts", "Sunglasses"]\n')
    query = f"SELECT q.*, CASE product_id WHEN 'A' THEN 'heads' ELSE 'others' END AS department FROM ({INNER}) q"
    sync(shop, tmp_path, query, "--departments", str(tmp_path / "departments.toml"))
    labels = dict(execute(shop, "SELECT product_key, label_1 FROM cataloger_product_top5"))
    assert labels["A"] in ("Hat", "Dress")
    assert labels["B"] in ("Shorts", "Sunglasses")
    assert sync(shop, tmp_path, query)["skipped_by_reason"] == {"unchanged": 4}


def test_a_query_may_stand_in_a_file_and_in_the_configuration(shop, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("images.sql").write_text(f"\ufeff{INNER};\n-- the end\n", encoding="utf-8")
    Path("cataloger.toml").write_text(
        f"[sync]\nimage-query-file = 'images.sql'\nsource-name = 'named'\nimage-root = '{tmp_path}'\n"
    )
    result = CliRunner().invoke(app, ["sync", "--db", shop])
    assert result.exit_code == 0, result.output
    listed = CliRunner().invoke(app, ["sources", "list", "--db", shop, "--json"])
    assert [(each["kind"], each["name"], each["images"]) for each in json.loads(listed.stdout)] == [
        ("table", "named", 4)
    ]
