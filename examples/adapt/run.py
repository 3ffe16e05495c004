"""A shop that a model does not know, put right by sixty labels: `python examples/adapt/run.py [FOLDER [--photos]]`.

Its photos are made from the drawings of `examples/images`, each turned, scaled and on another background. You label
the sixty that teach most, adapt, look at the difference, and take it back. By hand:

    cataloger tag FOLDER/photos --db sqlite:///FOLDER/catalog.db
    cataloger review --for-adapting 60 --db sqlite:///FOLDER/catalog.db
    cataloger adapt --db sqlite:///FOLDER/catalog.db --output FOLDER/adapted
    cataloger recalibrate --db sqlite:///FOLDER/catalog.db --source FOLDER/photos --model FOLDER/adapted
    cataloger runs diff 1 RUN --db sqlite:///FOLDER/catalog.db
    cataloger report --output FOLDER/after.html --db sqlite:///FOLDER/catalog.db
    cataloger runs undo RUN --db sqlite:///FOLDER/catalog.db

In the browser one key labels an image: Enter where the model is right, 1 to 5 for another of its best five, / to
search, N where there is no product, U to undo. Here a file stands for these keys: `corrections export
--for-adapting 60` writes the same sixty images, and `corrections import` reads what was filled in.
With --photos it only makes the photos; --fill-in FILE fills a file in, --count counts the right answers.
"""

import csv
import random
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from PIL import Image

EXAMPLES = Path(__file__).parent.parent
COPIES = 8
LABELLED = 60


def main(folder: Path) -> None:
    """Make the shop, label, adapt, show the difference, undo."""
    photos, catalog, adapted = folder / "photos", folder / "catalog.db", folder / "adapted"
    db = ("--db", f"sqlite:///{catalog}")
    make_photos(photos)
    cataloger("tag", photos, *db, "--no-progress")
    to_do = folder / "to-do.csv"
    cataloger("corrections", "export", to_do, "--for-adapting", LABELLED, *db)
    fill_in(to_do)
    cataloger("corrections", "import", to_do, "--author", "me", *db)
    print("before:", counted(catalog))
    cataloger("adapt", *db, "--output", adapted)
    cataloger("recalibrate", *db, "--source", photos, "--model", adapted)
    print("after:", counted(catalog))
    cataloger("runs", "diff", 1, last_run(catalog), *db)
    cataloger("report", "--no-maps", "--output", folder / "after.html", *db)
    run = last_run(catalog)
    cataloger("runs", "undo", run, *db)
    print("undone:", counted(catalog))


def make_photos(photos: Path) -> None:
    """Make the photos of the shop, the same every time."""
    photos.mkdir(parents=True, exist_ok=True)
    dice = random.Random(3)
    for drawing in labels_of_drawings():
        with Image.open(EXAMPLES / "images" / f"{drawing}.png") as image:
            for number in range(COPIES):
                varied(image.convert("RGBA"), dice).save(photos / f"{drawing}-{number}.jpg", quality=90)
    print(f"{len(list(photos.iterdir()))} photos in {photos}")


def labels_of_drawings() -> dict[str, list[str]]:
    """Return drawing -> the labels that are right."""
    with (EXAMPLES / "labels.csv").open(encoding="utf-8", newline="") as file:
        return {row["file"].removesuffix(".png"): row["labels"].split("|") for row in csv.DictReader(file)}


def labels_of(photo: str) -> list[str]:
    """Return the labels that are right for a photo, which its name tells."""
    return labels_of_drawings()[photo.rpartition("-")[0]]


def varied(drawing: Image.Image, dice: random.Random) -> Image.Image:
    """Return a drawing turned, scaled, and somewhere on a dark background, as no photo of the training was."""
    side = dice.randint(110, 210)
    small = drawing.resize((side, round(side * drawing.height / drawing.width)))
    small = small.rotate(dice.uniform(-60, 60), expand=True)
    canvas = Image.new("RGB", (320, 320), tuple(dice.randint(20, 150) for _ in range(3)))
    place = (dice.randint(0, max(0, 320 - small.width)), dice.randint(0, max(0, 320 - small.height)))
    canvas.paste(small, place, small)
    return canvas


def fill_in(to_do: Path) -> None:
    """Do what a person does with the file: name the category of each image."""
    with to_do.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    with to_do.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "verdict": "label", "label": labels_of(row["key"])[0]} for row in rows)


def counted(catalog: Path) -> str:
    """Say how many of the images that nobody has labelled are right in the views, and how far accept holds."""
    query = "SELECT key, label_1, decision FROM cataloger_image_top5 WHERE corrected_by IS NULL"
    with closing(sqlite3.connect(catalog)) as connection:
        rows = connection.execute(query).fetchall()
    right = [label in labels_of(key) for key, label, _ in rows]
    accepted = [is_right for is_right, (*_, decision) in zip(right, rows, strict=True) if decision == "accept"]
    return f"{sum(right)} of {len(rows)} right; {len(accepted)} accepted, {sum(accepted)} of these right"


def last_run(catalog: Path) -> int:
    """Return the number of the last run, as `cataloger runs list` shows it."""
    with closing(sqlite3.connect(catalog)) as connection:
        (number,) = connection.execute("SELECT MAX(id) FROM cataloger_run").fetchone()
    return int(number)


def cataloger(*arguments: object) -> None:
    """Run a command as one would type it, and stop if it fails."""
    print(f"$ cataloger {shlex.join(map(str, arguments))}", flush=True)
    subprocess.run([sys.executable, "-P", "-m", "cataloger", *map(str, arguments)], check=True)


if __name__ == "__main__":
    folder, *what = sys.argv[1:] or ["demo/adapt"]
    if what == ["--photos"]:
        make_photos(Path(folder) / "photos")
    elif what[:1] == ["--fill-in"]:
        fill_in(Path(what[1]))
    elif what == ["--count"]:
        print(counted(Path(folder) / "catalog.db"))
    else:
        main(Path(folder))
