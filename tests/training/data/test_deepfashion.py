"""DeepFashion's category benchmark, on generated files in the official format."""

import pytest
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.errors import TrainingError
from cataloger.model.bundle import read_bundle
from cataloger.training.data.read import read_dataset
from cataloger.training.options import DataOptions

CATEGORIES = [("Anorak", 1), ("Blazer", 1), ("Blouse", 1), ("Cape", 1), ("Dress", 3)]
IMAGES = [
    ("img/Sheer_Pleated-Front_Blouse/img_00000001.jpg", 3, "train"),
    ("img/Sheer Blouse/img 00000002.jpg", 3, "val"),
    ("img/Classic_Blazer/img_00000001.jpg", 2, "test"),
    ("img/Maxi_Dress/img_00000001.jpg", 5, "train"),
]


def table(header, rows):
    width = max(len(str(row[0])) for row in rows) + 4
    return "\n".join([str(len(rows)), header, *(f"{name!s:<{width}}{value}" for name, value in rows)]) + "\n"


@pytest.fixture
def benchmark(tmp_path):
    def make(anno="Anno", evaluation="Eval", image_base=".", **changes):
        folder = tmp_path / "DeepFashion"
        files = {
            f"{anno}/list_category_cloth.txt": table("category_name  category_type", CATEGORIES),
            f"{anno}/list_category_img.txt": table("image_name  category_label", [row[:2] for row in IMAGES]),
            f"{evaluation}/list_eval_partition.txt": table(
                "image_name  evaluation_status", [(row[0], row[2]) for row in IMAGES]
            ),
            # Never to be read: not even valid text.
            f"{anno}/list_landmarks.txt": "\0",
        }
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(changes.get(path.stem, content))
        for name, _, _ in IMAGES:
            path = folder / image_base / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        return folder

    return make


@pytest.mark.parametrize(
    ("anno", "evaluation", "image_base"), [("Anno", "Eval", "."), ("Anno_coarse", "Eval", "Img"), (".", ".", ".")]
)
def test_categories_splits_and_paths_are_read_wherever_the_files_stand(benchmark, anno, evaluation, image_base):
    folder = benchmark(anno, evaluation, image_base)
    data = read_dataset(DataOptions(data=folder))
    assert [(example.file, example.labels, example.split) for example in data.examples] == [
        (IMAGES[0][0], ("Blouse",), "train"),
        (IMAGES[1][0], ("Blouse",), "val"),
        (IMAGES[2][0], ("Blazer",), "test"),
        (IMAGES[3][0], ("Dress",), "train"),
    ]
    assert all(example.path.is_file() for example in data.examples)


def test_every_category_is_kept_and_those_without_images_are_named(benchmark):
    data = read_dataset(DataOptions(data=benchmark()))
    assert data.labels == ("Anorak", "Blazer", "Blouse", "Cape", "Dress")
    assert [problem.place for problem in data.problems if problem.kind == "empty_class"] == ["Anorak", "Cape"]


def test_boxes_that_are_there_are_said_to_be_unused(benchmark):
    folder = benchmark()
    (folder / "Anno" / "list_bbox.txt").write_text("0\nimage_name x_1 y_1 x_2 y_2\n")
    problems = read_dataset(DataOptions(data=folder)).problems
    assert [problem.place for problem in problems if problem.kind == "boxes_unused"] == ["Anno/list_bbox.txt"]


def test_images_may_lie_elsewhere(benchmark, tmp_path):
    data = read_dataset(DataOptions(data=benchmark(), images=tmp_path / "ssd"))
    assert data.examples[0].path == tmp_path / "ssd" / IMAGES[0][0]


def test_an_image_that_one_of_the_lists_lacks_is_named(benchmark):
    partition = table(
        "image_name evaluation_status", [(row[0], row[2]) for row in IMAGES[:3]] + [("img/x.jpg", "val")]
    )
    data = read_dataset(DataOptions(data=benchmark(list_eval_partition=partition)))
    assert len(data.examples) == 3
    assert [(problem.kind, problem.place) for problem in data.problems[:2]] == [
        ("no_split", f"list_category_img.txt:6 ({IMAGES[3][0]})"),
        ("no_label", "list_eval_partition.txt (img/x.jpg)"),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"list_category_img": "3\nimage_name  category_label\nimg/a.jpg 1\n"},
            "says that it has 3 entries, but has 1",
        ),
        ({"list_category_img": "1\nimage_name  category_label\nimg/a.jpg 9\n"}, "img.txt:3: the category is '9'"),
        ({"list_category_img": "1\nimage_name  category_label\nimg/a.jpg 0\n"}, "has 1 to 5"),
        (
            {"list_category_img": "image_name  category_label\nimg/a.jpg 1\n"},
            "img.txt:1 must be the number of entries",
        ),
        (
            {"list_category_img": "1\nimage_name  category_label\nimg/a.jpg\n"},
            "img.txt:3 must hold a name and a value",
        ),
        ({"list_eval_partition": "1\nimage_name status\nimg/a.jpg query\n"}, "partition.txt:3: the split is 'query'"),
        ({"list_category_cloth": "2\nname type\nHat 1\nHat 1\n"}, "names the category 'Hat' twice"),
    ],
)
def test_a_list_that_cannot_be_right_is_an_error_that_names_the_line(benchmark, changes, message):
    with pytest.raises(TrainingError, match=message):
        read_dataset(DataOptions(data=benchmark(**changes)))


def test_a_missing_list_is_named(benchmark):
    folder = benchmark()
    (folder / "Eval" / "list_eval_partition.txt").unlink()
    with pytest.raises(TrainingError, match=r"lacks Eval/list_eval_partition.txt or list_eval_partition.txt"):
        read_dataset(DataOptions(data=folder))


@pytest.mark.slow
@pytest.mark.usefixtures("one_export")
def test_the_paper_is_repeated_by_one_command(tmp_path, save_picture):
    pytest.importorskip("onnxscript", reason="the extra 'train' is not installed")
    folder = tmp_path / "DeepFashion"
    splits = ["train"] * 16 + ["val"] * 4 + ["test"] * 4
    rows = [(f"img/Look_{n}/img_00000001.jpg", 2 + 3 * (n % 2), split) for n, split in enumerate(splits)]
    for number, (name, _, _) in enumerate(rows):
        save_picture(folder / name, number)
    files = {
        "Anno/list_category_cloth.txt": table("category_name  category_type", CATEGORIES),
        "Anno/list_category_img.txt": table("image_name  category_label", [row[:2] for row in rows]),
        "Eval/list_eval_partition.txt": table("image_name  evaluation_status", [(row[0], row[2]) for row in rows]),
        "Anno/list_landmarks.txt": "\0",
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    command = ["train", folder, "--recipe", "paper", "--epochs", 1, "--output", tmp_path / "model", "--no-progress"]
    done = CliRunner().invoke(app, [str(argument) for argument in command])
    assert done.exit_code == 0, done.stderr
    bundle = read_bundle(tmp_path / "model")
    assert bundle.labels == tuple(name for name, _ in CATEGORIES)
    assert bundle.provenance["data"]["images"] == {"train": 16, "val": 4, "test": 4}
    recipe = bundle.provenance["recipe"]
    paper = {"optimizer": "sgd", "batch_size": 16, "learning_rate": 1e-4, "schedule": "plateau", "frozen": True}
    assert {name: recipe[name] for name in paper} == paper
    assert recipe["label_smoothing"] == 0.0
    assert "16 train" in done.stderr
