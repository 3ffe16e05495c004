"""Each preset on the system's own tables, in the real engine: two nights, a colleague's edits, and undone."""

import csv
import io
import json
from pathlib import Path

import pytest
import shop_systems as systems
from sqlalchemy import create_engine, make_url
from typer.testing import CliRunner

from cataloger.cli.app import app

IMAGES = Path(__file__).parents[2] / "examples" / "images"
PICTURES = sorted(path.name for path in IMAGES.glob("*.png"))
ANY_DECISION = [flag for each in ("accept", "review", "abstain") for flag in ("--only-decision", each)]
PASSWORD = "secret"


class Shop:
    """A shop with a folder of its own, beside a twin without cataloger in which people do the same."""

    def __init__(self, system, url, folder):
        self.system = system
        self.admin = make_url(url)
        self.folder = folder
        self.engine = create_engine(self.admin.set(drivername=DRIVERS[system.engine]))
        # Short: a name of Magento's has 52 letters, and 64 is the limit.
        self.twin = f"t{systems.SYSTEMS.index(type(system))}_"
        self.products = {}
        for prefix in (system.prefix, self.twin):
            self.execute(prefix, *system.make, *system.own)
        self.db = self.of_runner()

    def execute(self, prefix, *statements):
        with self.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement.format(p=prefix))

    def rows(self, query, prefix=None):
        with self.engine.begin() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query.format(p=prefix or self.system.prefix))]

    def both(self, *statements):
        """Have people do something in both shops."""
        for prefix in (self.system.prefix, self.twin):
            self.execute(prefix, *statements)

    def add(self, number, picture, count):
        """Add a product with pictures that all show the same."""
        pictures = [(number * 10 + n, picture) for n in range(count)]
        statements, files = self.system.product(number, pictures)
        self.both(*statements)
        for path, name in files.items():
            self.put(path, name)
        self.products[number] = list(files)

    def put(self, path, picture):
        """Make a file hold a picture."""
        target = self.folder / self.system.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((IMAGES / picture).read_bytes())

    def dump(self, prefix):
        return {
            table.format(p=""): sorted(map(str, self.rows(f"SELECT {columns} FROM {table}", prefix)))
            for table, columns in self.system.tables.items()
        }

    def categories(self):
        """Return pairs of a product and a category as the shop reads them."""
        return {(int(product), int(code)) for product, code in self.rows(self.system.where) if code is not None}

    def of_runner(self):
        """Make a user that has the privileges that the preset names and those on our own tables, and no more."""
        name = f"runner_{self.twin}{self.admin.database}"
        own = [row[0] for row in self.rows(OWN_TABLES[self.system.engine])]
        shown = json.loads(self.cataloger("presets", "show", *self.preset_flags(), "--json"))
        self.source, backend = shown["flags"]["source-name"], DRIVERS[self.system.engine].partition("+")[0]
        grants = shown["privileges_by_database"][backend]
        assert shown["privileges"] == next(iter(shown["privileges_by_database"].values()))
        if self.system.engine == "mariadb":
            user, schema = f"{name}@localhost", f"{self.admin.database}."
            made = [f"CREATE USER {user} IDENTIFIED BY '{PASSWORD}'"]
        else:
            user, schema, made = name, "", [f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'"]
        made += [f"GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}{table} TO {user}" for table in own]
        made += [
            each.rstrip(";")
            .replace("catalog_runner@'%'", user)
            .replace("catalog_runner", user)
            .replace("shop.", schema)
            for each in grants
        ]
        self.execute("", *made)
        return self.admin.set(username=name, password=PASSWORD).render_as_string(hide_password=False)

    def preset_flags(self):
        settings = [flag for name, value in self.system.settings.items() for flag in ("--set", f"{name}={value}")]
        return [self.system.preset, "--prefix", self.system.prefix, "--set", f"folder={self.folder}", *settings]

    def cataloger(self, *arguments, status=0, text=""):
        result = CliRunner().invoke(app, list(map(str, arguments)))
        assert (result.exit_code, text in result.output) == (status, True), result.output
        return result.stdout

    def sync(self, *flags, status=0, text=""):
        arguments = ("--preset", *self.preset_flags(), "--db", self.db, *ANY_DECISION, "--json", *flags)
        printed = self.cataloger("sync", *arguments, status=status, text=text)
        return json.loads(printed) if printed else None

    def undo(self, run):
        self.cataloger("runs", "undo", run, "--skip-edited", "--db", self.db)

    def answers(self):
        """Return product -> code, as the views have it."""
        query = f"SELECT product_key, code FROM cataloger_product_codes WHERE source = '{self.source}'"
        return {
            int(product): int(code) for product, code in self.rows(query + f" AND {RANK[self.system.engine]} = 1")
        }

    def label_map(self, path):
        """Complete the template of the label map: what the shop does not call like the model."""
        printed = self.cataloger("presets", "label-map", *self.preset_flags(), "--db", self.db)
        lines = list(csv.DictReader(io.StringIO(printed)))
        for line in lines:
            code = systems.CODES.get(line["label"])
            line["code"] = str(code) if code else "ignore"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, lines[0])
            writer.writeheader()
            writer.writerows(lines)
        return path


