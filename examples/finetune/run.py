"""Three made-up categories, from pictures to tagged images: `python examples/finetune/run.py [FOLDER] [--photos]`.

A shop wants to know where something is worn: on the head, on the body or on the feet. The drawings of
`examples/images` stand for its photos. Copies of some of them, turned, scaled and on other backgrounds, make class
folders; other drawings are kept for validation and for the test, so that nothing is measured on what was trained on.
Then, with the extra `train` installed:

    cataloger inspect FOLDER/photos
    cataloger train FOLDER/photos --output FOLDER/model --recipe quick --epochs 4
    cataloger tag FOLDER/photos/test --model FOLDER/model --db sqlite:///FOLDER/catalog.db

About a minute on two processors. With --photos it only makes the pictures.
"""

import random
import sqlite3
import subprocess
import sys
from pathlib import Path

from PIL import Image

DRAWINGS = Path(__file__).parent.parent / "images"
CATEGORIES = {
    "On the head": {
        "train": ["baseball-cap", "blue-fedora", "red-fedora"],
        "val": ["sombrero"],
        "test": ["winter-hat"],
    },
    "On the body": {
        "train": ["t-shirt-black", "t-shirt-small-print", "summer-shorts"],
        "val": ["silk-shirt"],
        "test": ["t-shirt-print"],
    },
    "On the feet": {
        "train": ["feet-in-sandals", "tennis-shoe"],
        "val": ["flip-flops"],
        "test": ["tennis-shoes"],
    },
}
COPIES = {"train": 12, "val": 6, "test": 6}


def main(folder: Path) -> None:
    """Make the pictures, look at them, train, tag, show."""
    photos, model, catalog = folder / "photos", folder / "model", folder / "catalog.db"
    make_photos(photos)
    cataloger("inspect", photos, "--work", folder / "inspect")
    cataloger("train", photos, "--output", model, "--recipe", "quick", "--epochs", "4", "--name", "where-worn")
    cataloger("tag", photos / "test", "--model", model, "--db", f"sqlite:///{catalog}")
    show(catalog)


def make_photos(photos: Path) -> None:
    """Write photos/SPLIT/CATEGORY/NAME-NUMBER.jpg; the same every time."""
    dice = random.Random(7)
    for category, splits in CATEGORIES.items():
        for split, names in splits.items():
            (photos / split / category).mkdir(parents=True, exist_ok=True)
            for name in names:
                drawing = Image.open(DRAWINGS / f"{name}.png").convert("RGBA")
                for number in range(COPIES[split]):
                    varied(drawing, dice).save(photos / split / category / f"{name}-{number}.jpg", quality=90)


def varied(drawing: Image.Image, dice: random.Random) -> Image.Image:
    """Return a drawing turned, scaled, sometimes mirrored, somewhere on a light background."""
    side = dice.randint(150, 230)
    small = drawing.resize((side, round(side * drawing.height / drawing.width)))
    if dice.random() < 0.5:
        small = small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    small = small.rotate(dice.uniform(-20, 20), expand=True)
    canvas = Image.new("RGB", (320, 320), tuple(dice.randint(190, 255) for _ in range(3)))
    place = (dice.randint(0, max(0, 320 - small.width)), dice.randint(0, max(0, 320 - small.height)))
    canvas.paste(small, place, small)
    return canvas


def cataloger(*arguments: object) -> None:
    """Run a command of cataloger, and stop if it fails."""
    subprocess.run([sys.executable, "-P", "-m", "cataloger", *map(str, arguments)], check=True)


def show(catalog: Path) -> None:
    """Print what was said of the drawings that the model has never seen."""
    query = "SELECT key, label_1, confidence_1, decision FROM cataloger_image_top5 ORDER BY key"
    right = 0
    with sqlite3.connect(catalog) as connection:
        rows = connection.execute(query).fetchall()
    for key, label, confidence, decision in rows:
        right += key.startswith(f"{label}/")
        print(f"{key:32} {label:12} {confidence:.2f} {decision}")
    print(f"{right} of {len(rows)} right")


if __name__ == "__main__":
    names = [argument for argument in sys.argv[1:] if argument != "--photos"]
    folder = Path(names[0] if names else "demo/finetune")
    if "--photos" in sys.argv:
        make_photos(folder / "photos")
    else:
        main(folder)
