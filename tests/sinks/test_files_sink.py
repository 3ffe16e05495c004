"""Output files: what is in them, in which order, and that they are never half there."""

import csv
import json
import os
import resource
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from by_url import open_database
from sqlalchemy import text

from cataloger.errors import DatabaseError, MissingExtraError, OutputError, UsageError
from cataloger.ledger import register_source
from cataloger.schema.views import IMAGE_COLUMNS
from cataloger.sinks.files import Selection, check_output, export

FORMATS = ("jsonl", "csv", "parquet")
PHOTOS = Selection("/photos")
ODD = 'a"b,c\n;=1+1 \u2028👗\\'


@pytest.fixture
def database(shared_database):
    return shared_database


def read_jsonl(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def read_csv(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_parquet(path):
    from pyarrow import parquet

    return parquet.read_table(path).to_pylist()


READERS = {"jsonl": read_jsonl, "csv": read_csv, "parquet": read_parquet}


def keys(path):
    return [row["key"] for row in READERS[path.suffix[1:]](path)]


def test_every_format_holds_the_columns_of_the_view_in_order(world, make, tmp_path):
    from pyarrow import parquet

    world.sink.write([make.good("a")])
    for name in FORMATS:
        assert export(world.database, [PHOTOS], tmp_path / f"x.{name}") == 1
    assert list(read_jsonl(tmp_path / "x.jsonl")[0]) == list(IMAGE_COLUMNS)
    assert (tmp_path / "x.csv").read_text().split("\n")[0] == ",".join(IMAGE_COLUMNS)
    assert parquet.read_schema(tmp_path / "x.parquet").names == list(IMAGE_COLUMNS)


def test_every_format_holds_the_same_values(world, make, tmp_path):
    world.sink.write([replace(make.good(ODD, product_key="07"), confidences=(0.1 + 0.2, 1e-12)), make.bad("b")])
    for name in FORMATS:
        export(world.database, [PHOTOS], tmp_path / f"x.{name}")
    lines, table = read_jsonl(tmp_path / "x.jsonl"), read_parquet(tmp_path / "x.parquet")
    for row, typed in zip(lines, table, strict=True):
        assert {**typed, "tagged_at": None} == {**row, "tagged_at": None}
        assert (
            timedelta(0) <= typed["tagged_at"] - datetime.fromisoformat(row["tagged_at"]) < timedelta(milliseconds=1)
        )
    as_text = [{name: "" if value is None else str(value) for name, value in row.items()} for row in lines]
    assert read_csv(tmp_path / "x.csv") == as_text
    assert (lines[0]["key"], lines[0]["product_key"], lines[0]["confidence_1"]) == (ODD, "07", 0.1 + 0.2)
    assert (lines[1]["status"], lines[1]["error_code"], lines[1]["label_1"]) == ("failed", "decode.truncated", None)
    assert (lines[0]["error_text"], lines[1]["error_text"]) == (None, "cut short")


def test_times_are_utc(world, make, tmp_path):
    world.sink.write([make.good("a")])
    export(world.database, [PHOTOS], tmp_path / "x.jsonl")
    moment = datetime.fromisoformat(read_jsonl(tmp_path / "x.jsonl")[0]["tagged_at"])
    assert moment.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=1)


def test_what_a_person_says_is_in_every_format(world, make, tmp_path):
    world.sink.write([make.good("a")])
    world.say("a", "Sock")
    for name in FORMATS:
        export(world.database, [PHOTOS], tmp_path / f"x.{name}")
        [row] = READERS[name](tmp_path / f"x.{name}")
        assert (row["label_1"], float(row["confidence_1"]), row["corrected_by"]) == ("Sock", 1.0, "ann")
        at, tagged = (datetime.fromisoformat(str(row[column])) for column in ("corrected_at", "tagged_at"))
        assert at.utcoffset() == timedelta(0)
        assert timedelta(0) <= at - tagged < timedelta(minutes=1)


def test_rows_are_ordered_by_key_whatever_the_engine(world, make, tmp_path):
    names = ["b", "B", "a/b", "a b", "ä", "z", "👗", "10", "9", "_"]
    world.sink.write([make.good(name) for name in names])
    assert export(world.database, [PHOTOS], tmp_path / "x.jsonl") == len(names)
    assert keys(tmp_path / "x.jsonl") == sorted(names)


def test_a_prefix_is_taken_literally(world, make, tmp_path):
    names = ["a_%/x", "a_%/y/z", "A_%/x", "ab%/x", "a_%", "a_%2/x", "b/a_%/x"]
    world.sink.write([make.good(name) for name in names])
    export(world.database, [Selection("/photos", "a_%/")], tmp_path / "x.csv")
    assert keys(tmp_path / "x.csv") == ["a_%/x", "a_%/y/z"]


def test_only_the_selected_images_of_the_selected_sources_are_written(world, make, tmp_path):
    world.sink.write([make.good(name) for name in ("a", "b", "A", "c")])
    sources = ["/other", "/photos ", "/PHOTOS"]
    world.lease.release()
    for root in sources:
        world.lease, world.source = None, register_source(world.database, kind="folder", root=root)
        world.begin().sink.write([make.good("a")])
        world.lease.release()
    assert export(world.database, [PHOTOS], tmp_path / "x.csv") == 4
    chosen = [Selection("/photos", keys=frozenset({"c", "a", "missing"})), Selection("/other"), Selection("/none")]
    assert export(world.database, chosen, tmp_path / "x.csv") == 3
    found = [(row["source"], row["key"]) for row in read_csv(tmp_path / "x.csv")]
    assert found == [("/photos", "a"), ("/photos", "c"), ("/other", "a")]


def test_nothing_is_an_empty_file_with_its_columns(database, tmp_path):
    for name in FORMATS:
        assert export(database, [PHOTOS], tmp_path / f"x.{name}") == 0
        assert READERS[name](tmp_path / f"x.{name}") == []
    assert (tmp_path / "x.csv").read_text() == ",".join(IMAGE_COLUMNS) + "\n"


def test_more_than_a_page_comes_out_whole(world, make, tmp_path, monkeypatch):
    monkeypatch.setattr("cataloger.sinks.files.ROWS_PER_FETCH", 7)
    world.sink.write([make.good(f"{number:03}") for number in range(21)])
    for name in FORMATS:
        assert export(world.database, [PHOTOS], tmp_path / f"x.{name}") == 21
        assert keys(tmp_path / f"x.{name}") == [f"{number:03}" for number in range(21)]


def test_a_file_is_replaced_and_nothing_else_left(world, make, tmp_path):
    world.sink.write([make.good("a")])
    (tmp_path / "x.CSV").write_text("old " * 1000)
    export(world.database, [PHOTOS], tmp_path / "x.CSV")
    assert [row["key"] for row in read_csv(tmp_path / "x.CSV")] == ["a"]
    assert [path.name for path in tmp_path.iterdir()] == ["x.CSV"]


def test_a_file_has_the_usual_permissions(database, tmp_path):
    before = os.umask(0o027)
    try:
        export(database, [PHOTOS], tmp_path / "x.csv")
    finally:
        os.umask(before)
    assert (tmp_path / "x.csv").stat().st_mode & 0o777 == 0o640


def test_readers_see_the_old_file_until_the_new_one_is_complete(world, make, tmp_path):
    world.sink.write([make.good("a")])
    (tmp_path / "x.csv").write_text("old")
    seen = []

    def selections():
        yield PHOTOS
        seen.append((tmp_path / "x.csv").read_text())

    export(world.database, selections(), tmp_path / "x.csv")
    assert seen == ["old"]
    assert keys(tmp_path / "x.csv") == ["a"]


@pytest.mark.parametrize("name", FORMATS)
def test_an_error_of_the_database_leaves_the_old_file_alone(tmp_path_factory, tmp_path, name):
    database = open_database(f"sqlite:///{tmp_path_factory.mktemp('broken')}/x.db")
    with database.begin() as connection:
        connection.execute(text("DROP VIEW cataloger_image_top5"))
    (tmp_path / f"x.{name}").write_text("old")
    with pytest.raises(DatabaseError):
        export(database, [PHOTOS], tmp_path / f"x.{name}")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(f"x.{name}", "old")]
    database.close()


