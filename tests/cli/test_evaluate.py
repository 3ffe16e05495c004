"""`cataloger evaluate` and `cataloger models diff` as a user runs them, on the example pictures."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.model.bundle import default_bundle_path, read_bundle

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
LABELS = EXAMPLES / "labels.csv"
IMAGES = EXAMPLES / "images"
TITLE = read_bundle(default_bundle_path()).title


def invoke(*arguments, status=0):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == status, result.output
    return result


def evaluated(*arguments):
    return json.loads(invoke("evaluate", *arguments, "--json").stdout)


@pytest.fixture(scope="module")
def tagged(tmp_path_factory):
    """URL of a database in which the example pictures were tagged."""
    url = f"sqlite:///{tmp_path_factory.mktemp('tagged') / 'catalog.db'}"
    invoke("tag", IMAGES, "--db", url, "--quiet")
    return url


@pytest.fixture(scope="module")
def of_bundle():
    return evaluated(LABELS, "--images", IMAGES)


@pytest.fixture
def shop(tmp_path):
    """Return a function: rows of labels -> their file, beside three pictures a.png, b.png, c.png."""
    for name, example in zip("abc", ("sunglasses", "t-shirt-black", "winter-hat"), strict=True):
        shutil.copy(IMAGES / f"{example}.png", tmp_path / f"{name}.png")

    def write(*rows, header="file,labels"):
        (tmp_path / "labels.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        return tmp_path / "labels.csv"

    return write


def test_a_model_is_measured_on_labelled_images(of_bundle):
    assert of_bundle["subject"]["model"].startswith("fashion-50")
    assert (of_bundle["subject"]["split"], of_bundle["all"]["images"]) == ("test", 20)
    assert of_bundle["all"]["top1"]["value"] == 0.7  # as the README tells: 14 of 20
    wrong = {mistake["file"]: (mistake["given"], mistake["predicted"]) for mistake in of_bundle["mistakes"]}
    assert wrong == {
        "bow-tie.png": (["Tie"], "Sunglasses"),
        "earring.png": (["Jewellery"], "Scarf"),
        "feet-in-sandals.png": (["Sandals"], "Heels"),
        "flip-flops.png": (["Flip flops"], "Sunglasses"),
        "silk-shirt.png": (["Shirt"], "Makeup"),
        "straw-tote.png": (["Handbag"], "Scarf"),
    }
    assert of_bundle["mistakes_in_all"] == 6
    (hat,) = [each for each in of_bundle["classes"] if each["label"] == "Hat"]
    assert (hat["support"], hat["predicted"], hat["recall"]["value"]) == (5, 5, 1.0)


def test_results_in_a_database_give_the_same_figures(tagged, of_bundle):
    stored = evaluated(LABELS, "--images", IMAGES, "--results", tagged)
    assert stored["subject"]["results"] == tagged
    for name in ("top1", "top3", "top5", "macro_f1_all", "weighted_f1", "ece"):
        assert stored["all"][name]["value"] == pytest.approx(of_bundle["all"][name]["value"], abs=1e-6), name
    assert stored["all"]["aurc"] == pytest.approx(of_bundle["all"]["aurc"], abs=1e-6)
    assert stored["confusion"] == of_bundle["confusion"]
    assert [each["file"] for each in stored["mistakes"]] == [each["file"] for each in of_bundle["mistakes"]]
    assert stored["decisions"] == of_bundle["decisions"] is not None


def test_results_are_found_by_key_where_the_images_are_elsewhere(tagged, of_bundle, tmp_path):
    shutil.copy(LABELS, tmp_path)
    stored = evaluated(tmp_path / "labels.csv", "--results", tagged)
    assert stored["all"]["top1"] == of_bundle["all"]["top1"]


def test_stored_results_and_labels_without_a_partner_are_said(tagged, tmp_path):
    (tmp_path / "labels.csv").write_text("file,labels\nsombrero.png,Hat\nnew.png,Hat\n")
    output = invoke("evaluate", tmp_path / "labels.csv", "--results", tagged).stdout
    assert "1 of 2 labelled images" in output
    assert "1 labelled images have no result: new.png" in output
    assert "19 results have no label in this split" in output


def test_the_model_that_is_named_must_be_the_one_of_the_results(tagged, tmp_path):
    from dataclasses import replace

    from cataloger.model.bundle import default_bundle_path, read_bundle, seal

    shutil.copytree(default_bundle_path(), tmp_path / "other")
    bundle = read_bundle(tmp_path / "other")
    seal(replace(bundle, labels=tuple(reversed(bundle.labels)), name="other"))
    result = invoke("evaluate", LABELS, "--results", tagged, "--model", tmp_path / "other", status=2)
    assert f"are of {TITLE}, not of other {TITLE.split()[1]}" in result.stderr
    invoke("evaluate", LABELS, "--results", tagged, "--model", "default")


def test_tables_show_the_worst_first(shop):
    labels = shop("a.png,Sunglasses", "b.png,Top", "c.png,Hat")
    lines = invoke("evaluate", labels).stdout.splitlines()
    assert lines[0] == f"{TITLE} in int8 on labels.csv, split all: 3 of 3 labelled images"
    first = next(index for index, line in enumerate(lines) if line.startswith("class, worst first"))
    assert lines[first + 1].split()[0] == "Top"
    assert "T-shirt (1)" in lines[first + 1]
    assert any(line.startswith("b.png") for line in lines)


def test_groups_are_measured_too(shop):
    labels = shop("a.png,Sunglasses,x", "b.png,Top,y", "c.png,Hat,y", header="file,labels,season")
    groups = evaluated(labels, "--report-by", "season")["groups"]
    assert {name: (group["images"], group["top1"]["value"]) for name, group in groups.items()} == {
        "x": (1, 1.0),
        "y": (2, 0.5),
    }
    assert "season" not in groups


def test_an_image_that_cannot_be_read_is_named_and_costs_no_other(shop, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    result = evaluated(shop("a.png,Sunglasses", "bad.png,Hat", "gone.png,Hat", "c.png,Hat"))
    assert result["all"]["images"] == 2
    assert [failure.split(":")[0] for failure in result["subject"]["failures"]] == ["bad.png", "gone.png"]


def test_names_with_control_characters_do_not_reach_the_terminal(shop, tmp_path):
    name = "evil\x1b[31m\u202egnp.png"
    shutil.copy(IMAGES / "silk-shirt.png", tmp_path / name)
    output = invoke("evaluate", shop(f"{name},Top", "a.png,Sunglasses")).stdout
    assert "\x1b" not in output
    assert "\u202e" not in output
    assert r"evil\x1b[31m\u202egnp.png" in output


def test_a_split_is_chosen(shop):
    labels = shop("a.png,Sunglasses,train", "b.png,Top,val", "c.png,Hat,test", header="file,labels,split")
    assert evaluated(labels)["all"]["images"] == 1
    everything = evaluated(labels, "--split", "all")
    assert everything["all"]["images"] == 3
    assert "1 images are of the split train" in everything["subject"]["notes"][0]


@pytest.mark.parametrize(
    ("rows", "arguments", "status", "message"),
    [
        (["a.png,Sunglasses", "b.png,Tshirt"], [], 1, "does not know the label 'Tshirt' (1 images), first at b.png"),
        (["a.png,Hat,val"], ["--split", "test"], 1, "has no row with split 'test'; it has val: choose with --split"),
        (["a.png,Hat,val"], ["--split", "dev"], 2, "--split must be one of train, val, test, all, not 'dev'"),
        (["a.png,Hat,"], ["--source", "x"], 2, "--source and --schema need --results, the database to measure"),
        (["a.png,Hat,"], ["--results", "nonsense"], 2, "is not a database URL"),
        (["a.png,Hat,"], ["--results", "sqlite:///none.db"], 1, "none.db has no results of cataloger"),
        (["gone.png,Hat,"], [], 1, "none of 1 images could be read; gone.png"),
        ([",Hat,"], [], 1, "labels.csv:2: the column file is empty"),
    ],
)
def test_what_cannot_work_is_one_clear_error(shop, tmp_path, monkeypatch, rows, arguments, status, message):
    monkeypatch.chdir(tmp_path)
    header = "file,labels,split" if rows[0].count(",") == 2 else "file,labels"
    result = invoke("evaluate", shop(*rows, header=header), *arguments, status=status)
    assert message in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "none.db").exists()


def test_a_password_never_shows(shop):
    url = "postgresql://shop:s3cret@127.0.0.1:1/catalog"
    result = invoke("evaluate", shop("a.png,Hat"), "--results", url, status=1)
    assert "no database server answers there" in result.stderr
    assert "s3cret" not in result.output


def test_a_report_is_written_where_it_is_asked_for(tagged, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra 'train' is not installed")
    output = tmp_path / "new" / "report"
    result = invoke("evaluate", LABELS, "--images", IMAGES, "--results", tagged, "-o", output, "--json")
    assert {path.name for path in output.iterdir()} == {
        *("report.html", "report.json", "confusion.png", "classes.png"),  # no curves of 20 images
    }
    assert json.loads((output / "report.json").read_text()) == json.loads(result.stdout)
    assert f"open {output / 'report.html'} in a browser" in result.stderr


def test_a_folder_that_cannot_be_written_is_an_error(tagged, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra 'train' is not installed")
    (tmp_path / "taken").write_text("a file")
    result = invoke("evaluate", LABELS, "--results", tagged, "-o", tmp_path / "taken", status=2)
    assert f"{tmp_path / 'taken'} is a file" in result.stderr
    result = invoke("evaluate", LABELS, "--results", tagged, "-o", "/proc/report", status=1)
    assert "/proc/report cannot be written" in result.stderr
    assert "calibration error" in result.stdout  # what was measured is not lost with it


def test_a_full_disk_leaves_the_old_report_whole(tagged, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra 'train' is not installed")
    for name in ("report.html", "confusion.png"):
        (tmp_path / name).write_text("old")
    (tmp_path / "report.json").symlink_to("/dev/full")
    result = invoke("evaluate", LABELS, "--images", IMAGES, "--results", tagged, "-o", tmp_path, status=1)
    assert result.stderr.endswith("report.json cannot be written: No space left on device\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["confusion.png", "report.html", "report.json"]
    assert {(tmp_path / name).read_text() for name in ("report.html", "confusion.png")} == {"old"}


def test_decisions_in_the_database_are_measured(tagged, tmp_path):
    copy = tmp_path / "copy.db"
    with sqlite3.connect(tagged.removeprefix("sqlite:///")) as source, sqlite3.connect(copy) as target:
        source.backup(target)
        target.execute("UPDATE cataloger_result SET decision = iif(confidence_1 >= 0.9, 'accept', 'review')")
        target.commit()
    result = evaluated(LABELS, "--results", f"sqlite:///{copy}")
    sure = next(point for point in result["thresholds"] if point["threshold"] == 0.9)
    accepted = sure["images"]
    assert 0 < accepted < 20
    assert result["decisions"]["coverage"]["value"] == accepted / 20
    assert result["decisions"]["images"] == {"accept": accepted, "review": 20 - accepted, "abstain": 0, "none": 0}
    assert result["decisions"]["precision"] == sure["accuracy"]
    assert (
        f"decisions: accept {accepted}, review {20 - accepted}"
        in invoke("evaluate", LABELS, "--results", f"sqlite:///{copy}").stdout
    )


def test_two_models_are_compared(tmp_path):
    from dataclasses import replace

    from cataloger.model.bundle import default_bundle_path, read_bundle, seal

    shutil.copytree(default_bundle_path(), tmp_path / "other")
    bundle = read_bundle(tmp_path / "other")
    exchanged = {"Hat": "Socks", "Socks": "Hat", "Belt": "Braces"}
    seal(replace(bundle, labels=tuple(exchanged.get(name, name) for name in bundle.labels), name="other"))
    arguments = ("models", "diff", "default", tmp_path / "other", LABELS, "--images", IMAGES)
    output = invoke(*arguments).stdout
    assert f"A: {TITLE}; B: other {TITLE.split()[1]}; 20 labelled images" in output
    assert "both have 49 labels; only A has Belt; only B has Braces" in output
    assert "lost more than five points of recall: Hat" in output
    values = json.loads(invoke(*arguments, "--json", "--examples", "2").stdout)
    assert (values["only_a_count"], values["only_b_count"], len(values["only_a"])) == (5, 0, 2)
    assert values["p_value"] == pytest.approx(2 / 2**5)
    (top1,) = [change for change in values["changes"] if change["name"] == "top-1"]
    assert (top1["a"], top1["b"]) == (0.7, 0.45)


def test_the_precision_of_stored_results_is_not_for_the_asking(tagged):
    result = invoke("evaluate", LABELS, "--results", tagged, "--precision", "int8", status=2)
    assert "--precision is for classifying images" in " ".join(result.stderr.split())


def test_shops_that_training_has_not_seen_stand_beside_those_that_it_has(shop):
    header = "file,labels,split,shop"
    rows = ("a.png,Hat,train,one", "b.png,T-shirt,test,one", "c.png,Hat,test,two", "a.png,Hat,test,")
    labels = shop(*rows, header=header)
    found = evaluated(labels, "--split", "test", "--group-column", "shop")["known_groups"]
    assert {kind: (each["images"], each["groups"]) for kind, each in found.items()} == {
        "unseen": (1, 1),
        "known": (1, 1),
    }
    assert set(found["unseen"]["top1"]) == {"value", "low", "high"}
    printed = invoke("evaluate", labels, "--split", "test", "--group-column", "shop").stdout
    assert [line.split()[:3] for line in printed.splitlines() if line.startswith(("unseen", "known"))] == [
        ["unseen", "1", "1"],
        ["known", "1", "1"],
    ]
    only_new = shop(*rows[2:], header=header)
    assert evaluated(only_new, "--split", "test", "--group-column", "shop")["known_groups"] == {}