DRIVERS = {"mariadb": "mysql+pymysql", "postgresql": "postgresql+psycopg"}
RANK = {"mariadb": "`rank`", "postgresql": "rank"}
OWN_TABLES = {
    "mariadb": "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() "
    "AND table_name LIKE 'cataloger%%'",
    "postgresql": "SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'cataloger%%'",
}


@pytest.fixture(scope="module")
def url_of(make_tables, tmp_path_factory):
    """Return a function: engine -> the URL of one database with our tables for all systems."""
    made = {}

    def url_of(engine):
        if engine not in made:
            made[engine] = make_tables(engine, tmp_path_factory.mktemp("shops"))
        return made[engine]

    return url_of


@pytest.mark.parametrize("make", systems.SYSTEMS)
def test_the_category_stands_where_the_shop_reads_it(make, url_of, tmp_path):
    play(Shop(make(), url_of(make().engine), tmp_path / "www"), 6, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("make", systems.SYSTEMS)
def test_two_hundred_products(make, make_tables, tmp_path):
    play(Shop(make(), make_tables(make().engine, tmp_path), tmp_path / "www"), 200, tmp_path)


def play(shop, count, folder):
    for number in range(1, count + 1):
        shop.add(number, PICTURES[number % len(PICTURES)], 1 + number % 3)
    codes = folder / "codes.csv"
    shop.sync("--dry-run", status=2, text=f"cataloger presets label-map {shop.system.preset}")
    codes.write_text("label,code\nHat,34\nT-shirt,77\n")
    shop.sync("--label-map", codes, status=2, text="no category of the shop has the id 77 (T-shirt)")
    shop.label_map(codes)
    check(shop, codes)
    first = first_night(shop, codes)
    second = second_night(shop, codes, count)
    shop.undo(second)
    shop.undo(first)
    assert shop.dump(shop.system.prefix) == shop.dump(shop.twin)


def check(shop, codes):
    before = shop.dump(shop.system.prefix)
    arguments = ("presets", "check", *shop.preset_flags(), "--db", shop.db)
    found = json.loads(shop.cataloger(*arguments, "--label-map", codes, "--json"))["findings"]
    assert [each["subject"] for each in found if not each["is_fine"]] == []
    missing = shop.cataloger(*arguments, "--set", "folder=/nowhere", status=2)
    assert "MISSING images: 0 of" in missing
    assert "MISSING label map: not given" in missing
    assert shop.dump(shop.system.prefix) == before


def first_night(shop, codes):
    before = shop.categories()
    report = shop.sync("--label-map", codes)
    images = sum(map(len, shop.products.values()))
    assert (report["done"], report["failed"], report["preset"]) == (images, 0, shop.system.preset)
    answers = shop.answers()
    assert answers.keys() == shop.products.keys()
    assert set(answers.values()) <= set(systems.CODES.values())
    assert len(set(answers.values())) > 1
    assert shop.categories() - before == set(answers.items()) - before
    return report["run_id"]


def second_night(shop, codes, count):
    """Sync once more after people and the shop have changed something; return the run."""
    unlinked, chosen, moved, repainted, removed = 1, 2, 3, 4, 5
    answers = shop.answers()
    other = next(code for code in systems.CODES.values() if code not in (answers[chosen], answers[moved]))
    shop.execute(shop.system.prefix, *shop.system.unlink(unlinked, answers[unlinked]))
    shop.both(*shop.system.choose(chosen, other))
    if shop.system.has_places:
        shop.both(*shop.system.link(moved, answers[moved], 9))
    shop.both(*shop.system.remove(removed))
    shop.add(count + 1, "sombrero.png", 1)
    picture = "sunglasses.png" if answers[repainted] != systems.CODES["Sunglasses"] else "sombrero.png"
    for path in shop.products[repainted]:
        shop.put(path, picture)
    shop.both(*(s for n in range(repainted * 10, repainted * 10 + 3) for s in shop.system.repaint(n)))
    report = shop.sync("--label-map", codes)
    assert report["done"] == 1 + len(shop.products[repainted])
    assert report["gone"] == len(shop.products[removed])
    now, found = shop.answers(), shop.categories()
    assert now.keys() == shop.products.keys() - {removed}
    assert now[repainted] != answers[repainted]
    assert {(repainted, now[repainted]), (count + 1, now[count + 1]), (chosen, other)} <= found
    assert not {(repainted, answers[repainted]), (unlinked, answers[unlinked])} & found
    return report["run_id"]
