"""The page of database privileges: its statements run, each user can do what the page says, and no more."""

import csv
import re
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, select, text
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.corrections import CorrectionInput
from cataloger.db import DatabaseURL
from cataloger.reviewers import Claims, ReviewSample, SecondAnswers, Wish, assign, read_assignments, unassign
from cataloger.schema import CurrentCorrectionRow, ItemRow, open_results

ROOT = Path(__file__).parent.parent
SHOP = ROOT / "examples" / "shop"
PAGE = (ROOT / "docs" / "how-to" / "privileges.md").read_text(encoding="utf-8")
PASSWORD = "secret"
VIEWS = ("image_top5", "image_labels", "image_codes", "product_top5", "product_codes", "product_images")
SYNC = (
    "--table",
    "products",
    "--id",
    "sku",
    "--image",
    "file",
    "--image-table",
    "product_images",
    "--image-fk",
    "sku",
)
SYNC = (*SYNC, "--image-root", str(ROOT / "examples" / "images"), "--write", "category=label_1")


class Shop:
    """A database with the tables of the small shop, for users with and without privileges. admin: URL."""

    def __init__(self, admin):
        self.admin = admin

    def url(self, user=None):
        return self.admin if user is None else self.admin.set(username=user, password=PASSWORD)

    def run(self, statements, user=None):
        """Run statements; return the rows of the last one, if it has any."""
        engine, rows = create_engine(self.url(user)), []
        with engine.begin() as connection:
            for statement in filter(str.strip, statements.split(";\n")):
                result = connection.execute(text(statement.replace(":", "\\:")))
                rows = result.all() if result.returns_rows else []
        engine.dispose()
        return rows

    def command(self, user, *arguments, status=0):
        """Run a command of cataloger as a user."""
        plain = self.url(user).set(drivername=self.admin.get_backend_name())
        result = CliRunner().invoke(app, [*arguments, "--db", plain.render_as_string(hide_password=False)])
        assert result.exit_code == status, f"{user}: {arguments}: {result.output}"
        return result

    def refuses(self, statement, user):
        with pytest.raises(DBAPIError, match=r"(?i)denied"):
            self.run(statement, user)


def statements_of(heading):
    """Return the blocks of SQL below a heading of the page, with a password of ours."""
    part = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [block.replace("'...'", f"'{PASSWORD}'") for block in re.findall(r"```sql\n(.*?)```", part, re.DOTALL)]


@pytest.fixture
def postgresql_shop(postgresql_server):
    shop = new_shop(postgresql_server, "privileges")
    users, rights, columns, _own_schema = statements_of("PostgreSQL")
    shop.run(users)
    shop.command("catalog_owner", "db", "upgrade")
    shop.run(rights, "catalog_owner")
    shop.run(columns)
    return shop


@pytest.fixture
def mariadb_shop(mariadb_server):
    shop = new_shop(mariadb_server, "shop")
    # This server takes who comes from 127.0.0.1 for localhost, where an anonymous user comes before those of '%'.
    blocks = [re.sub(r"''%''|'%'", "localhost", block) for block in statements_of("MariaDB and MySQL")]
    users, query, rights, columns, _create_columns, _temporary_tables = blocks
    shop.run(users)
    shop.command("catalog_owner", "db", "upgrade")
    shop.run("\n".join(statement for (statement,) in shop.run(query)))
    shop.run(rights)
    shop.run(columns)
    return shop


def new_shop(server: URL, name):
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    shop = Shop(server.set(database=name))
    shop.run((SHOP / "schema.sql").read_text() + "\n" + (SHOP / "rows.sql").read_text())
    for column in ("category VARCHAR(100)", "category_confidence DOUBLE PRECISION"):
        shop.run(f"ALTER TABLE products ADD {column}")
    return shop


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_each_user_can_do_what_the_page_says_and_no_more(kind, request, tmp_path):
    shop = request.getfixturevalue(f"{kind}_shop")
    the_runner_tags_writes_back_and_undoes(shop)
    the_reviewer_reads_and_corrects(shop, tmp_path / "to-do.csv")
    the_reader_reads_the_views_alone(shop)


def the_runner_tags_writes_back_and_undoes(shop):
    shop.command("catalog_runner", "sync", *SYNC)
    shop.command("catalog_runner", "runs", "undo", "1")
    shop.command("catalog_runner", "sync", *SYNC, "--force")
    shop.command("catalog_runner", "runs", "prune", "--keep", "1")
    assert shop.run("SELECT category FROM products WHERE category = 'T-shirt'")
    shop.refuses("UPDATE products SET title = 'mine'", "catalog_runner")


def the_reviewer_reads_and_corrects(shop, path):
    shop.command("catalog_reviewer", "corrections", "export", str(path), "--predictions")
    with path.open(newline="") as file:
        row = next(csv.DictReader(file))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow({**row, "label": "Scarf"})
    shop.command("catalog_reviewer", "corrections", "import", str(path), "--author", "ann")
    for command in (
        ("corrections", "list"),
        ("report", "--json"),
        ("check",),
        ("runs", "list"),
        ("runs", "show", "1"),
    ):
        shop.command("catalog_reviewer", *command)
    shop.command("catalog_reviewer", "evaluate", "--corrections")
    with closing(open_results(DatabaseURL(shop.url("catalog_reviewer")))) as database:
        reviews_with_others(database)
    assert shop.run("SELECT 1 FROM cataloger_image_top5 WHERE corrected_by = 'ann'")
    shop.command("catalog_reviewer", "runs", "undo", "3", status=1)
    shop.refuses("DELETE FROM cataloger_correction", "catalog_reviewer")


def reviews_with_others(database):
    """Do what pages of the review do besides reading and correcting."""
    [item, other] = database.scalars(select(ItemRow.id).order_by(ItemRow.id).limit(2))
    for items in ((item, other), (item,), ()):
        assert Claims(database).declare(Wish("a" * 64, "Ann", items))[0] == {}
    corrected = database.scalars(select(CurrentCorrectionRow.item_id))[0]
    answers = SecondAnswers(database, ReviewSample(1.0))
    for verdict, label in (("label", "Hat"), ("label", "Tie"), ("withdrawn", None)):
        assert answers.record([CorrectionInput(corrected, verdict, label, None, None)], "ben") == {corrected}
    assign(database, "Ann", "category=Hat", "ben")
    [assignment] = read_assignments(database)
    unassign(database, assignment.id)


def the_reader_reads_the_views_alone(shop):
    for view in VIEWS:
        shop.run(f"SELECT * FROM cataloger_{view}", "catalog_reader")
    shop.refuses("SELECT * FROM cataloger_run", "catalog_reader")
    shop.refuses("SELECT * FROM products", "catalog_reader")
