"""A database URL as a value: what it is equal to, and that it never shows the password."""

import copy
from dataclasses import asdict

import pytest

from cataloger.db.urls import DatabaseURL
from cataloger.engine.job_report import JobOptions
from cataloger.engine.sync import SyncOptions
from cataloger.engine.tag import TagOptions
from cataloger.errors import UsageError
from cataloger.options import TableOptions
from cataloger.training.options import DataOptions

SECRET = "postgresql://shop:s3cret@db:5433/catalog?sslpassword=s3cret"
TABLE = TableOptions(table="products", ids=("id",), image="photo")


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{!r}".format], ids=["repr", "str", "format", "format_r"])
@pytest.mark.parametrize(
    "hold",
    [
        lambda url: url,
        lambda url: TagOptions((), db=url),
        lambda url: SyncOptions(url, TABLE, ledger_db=url),
        lambda url: SyncOptions(url, TABLE, ledger_db=url).job(),
        lambda url: JobOptions("tag", {}, url),
        lambda url: DataOptions(corrections=True, db=url),
        lambda url: asdict(TagOptions((), db=url)),
    ],
    ids=["itself", "tag", "sync", "sync_job", "job", "data", "asdict"],
)
def test_nothing_that_holds_a_url_shows_its_password(show, hold):
    shown = show(hold(DatabaseURL.parse(SECRET)))
    assert "s3cret" not in shown
    assert "postgresql+psycopg://shop:***@db:5433/catalog" in shown


def test_the_driver_gets_the_password():
    assert DatabaseURL.parse(SECRET).parsed.password == "s3cret"


def test_urls_of_the_same_parts_are_equal():
    first, second = DatabaseURL.parse(SECRET), DatabaseURL.parse(SECRET)
    assert first == second
    assert hash(first) == hash(second)
    assert first != DatabaseURL.parse(SECRET.replace("shop", "other"))
    assert first != SECRET
    assert copy.deepcopy(first) == first


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("postgresql://shop:s3cret@db:5433/catalog", "db:5433/catalog"),
        ("postgresql+psycopg2://other@db:5433/catalog", "db:5433/catalog"),
        ("mysql:///catalog", "localhost/catalog"),
        ("sqlite:////srv/x/../catalog.db", "/srv/catalog.db"),
    ],
)
def test_the_server_is_the_same_whoever_connects_and_how(url, server):
    assert DatabaseURL.parse(url).server == server


@pytest.mark.parametrize("port", ["0", "65536", "99999999"])
def test_a_port_that_cannot_be_is_wrong_usage(port):
    with pytest.raises(UsageError, match=f"port {port}; a port is a number from 1 to 65535"):
        DatabaseURL.parse(f"postgresql://shop@db:{port}/catalog")


def test_a_url_cannot_be_changed():
    with pytest.raises(AttributeError):
        DatabaseURL.parse(SECRET).parsed = None
