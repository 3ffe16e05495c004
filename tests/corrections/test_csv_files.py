"""Corrections to spreadsheets and back: nothing is lost, a bad row costs no other, nobody is overwritten."""

import csv
import json
from dataclasses import replace
from threading import Thread

import pytest
from by_url import open_database
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.corrections.csv_export import ExportOptions, export_corrections
from cataloger.corrections.csv_import import ImportOptions, import_corrections
from cataloger.corrections.csv_rows import COLUMNS
from cataloger.corrections.one_image import find_image
from cataloger.errors import SourceError, UsageError
from cataloger.ledger import register_source

ANN = ImportOptions("ann")


@pytest.fixture
def database(shared_database):
    return shared_database


def exported(world, path, **options):
    """Export; return the rows as dictionaries."""
    export_corrections(world.database, path, ExportOptions(**options))
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def written(path, rows, *, delimiter=",", encoding="utf-8", names=COLUMNS):
    """Write rows as a spreadsheet would."""
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, names, delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def stored(world):
    return world.rows(
        "SELECT i.uri, k.verdict, k.label, k.author FROM cataloger_corrected h "
        "JOIN cataloger_item i ON i.id = h.item_id "
        "JOIN cataloger_correction k ON k.id = h.correction_id ORDER BY i.uri"
    )


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_file_of_predictions_is_filled_in_and_imported(world, make, tmp_path, delimiter, encoding):
    world.sink.write([make.good(key, product_key="p") for key in ("a", "b ä", "c", "d")])
    rows = exported(world, tmp_path / "x.csv", what="predictions")
    assert [(row["key"], row["label"], row["predicted"], row["confidence"]) for row in rows] == [
        (key, "", "Dress", "0.7500") for key in ("a", "b ä", "c", "d")
    ]
    assert (rows[0]["source"], rows[0]["product_key"], rows[0]["model"]) == ("/photos", "p", "shipped 1.0")
    rows[0]["label"], rows[1]["label"], rows[2]["verdict"], rows[1]["note"] = (
        "Hat",
        "Sock",
        "not_product",
        "small;\n, it",
    )
    report = import_corrections(
        world.database, written(tmp_path / "y.csv", rows, delimiter=delimiter, encoding=encoding), ANN
    )
    assert (report.saved, report.empty, report.notes) == (3, 1, [])
    assert stored(world) == [
        ("/photos/a", "label", "Hat", "ann"),
        ("/photos/b ä", "label", "Sock", "ann"),
        ("/photos/c", "not_product", None, "ann"),
    ]
    [note] = [row["note"] for row in exported(world, tmp_path / "z.csv") if row["note"]]
    assert note == "small;\n, it"


def test_only_what_needs_a_look_is_exported_if_asked(world, make, tmp_path):
    unsure = replace(make.good("u"), confidences=(0.4, 0.3), decision="review")
    world.sink.write([unsure, replace(make.good("s"), decision="accept"), make.bad("f")])
    for options in ({"decision": "review"}, {"below": 0.5}, {"decision": "review", "below": 0.5}):
        assert [row["key"] for row in exported(world, tmp_path / "x.csv", what="predictions", **options)] == ["u"]
    with pytest.raises(UsageError, match="add --predictions"):
        ExportOptions(below=0.5)


def test_words_and_history_are_exported_with_what_was_predicted(world, make, tmp_path):
    world.sink.write([make.good("a")])
    for said in ("Sock", "Hat", "withdrawn", "not_product"):
        world.say("a", said, author="bob")
    [row] = exported(world, tmp_path / "x.csv")
    assert (row["verdict"], row["label"], row["predicted"], row["author"]) == ("not_product", "", "Dress", "bob")
    history = exported(world, tmp_path / "x.csv", what="history")
    assert [(row["verdict"], row["label"]) for row in history] == [
        ("label", "Sock"),
        ("label", "Hat"),
        ("withdrawn", ""),
        ("not_product", ""),
    ]


def test_what_was_exported_and_not_changed_changes_nothing_even_with_overwrite(world, make, tmp_path):
    world.sink.write([make.good("a"), make.good("b")])
    world.say("a", "Sock")
    world.say("b", "Sock")
    exported(world, tmp_path / "x.csv")
    world.say("a", "Hat", author="bob")
    world.say("b", "withdrawn", author="bob")
    before = stored(world)
    for overwrite in (False, True):
        report = import_corrections(world.database, tmp_path / "x.csv", ImportOptions("ann", overwrite=overwrite))
        assert (report.saved, report.same, report.conflicts) == (0, 2, 0)
    assert stored(world) == before


