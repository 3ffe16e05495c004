"""Write the manifest that the next default model is trained on: four sources, fifty categories.

    python examples/default_model/mix.py DATA mix.csv [--most 200] [--thumbnails 100]

DATA is a folder with labels.csv (catalog photos and people's own photos, 39 categories), products.csv (titles of the
catalog photos), shops.csv (photos of many shops and crops of street photos, 50 categories) and the images they name.

The 39 categories of the older sources do not know the eleven new ones: boots hide among their casual shoes, polo
shirts among their T-shirts. Trained on as they are, they would teach the model to deny the new categories. So
training rows get new labels: one, where title or article type say it for certain; the old and the new ones, any of
them right, where they do not. Where most are what the old label says, half of them keep it, so that the old category
does not vanish. A set may hold no new category that most of its photos do not show: with Blazer in the sets of all
jackets and few photos labelled Jacket alone, a network answered Blazer for both, since any answer of a set is right.
Rows of test keep what their archive says of them.

val are the shops kept for it and nothing else, since the model is chosen and calibrated for shops that it has not
seen. Of the catalog photos at most --most of each old category are taken, sharp ones first, and then --thumbnails of
those that exist at 60x80 pixels alone, as a source of their own, so that they can be given a share of each batch.

--leave-out names photos of train with a wrong label, as wrong_labels.csv does. fashion-50 0.5 has learned from them.

--no-products adds the list that no_products.py writes: images without a label, for `cataloger train --no-product ''`.
"""

import argparse
import csv
import random
import re
from collections import Counter
from pathlib import Path

Row = dict[str, str]

COLUMNS = ("file", "labels", "split", "source", "resolution", "group", "shop")

SHOES = "Casual shoes|Sports shoes|Formal shoes|Heels|Flats|Sandals|Flip flops|Boots"

BY_PEOPLE = {
    "Polo": "Polo shirt",
    "Blazer": "Blazer",
    "Hoodie": "Hoodie",
    "Blouse": "Blouse",
    "Top": "Top|T-shirt|Blouse",
    "Longsleeve": "T-shirt|Top|Sweater|Sweatshirt|Cardigan",
    "Outwear": "Jacket|Coat|Cardigan|Sweatshirt|Sweater",
    "Shoes": SHOES,
}
"""Article types of people's own photos whose labels change.

What has an article type of its own, as polo shirts, blazers and hoodies have, is no answer for the coarser ones.
"""

BY_ARTICLE = {
    "Blazers": "Blazer",
    "Nehru Jackets": "Jacket",
    "Waistcoat": "Jacket",
    "Rain Jacket": "Jacket|Coat",
    "Jackets": "Jacket",
    "Jumpsuit": "Jumpsuit",
    "Rompers": "Jumpsuit|Dress",
    "Lehenga Choli": "Lehenga",
    "Shrug": "Cardigan|Top",
}
"""Article types of catalog photos whose labels change, whatever the title says."""

HALF_BY_ARTICLE = {
    "Tops": "Top|Blouse",
    "Tunics": "Top|Blouse|Kurta",
    "Sweaters": "Sweater|Cardigan",
    "Sweatshirts": "Sweatshirt|Hoodie",
    "Casual Shoes": "Casual shoes|Boots",
}
"""Article types of catalog photos of which every second one, drawn by its name, gets these labels."""

BY_TITLE = (
    ("Sweatshirts", r"\bhood(ed|ie|y)\b", "Hoodie"),
    ("Jackets", r"\bhood(ed|ie|y)\b", "Jacket|Hoodie"),
    ("Jackets", r"\b(over)?coat\b", "Coat"),
    ("Jackets", r"\bblazer\b", "Blazer"),
    ("Sweaters", r"\bcardigan\b", "Cardigan"),
    ("Casual Shoes", r"\b(ankle )?boots?\b", "Boots"),
    ("Heels", r"\bboots?\b", "Boots|Heels"),
    ("Formal Shoes", r"\bboots?\b", "Boots|Formal shoes"),
    ("Tshirts", r"\bpolo (t-?shirt|tshirt|tee|neck)", "Polo shirt"),
    ("Tshirts", r"\bpolo\b|\bcollar", "T-shirt|Polo shirt"),
    ("Shorts", r"\bswim", "Swimwear|Shorts"),
)
"""(article type, pattern of the title, labels) of catalog photos; the first that fits counts, before BY_ARTICLE."""

BRANDS = re.compile(r"\b(u\.?s\.? )?polo assn\.?|\bralph lauren polo\b")
"""What says polo in a title and is no shirt."""

SAME = {"Suit": "Blazer"}
"""Another name of a category among the photos of many shops."""

NEAREST = {"Tracksuit": "Track pants", "Waistcoat": "Jacket"}
"""Names that are no category: in training they count as this one, elsewhere they are left out of the set."""