@pytest.mark.parametrize("name", FORMATS)
def test_a_disk_that_is_full_leaves_the_old_file_alone(world, make, tmp_path, name):
    world.sink.write([make.good(f"{number:0200}") for number in range(300)])
    path = tmp_path / f"x.{name}"
    path.write_text("old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))
    try:
        with pytest.raises(OutputError) as caught:
            export(world.database, [PHOTOS], path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(caught.value).startswith(f"{path} cannot be written: ")
    assert str(caught.value).endswith("File too large; the results are in the database")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(f"x.{name}", "old")]


def test_a_folder_that_vanished_meanwhile_is_told(database, tmp_path):
    with pytest.raises(OutputError, match="cannot be written: No such file or directory; the results are in the"):
        export(database, [PHOTOS], tmp_path / "none" / "x.csv")


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.parquet", "x.CSV"])
def test_an_output_that_works_is_accepted(tmp_path, name):
    check_output(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x", "x.json", "x.txt", ".csv", "x.csv.gz"])
def test_an_unknown_extension_is_a_wrong_usage(tmp_path, name):
    with pytest.raises(UsageError, match=r"write \.jsonl, \.csv or \.parquet"):
        check_output(tmp_path / name)


def test_a_folder_that_does_not_exist_is_told_before_the_work(tmp_path):
    with pytest.raises(UsageError, match="its folder does not exist; make it first"):
        check_output(tmp_path / "none" / "x.csv")


def test_a_folder_in_place_of_the_file_is_told_before_the_work(tmp_path):
    (tmp_path / "x.csv").mkdir()
    with pytest.raises(UsageError, match="is a folder; name a file in it"):
        check_output(tmp_path / "x.csv")


def test_parquet_without_its_library_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"fashion-cataloger\[parquet\]"):
        check_output(tmp_path / "x.parquet")


CHECK = """if True:
    import pathlib, sys
    from cataloger.errors import OutputError
    from cataloger.sinks.files import check_output
    try:
        check_output(pathlib.Path(sys.argv[1]))
    except OutputError as error:
        print(error, end="")
"""


def test_a_folder_that_may_not_be_written_is_told_before_the_work(tmp_path):
    tmp_path.chmod(0o555)
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    command = [*drop, sys.executable, "-c", CHECK, str(tmp_path / "x.csv")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == f"--output {tmp_path}/x.csv: this user may not write to its folder"