def test_a_history_of_several_corrections_on_an_image_comes_back_without_a_conflict(world, make, tmp_path):
    world.sink.write([make.good("a")])
    for said in ("Sock", "Hat", "Sock"):
        world.say("a", said, author="bob")
    rows = exported(world, tmp_path / "x.csv", what="history")
    report = import_corrections(world.database, tmp_path / "x.csv", ANN)
    assert (report.same, report.saved, report.notes) == (3, 0, [])
    rows[2]["label"] = "Dress"
    report = import_corrections(world.database, written(tmp_path / "x.csv", rows), ANN)
    assert (report.same, report.saved, report.notes) == (2, 1, [])


def test_a_newer_word_is_a_conflict_and_stays_unless_it_is_to_be_overwritten(world, make, tmp_path):
    world.sink.write([make.good("a"), make.good("b")])
    rows = exported(world, tmp_path / "x.csv", what="predictions")
    world.say("a", "Hat", author="bob")
    rows[0]["label"] = rows[1]["label"] = "Sock"
    path = written(tmp_path / "x.csv", rows)
    report = import_corrections(world.database, path, ANN)
    assert (report.saved, report.notes) == (
        1,
        [(2, "conflict", "a: bob set Hat since the export; --overwrite replaces that")],
    )
    report = import_corrections(world.database, path, ImportOptions("ann", overwrite=True))
    assert (report.saved, report.same) == (1, 1)
    assert [row[2:] for row in stored(world)] == [("Sock", "ann"), ("Sock", "ann")]


def test_a_word_is_changed_or_withdrawn_in_the_file_that_shows_it(world, make, tmp_path):
    world.sink.write([make.good("a"), make.good("b")])
    world.say("a", "Hat", author="bob")
    world.say("b", "Hat", author="bob")
    rows = exported(world, tmp_path / "x.csv")
    rows[0]["label"] = "Sock"
    rows[1]["verdict"], rows[1]["label"] = "withdrawn", ""
    assert import_corrections(world.database, written(tmp_path / "x.csv", rows), ANN).saved == 2
    assert stored(world) == [("/photos/a", "label", "Sock", "ann")]


def test_each_bad_row_is_named_with_its_line_and_costs_no_other(world, make, tmp_path):
    world.sink.write([make.good(key) for key in "abcdef"])
    path = tmp_path / "x.csv"
    lines = [
        "sep=,",
        "key,verdict,label,note",
        "a,,Hatt,",
        "nowhere,,Hat,",
        "b,maybe,Hat,",
        "c,not_product,Hat,",
        "d,label,,",
        "",
        'e,,Hat,"two',
        'lines"',
        ",,Hat,",
        "f,,Hat,,more",
        f"f,,{'x' * 256},",
    ]
    path.write_text("\r\n".join(lines), newline="")
    report = import_corrections(world.database, path, ANN)
    assert report.saved == 1
    assert [(line, text.split(";")[0][:44]) for line, _, text in sorted(report.notes)] == [
        (3, "a: unknown label 'Hatt'"),
        (4, "nowhere is not an image of this database"),
        (5, "the verdict is 'maybe'"),
        (6, "it has both the label 'Hat' and the verdict "),
        (7, "the label is empty"),
        (11, "a row without key and uri is not an image of"),
        (12, "the row has 5 cells, the first line names 4"),
        (13, "the label has 256 characters"),
    ]
    assert "did you mean 'Hat'?" in sorted(report.notes)[0][2]
    assert stored(world) == [("/photos/e", "label", "Hat", "ann")]


@pytest.mark.parametrize("verdict", ["not_product", "Withdrawn"])
def test_a_verdict_in_the_column_of_labels_is_told_where_it_belongs(world, make, tmp_path, verdict):
    world.sink.write([make.good("a")])
    path = tmp_path / "x.csv"
    path.write_text(f"key,label\na,{verdict}\n")
    report = import_corrections(world.database, path, ANN)
    assert report.notes[0][2].endswith("write it into the column verdict, and leave the label empty")