def main() -> None:
    """Read the three tables, choose and relabel the rows, write the manifest, print what it holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--most", type=int, default=200, help="catalog photos of an old category at most")
    parser.add_argument(
        "--thumbnails", type=int, default=0, help="further catalog photos of 60x80 of an old category"
    )
    parser.add_argument("--leave-out", type=Path, help="list of training photos whose label is wrong")
    parser.add_argument("--no-products", type=Path, help="list of images that show no product")
    options = parser.parse_args()
    titles = {row["image"]: row["title"].lower() for row in _read(options.data / "products.csv")}
    old = _read(options.data / "labels.csv")
    rows = [*catalog_photos(old, titles, options.most), *people_photos(old), *shop_photos(options.data)]
    rows += thumbnails(old, titles, options.thumbnails, {row["file"] for row in rows})
    if options.leave_out:
        rows = without_wrong(rows, {row["file"] for row in _read(options.leave_out)})
    if options.no_products:
        rows += _read(options.no_products)
    with options.out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", restval="")
        writer.writeheader()
        for row in rows:
            shop = row["group"] if row["source"] == "shops" else row["source"]
            writer.writerow({**row, "file": str((options.data / row["file"]).absolute()), "shop": shop})
    for (split, source), count in sorted(Counter((row["split"], row["source"]) for row in rows).items()):
        print(f"{split:5} {source:12} {count:6,}")


def catalog_photos(rows: list[Row], titles: dict[str, str], most: int) -> list[Row]:
    """Return the training photos of the catalog, at most so many of each old category, and its sharp test photos."""
    photos = [row for row in rows if row["source"] == "fpi"]
    train = [row for row in photos if row["split"] == "train"]
    random.Random(0).shuffle(train)
    train.sort(key=lambda row: row["resolution"] != "224")
    taken: Counter[str] = Counter()
    chosen = []
    for row in train:
        taken[row["labels"]] += 1
        if taken[row["labels"]] <= most:
            chosen.append({**row, "labels": catalog_labels(row, titles.get(row["file"], ""))})
    return chosen + [row for row in photos if row["split"] == "test" and row["resolution"] == "224"]


def thumbnails(rows: list[Row], titles: dict[str, str], most: int, taken: set[str]) -> list[Row]:
    """Return so many training photos of 60x80 pixels of each old category that are not among the files taken."""
    small = [row for row in rows if row["source"] == "fpi" and row["split"] == "train" and row["resolution"] != "224"]
    random.Random(1).shuffle(small)
    counts: Counter[str] = Counter()
    chosen = []
    for row in small:
        if row["file"] not in taken and counts[row["labels"]] < most:
            counts[row["labels"]] += 1
            labels = catalog_labels(row, titles.get(row["file"], ""))
            chosen.append({**row, "labels": labels, "source": "thumbnails"})
    return chosen


def catalog_labels(row: Row, title: str) -> str:
    """Return the labels of a catalog photo among the fifty categories. title: in lower case."""
    title = BRANDS.sub("", title)
    for article, pattern, labels in BY_TITLE:
        if row["article_type"] == article and re.search(pattern, title):
            return labels
    half = HALF_BY_ARTICLE if random.Random(row["file"]).random() < 0.5 else {}
    return BY_ARTICLE.get(row["article_type"]) or half.get(row["article_type"], row["labels"])


def people_photos(rows: list[Row]) -> list[Row]:
    """Return the training photos that people took themselves, with new labels, and their test photos."""
    photos = [row for row in rows if row["source"] == "cc0"]
    train = [
        {**row, "labels": BY_PEOPLE.get(row["article_type"], row["labels"])}
        for row in photos
        if row["split"] == "train"
    ]
    return train + [row for row in photos if row["split"] == "test"]


def shop_photos(data: Path) -> list[Row]:
    """Return the photos of many shops and of streets that show a product; of the streets' only the training part."""
    rows = [{**row, "labels": shop_labels(row)} for row in _read(data / "shops.csv")]
    return [row for row in rows if row["labels"] and (row["source"] == "shops" or row["split"] == "train")]


def without_wrong(rows: list[Row], wrong: set[str]) -> list[Row]:
    """Return the rows without those of train that are named; a name that is no row of train is an error."""
    unknown = wrong - {row["file"] for row in rows if row["split"] == "train"}
    if unknown:
        raise SystemExit(f"--leave-out: no photo of train is called {', '.join(sorted(unknown)[:5])}")
    return [row for row in rows if row["file"] not in wrong]


def shop_labels(row: Row) -> str:
    """Return the labels of a photo of many shops or of a street among the fifty categories; "" for none."""
    names = [SAME.get(label, label) for label in row["labels"].split("|")]
    if row["split"] == "train":
        names = [NEAREST.get(name, name) for name in names]
    return "|".join(dict.fromkeys(name for name in names if name not in NEAREST))


def _read(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
