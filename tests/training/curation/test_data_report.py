"""The data report: counts, tiny categories, contradictions and leaks, each with the names of the files."""

import csv

import numpy as np
import pytest

pytest.importorskip("imagehash", reason="the extra 'train' is not installed")

from cataloger.errors import TrainingError
from cataloger.options import PreprocessSpec
from cataloger.training.curation.prepare import prepare_data
from cataloger.training.options import DataOptions


class Watcher:
    def stage(self, name, total):
        pass

    def advance(self, done):
        pass


@pytest.fixture
def report(tmp_path, save_picture):
    """Write pictures and a manifest of (file, number of the picture, label, split, product), and prepare them."""

    def of(rows, **options):
        lines = ["image,label,split,product"]
        for file, number, label, split, product in rows:
            if number is not None:
                save_picture(tmp_path / file, number, side=96)
            lines.append(f"{file},{label},{split},{product}")
        (tmp_path / "labels.csv").write_text("\n".join(lines))
        options = DataOptions(data=tmp_path / "labels.csv", **options)
        return prepare_data(options, PreprocessSpec(), tmp_path / "work", Watcher())

    return of


def many(label, split, count, start):
    return [(f"{label}{split}{n}.png", start + n, label, split, "") for n in range(count)]


CLEAN = [
    *many("Hat", "train", 12, 0),
    *many("Top", "train", 12, 100),
    *many("Hat", "val", 2, 200),
    *many("Top", "val", 2, 300),
    *many("Hat", "test", 1, 400),
]


def found(prepared):
    return {(problem.kind, problem.place): problem.message for problem in prepared.report.problems}


def test_clean_data_has_counts_and_no_problem(report, tmp_path):
    prepared = report(CLEAN)
    assert prepared.report.splits == {"train": 24, "val": 4, "test": 1}
    assert prepared.report.labels["Hat"] == {"train": 12, "val": 2, "test": 1}
    assert list(prepared.lines()) == [
        "data: 29 images in 2 categories: 24 train, 4 val, 1 test",
        f"data: all of this is in {tmp_path}/work/data.html, for a browser",
    ]
    assert "Nothing was found that is wrong with these data" in prepared.page.read_text()
    assert prepared.problems_file is None
    assert not (tmp_path / "work" / "problems.csv").exists()


def test_tiny_categories_and_those_without_val_are_named(report):
    prepared = report([*CLEAN, *many("Bag", "train", 3, 500)])
    assert found(prepared) == {("tiny_class", "Bag"): "3 in train", ("no_val", "Bag"): "3 in train, 0 in test"}