def test_a_quotation_mark_that_is_never_closed_is_named_where_it_begins(world, make, tmp_path):
    world.sink.write([make.good(key) for key in "abcd"])
    path = tmp_path / "x.csv"
    path.write_text('key,label,note\na,Hat,\nb,Hat,"the "" one"x\nc,Hat,fine\nd,Hat,"oops\nb,Hat,\n')
    report = import_corrections(world.database, path, ANN)
    assert (report.saved, report.problems) == (3, 2)
    assert [(line, text.split("(")[0]) for line, _, text in report.notes] == [
        (3, "the row has a stray quotation mark "),
        (5, "the row begins a cell that does not end properly up to line 6; is a quotation mark missing?"),
    ]
    assert [row[0] for row in stored(world)] == ["/photos/a", "/photos/b", "/photos/c"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("between", [0, 600])
def test_rows_of_one_file_that_contradict_each_other_are_conflicts(world, make, tmp_path, between, overwrite):
    names = [f"{number:03}" for number in range(between)]
    world.sink.write([make.good(key) for key in ("a", "b", *names)])
    path = tmp_path / "x.csv"
    others = "".join(f"{name},Hat\n" for name in names)
    path.write_text(f"key,label\na,Sock\nb,Sock\n{others}a,Dress\nb,Sock\n")
    report = import_corrections(world.database, path, ImportOptions("ann", overwrite=overwrite))
    assert (report.saved, report.same, report.problems) == (2 + between, 1, 0)
    assert [(line, kind) for line, kind, _ in report.notes] == [(4 + between, "conflict")]
    assert [row[2] for row in stored(world) if row[0] in ("/photos/a", "/photos/b")] == ["Sock", "Sock"]
    report = import_corrections(world.database, path, ImportOptions("ann", overwrite=overwrite))
    assert report.saved == 0


def test_a_row_of_another_source_is_not_taken_for_the_one_that_was_asked_for(world, make, tmp_path):
    world.sink.write([make.good("a")])
    other = type(world)(world.database, register_source(world.database, kind="folder", root="/other"), world.model)
    other.begin().sink.write([make.good("a", uri="/other/a"), make.good("b", uri="/other/b")])
    path = tmp_path / "x.csv"
    path.write_text("source,key,label\n/other,a,Hat\n/photos,a,Sock\n/renamed,a,Sock\n")
    report = import_corrections(world.database, path, ImportOptions("ann", source="/photos"))
    assert stored(world) == [("/photos/a", "label", "Sock", "ann")]
    assert (report.same, report.notes) == (1, [(2, "problem", "a is not an image of /photos")])


def test_an_image_is_found_by_key_in_one_row_and_by_uri_in_another(world, make, tmp_path):
    source = register_source(world.database, kind="manifest", root="/lists/spring.csv")
    listed = type(world)(world.database, source, world.model).begin()
    shared = [make.good(json.dumps([each, "b"]), uri="/photos/b", product_key=each) for each in "pq"]
    listed.sink.write([make.good("/photos/a", uri="/photos/a"), *shared])
    path = tmp_path / "x.csv"
    path.write_text("key,uri,label\n/photos/a,,Hat\n,/photos/a,Hat\n,/photos/b,Hat\n")
    report = import_corrections(world.database, path, ANN)
    note = (4, "problem", "/photos/b is an image of several products: fill in the column key")
    assert (report.saved, report.same, report.notes) == (1, 1, [note])
    with pytest.raises(UsageError, match="name it by its key"):
        find_image(world.database, "/photos/b")


def test_names_that_begin_or_end_with_blanks_are_found_and_so_are_padded_cells(world, make, tmp_path):
    world.sink.write([make.good(name) for name in (" a.jpg", "a.jpg ", "b.jpg")])
    rows = exported(world, tmp_path / "x.csv", what="predictions")
    for row, label in zip(rows, ("Hat", "Sock", "Hat"), strict=True):
        row["label"], row["key"] = label, row["key"].replace("b.jpg", " b.jpg ")
    report = import_corrections(world.database, written(tmp_path / "x.csv", rows), ANN)
    assert (report.saved, report.notes) == (3, [])
    assert {row[:3] for row in stored(world)} == {
        ("/photos/ a.jpg", "label", "Hat"),
        ("/photos/a.jpg ", "label", "Sock"),
        ("/photos/b.jpg", "label", "Hat"),
    }


def test_two_imports_at_once_lose_nothing(world, make, tmp_path):
    names = [f"{number:03}" for number in range(700)]
    world.sink.write([make.good(name) for name in names])
    reports = {}

    def take(author, label):
        path = tmp_path / f"{author}.csv"
        path.write_text("key,label\n" + "".join(f"{name},{label}\n" for name in names))
        reports[author] = import_corrections(world.database, path, ImportOptions(author))

    threads = [Thread(target=take, args=pair) for pair in (("ann", "Hat"), ("bob", "Sock"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = stored(world)
    assert (len(found), sorted(reports)) == (700, ["ann", "bob"])
    for author, report in reports.items():
        assert report.saved == sum(row[3] == author for row in found)
        assert (report.saved + report.conflicts, report.problems) == (700, 0)


def test_new_labels_are_taken_if_asked(world, make, tmp_path):
    world.sink.write([make.good("a")])
    path = tmp_path / "x.csv"
    path.write_text("uri,label\n/photos/a,Cape\n")
    assert import_corrections(world.database, path, ANN).problems == 1
    assert import_corrections(world.database, path, ImportOptions("ann", new_labels=True)).saved == 1
    assert stored(world) == [("/photos/a", "label", "Cape", "ann")]


def test_a_file_without_times_renews_what_its_author_said_and_no_other(world, make, tmp_path):
    world.sink.write([make.good("a"), make.good("b")])
    world.say("a", "Hat", author="ann")
    world.say("b", "Hat", author="bob")
    path = tmp_path / "x.csv"
    path.write_text("key,label\na,Sock\nb,Sock\na,Dress\n")
    report = import_corrections(world.database, path, ANN)
    assert (report.saved, sorted(line for line, *_ in report.notes)) == (1, [3, 4])
    assert [row[2:] for row in stored(world)] == [("Sock", "ann"), ("Hat", "bob")]


def test_a_dry_run_records_nothing(world, make, tmp_path):
    world.sink.write([make.good("a")])
    path = tmp_path / "x.csv"
    path.write_text("key,label\na,Sock\n")
    assert import_corrections(world.database, path, ImportOptions("ann", dry_run=True)).saved == 1
    assert stored(world) == []


def test_hostile_names_survive_a_spreadsheet(world, make, tmp_path):
    names = ["=cmd|' /C calc'!A0", "-a.jpg", "@x", '"q", <b>;', "%FF.jpg"]
    world.sink.write([make.good(name) for name in names])
    rows = exported(world, tmp_path / "x.csv", what="predictions")
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]
    report = import_corrections(
        world.database, written(tmp_path / "x.csv", [{**row, "label": "Hat"} for row in rows]), ANN
    )
    assert (report.saved, report.notes) == (len(names), [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name,category\na,Hat\n", "must name the columns"),
        (b"", "must name the columns"),
        (
            "key,label\na,\xc9t\xe9\n".encode("latin-1"),
            "a row that is not UTF-8, perhaps Windows-1252; .*: line 2 .nothing was saved",
        ),
        (b"key,label,Label,key\na,Hat,x,y\n", "has the column 'key' twice"),
    ],
)
def test_a_file_that_is_none_is_refused_with_what_to_do(world, tmp_path, content, message):
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    with pytest.raises((SourceError, UsageError), match=message):
        import_corrections(world.database, path, ANN)


def run(*arguments, status=0):
    result = CliRunner().invoke(app, ["corrections", *map(str, arguments)])
    assert result.exit_code == status, result.output
    return result


def test_the_commands_go_round(tmp_path, make, make_world):
    url = f"sqlite:///{tmp_path}/x.db"
    database = open_database(url)
    make_world(database).sink.write([make.good(key) for key in "abc"])
    database.close()
    run("export", tmp_path / "x.csv", "--predictions", "--db", url)
    filled = (tmp_path / "x.csv").read_text(encoding="utf-8-sig").replace(",,Dress", ",Hat,Dress", 2)
    (tmp_path / "x.csv").write_text(filled.replace("/a,,,Hat", "/a,,,Hatt"))
    result = run("import", tmp_path / "x.csv", "--author", "ann", "--db", url, "--json", status=3)
    report = json.loads(result.stdout)
    assert (report["saved"], report["empty"], report["problems"], report["rows"][0]["line"]) == (1, 1, 1, 2)
    summary = json.loads(run("list", "--db", url, "--json").stdout)
    assert summary["all"] == {"author": "all", "words": 1, "not_product": 0, "judged": 1, "agreed": 0}
    assert "0 of 1 (0.0%)" in run("list", "--db", url).stdout
    run("export", tmp_path / "x.csv", "--all", "--predictions", "--db", url, status=2)
    run("import", tmp_path / "none.csv", "--db", url, status=1)


def test_a_wrong_name_of_the_database_is_told_and_makes_no_new_one(tmp_path):
    (tmp_path / "x.csv").write_text("key,label\na,Hat\n")
    url = f"sqlite:///{tmp_path}/typo.db"
    for arguments in (["list"], ["export", tmp_path / "y.csv"], ["import", tmp_path / "x.csv"]):
        assert "has no results of cataloger" in run(*arguments, "--db", url, status=1).stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.csv"]
