"""Labelled images of a SQL query, on each engine; what it must not do and what it must not show."""

import pytest
from by_url import make_engine, parsed
from sqlalchemy import create_engine, text

from cataloger.db import one_select
from cataloger.errors import DatabaseError, TrainingError, UsageError
from cataloger.training.data.read import read_dataset
from cataloger.training.options import DataOptions

QUERY = "select image, category, product_id from product order by product_id"
ROWS = [("a.jpg", "Hat", 1), ("b%20.jpg", "Top", 2), (None, "Top", 3), ("d.jpg", None, 4), ("e.jpg", " Hat ", 5)]


def fill(url, rows):
    engine = make_engine(url)
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE product (image VARCHAR(200), category VARCHAR(90), product_id INTEGER)")
        )
        for row in rows:
            values = dict(zip("icp", row, strict=True))
            connection.execute(text("INSERT INTO product VALUES (:i, :c, :p)"), values)
    engine.dispose()


def count(url):
    engine = make_engine(url)
    with engine.begin() as connection:
        number = connection.execute(text("SELECT COUNT(*) FROM product")).scalar()
    engine.dispose()
    return number


@pytest.fixture
def shop(tmp_path):
    url = f"sqlite:///{tmp_path}/shop.db"
    fill(url, ROWS)
    return url


def read(url, query=QUERY, **options):
    return read_dataset(DataOptions(db=parsed(url), query=query, **options))


def test_rows_become_examples_and_empty_ones_are_named(empty_url, tmp_path):
    fill(empty_url, ROWS)
    data = read(empty_url, images=tmp_path)
    assert [(e.labels, e.product, e.path) for e in data.examples] == [
        (("Hat",), "1", tmp_path / "a.jpg"),
        (("Top",), "2", tmp_path / "b%20.jpg"),
        (("Hat",), "5", tmp_path / "e.jpg"),
    ]
    assert [(problem.kind, problem.place) for problem in data.problems] == [
        ("no_image", "row 3 of the query (product 3)"),
        ("no_label", "row 4 of the query (d.jpg)"),
    ]


def test_percent_signs_colons_and_semicolons_in_texts_are_no_harm(empty_url, tmp_path):
    fill(empty_url, ROWS)
    query = (
        "select image, category from product where category <> ';:x' and (category like '%a%' or category like 'T%') "
    )
    query += "order by product_id -- done; really"
    data = read(empty_url, query + "\n;", images=tmp_path)
    assert [example.labels[0] for example in data.examples] == ["Hat", "Top", "Hat"]


def test_nothing_is_written_whatever_the_query_tries(empty_url, tmp_path):
    fill(empty_url, ROWS)
    for query in (
        "delete from product",
        "select 1; delete from product",
        "with gone as (delete from product returning *) select image, category from gone",
    ):
        with pytest.raises((UsageError, DatabaseError)):
            read(empty_url, query, images=tmp_path)
    assert count(empty_url) == len(ROWS)


@pytest.mark.parametrize("query", ["drop table product", "", "-- select", "update product set image = 'select'"])
def test_only_a_select_is_run(query):
    with pytest.raises(UsageError, match="must be a SELECT"):
        one_select(query)


def test_one_statement_is_run():
    assert one_select("select 1 ; ; -- the end") == "select 1"
    assert one_select(" select ';', \"a;b\" from x /* ; */ ; ") == "select ';', \"a;b\" from x /* ; */"
    with pytest.raises(UsageError, match="more than one statement"):
        one_select("select 1; select 2")


def test_relative_paths_need_a_folder(shop):
    with pytest.raises(UsageError, match="name the folder that they start from with --images"):
        read(shop)


def test_a_path_out_of_the_folder_is_named_and_an_address_is_read_without_showing_its_secrets(tmp_path):
    url = f"sqlite:///{tmp_path}/shop.db"
    hidden = "https://user:secret@cdn.example/c.jpg?token=secret"
    fill(url, [("a.jpg", "Hat", 1), ("../b.jpg", "Top", 2), (hidden, "Top", 3), ("d.jpg", "Top", 4)])
    data = read(url, images=tmp_path / "photos")
    assert [problem.kind for problem in data.problems] == ["no_image"]
    assert "leads out of --images" in data.problems[0].message
    [example] = [each for each in data.examples if each.web is not None]
    assert (example.file, example.web.url) == ("https://cdn.example/c.jpg", hidden)
    assert "secret" not in repr(data)


def test_columns_without_a_usual_name_can_be_named(shop, tmp_path):
    query = "select image as bild, category as art from product where image is not null and category is not null"
    with pytest.raises(TrainingError, match=r"the query has no column image .*it has bild, art"):
        read(shop, query, images=tmp_path)
    assert len(read(shop, query, images=tmp_path, image_column="bild", label_column="art").examples) == 3


def test_a_column_that_is_there_twice_is_refused(shop, tmp_path):
    with pytest.raises(UsageError, match="the column image appears twice"):
        read(shop, "select image, image, category from product", images=tmp_path)


def test_a_wrong_query_is_one_clear_error(empty_url, tmp_path):
    fill(empty_url, ROWS)
    with pytest.raises(DatabaseError, match="produkt"):
        read(empty_url, "select image, category from produkt", images=tmp_path)


def test_the_password_is_never_shown(postgresql_server, tmp_path):
    url = postgresql_server.set(drivername="postgresql").render_as_string(hide_password=False)
    for wrong in (url, url.replace("shop:", "nobody:")):
        with pytest.raises(DatabaseError) as error:
            read(wrong, "select image, category from nothing", images=tmp_path)
        assert "p@ss" not in str(error.value)
        assert "p%40ss" not in str(error.value)


def test_a_file_that_is_no_database_is_not_made(tmp_path):
    with pytest.raises(DatabaseError, match="does not exist"):
        read(f"sqlite:///{tmp_path}/none.db", images=tmp_path)
    assert not (tmp_path / "none.db").exists()


def test_many_rows_come_in_order(tmp_path):
    url = f"sqlite:///{tmp_path}/many.db"
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE p (image TEXT, label TEXT)"))
        rows = [{"i": f"{number}.jpg", "c": "Hat" if number % 2 else "Top"} for number in range(2_500)]
        connection.execute(text("INSERT INTO p VALUES (:i, :c)"), rows)
    engine.dispose()
    data = read(url, "select image, label from p order by rowid", images=tmp_path)
    assert [example.file for example in data.examples] == [f"{number}.jpg" for number in range(2_500)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "name the labelled images"),
        ({"query": "select 1"}, "--query needs --db"),
        ({"db": "sqlite:///x.db"}, "name the labelled images"),
        ({"data": ".", "db": "sqlite:///x.db", "query": "select 1"}, "exclude each other"),
        ({"data": ".", "shares": (0.0, 0.5, 0.5)}, "--shares"),
        ({"data": ".", "shares": (0.8, -0.1, 0.3)}, "--shares"),
    ],
)
def test_options_that_contradict_each_other_are_wrong_usage(options, message):
    with pytest.raises(UsageError, match=message):
        DataOptions(**options)