def test_unreadable_files_are_named_and_left_out(report, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    prepared = report([*CLEAN, ("bad.png", None, "Hat", "train", ""), ("missing.png", None, "Top", "val", "")])
    assert [place for kind, place in found(prepared) if kind == "unreadable"] == ["bad.png", "missing.png"]
    assert prepared.report.images == 29
    assert len(prepared.dataset.examples) == 29


def test_identical_files_with_other_labels_are_named_once(report):
    prepared = report([*CLEAN, ("copy.png", 0, "Top", "train", "")])
    assert found(prepared) == {("conflict_bytes", "Hattrain0.png"): "Hat: Hattrain0.png; Top: copy.png"}
    assert (prepared.report.duplicates, prepared.report.near_duplicates) == (1, 1)


def test_look_alikes_with_other_labels_are_named(report):
    prepared = report([*CLEAN, ("copy.jpg", 0, "Top", "train", "")])
    assert found(prepared) == {("conflict_looks", "Hattrain0.png"): "Hat: Hattrain0.png; Top: copy.jpg"}
    assert (prepared.report.duplicates, prepared.report.near_duplicates) == (0, 1)


def test_labels_that_share_one_do_not_contradict(report):
    assert found(report([*CLEAN, ("copy.png", 0, "Hat|Top", "train", "")])) == {}


def test_leaks_between_splits_are_named_by_what_they_share(report):
    rows = [
        ("copy.png", 0, "Hat", "test", ""),
        ("alike.jpg", 101, "Top", "val", ""),
        ("p1.png", 600, "Hat", "train", "p"),
        ("p2.png", 601, "Hat", "val", "p"),
    ]
    assert found(report([*CLEAN, *rows])) == {
        ("leak_bytes", "Hattrain0.png"): "test: copy.png; train: Hattrain0.png",
        ("leak_looks", "Toptrain1.png"): "train: Toptrain1.png; val: alike.jpg",
        ("leak_product", "p1.png"): "train: p1.png; val: p2.png",
    }


def test_splits_that_are_made_leak_nothing_and_are_written_down(report, tmp_path):
    rows = [(f"{n}.png", n % 30, "Hat" if n % 30 < 15 else "Top", "", f"p{n // 2}") for n in range(60)]
    prepared = report(rows)
    assert not [kind for kind, _ in found(prepared) if kind.startswith("leak")]
    assert prepared.splits_file == tmp_path / "work" / "splits.csv"
    again = prepare_data(DataOptions(data=prepared.splits_file), PreprocessSpec(), tmp_path / "work", Watcher())
    assert [(e.path, e.labels, e.split, e.product) for e in again.dataset.examples] == [
        (e.path, e.labels, e.split, e.product) for e in prepared.dataset.examples
    ]
    assert again.splits_file is None


def test_labels_and_products_that_look_like_formulas_come_back_from_the_splits(report, tmp_path):
    rows = [(f"{n}.png", n % 30, "=HYPERLINK(1)" if n % 30 < 15 else "-2", "", f"-{n // 2}") for n in range(60)]
    prepared = report(rows)
    assert "'=HYPERLINK(1)" in (tmp_path / "work" / "splits.csv").read_text()
    again = prepare_data(DataOptions(data=prepared.splits_file), PreprocessSpec(), tmp_path / "work", Watcher())
    assert again.dataset.labels == ("-2", "=HYPERLINK(1)")
    assert {e.product for e in again.dataset.examples} == {f"-{n}" for n in range(30)}


def test_one_group_of_much_of_the_data_is_named(report):
    rows = [(f"g{n}.png", 700 + n, "Hat", "train", "no number") for n in range(25)]
    (message,) = [m for (kind, _), m in found(report([*CLEAN, *rows])).items() if kind == "large_group"]
    assert message == "25 images of 1 products belong together; is --product-column right?"


def test_every_problem_is_in_the_file_and_the_first_few_in_the_lines(report, tmp_path):
    missing = [(f"missing{n}.png", None, "Hat", "train", "") for n in range(7)]
    prepared = report([*CLEAN, *missing])
    with (tmp_path / "work" / "problems.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["place"] for row in rows] == [f"missing{n}.png" for n in range(7)]
    assert {row["kind"] for row in rows} == {"unreadable"}
    (line,) = [line for line in prepared.lines() if line.startswith("unreadable (7): ")]
    assert "missing2.png" in line
    assert "missing3.png" not in line
    assert line.endswith("; and 4 more")


def test_a_hostile_file_name_does_not_reach_the_terminal_as_it_is(report):
    prepared = report([*CLEAN, ("\x1b[31mred.png", None, "Hat", "train", "")])
    assert not any("\x1b" in line for line in prepared.lines())


def test_nothing_readable_is_an_error_that_names_the_first(report):
    with pytest.raises(TrainingError, match=r"none of 2 images could be read; the first: a.png: "):
        report([("a.png", None, "Hat", "train", ""), ("b.png", None, "Top", "val", "")])


def test_the_inventory_keeps_its_order_when_some_are_left_out(report):
    prepared = report([("missing.png", None, "Hat", "train", ""), *CLEAN])
    assert len(prepared.dataset.examples) == 29
    assert np.array_equal([e.file for e in prepared.dataset.examples], [row[0] for row in CLEAN])


def test_images_without_a_product_are_counted_split_and_compared(report):
    hats = [(f"hat{i}.png", i, "Hat", "", "") for i in range(12)]
    tops = [(f"top{i}.png", 20 + i, "Top", "", "") for i in range(12)]
    others = [(f"other{i}.png", 40 + i, "", "", "") for i in range(12)]
    copies = [("copy1.png", 41, "", "", ""), ("copy2.png", 3, "", "", "")]
    found = report([*hats, *tops, *others, *copies], no_product="")
    assert sum(found.report.no_product.values()) == 14
    assert min(found.report.no_product.values()) >= 1
    assert found.report.labels.keys() == {"Hat", "Top"}
    by_kind = found.report.by_kind()
    assert "no_label" not in by_kind
    (conflict,) = by_kind["conflict_bytes"]
    assert conflict.message == "Hat: hat3.png; no product: copy2.png"
    assert f"data: 14 of them show no product: {found.report.no_product['train']} train" in "\n".join(found.lines())


def test_a_label_that_no_image_has_is_an_error(report):
    with pytest.raises(TrainingError, match=r"no image of .* has the label 'Nothing'"):
        report([("a.png", 1, "Hat", "train", ""), ("b.png", 2, "Top", "val", "")], no_product="Nothing")
