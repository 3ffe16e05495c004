"""A database URL as a value: what it is equal to, and that it never shows the password."""

import copy
import re
from dataclasses import asdict

import pytest

from cataloger.db.urls import DatabaseURL
from cataloger.engine.job_report import JobOptions
from cataloger.engine.sync import SyncOptions
from cataloger.engine.tag import TagOptions
from cataloger.errors import ConfigError, UsageError
from cataloger.table_options import TableOptions
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


@pytest.mark.parametrize("line_break", ["", "\n", "\r\n"])
def test_a_url_may_stand_in_a_variable_or_a_file(tmp_path, monkeypatch, line_break):
    path = tmp_path / "shop db"
    path.write_bytes(f"{SECRET}{line_break}".encode())
    monkeypatch.setenv("SHOP_DB", f"{SECRET}{line_break}")
    monkeypatch.chdir(tmp_path)
    for text in ("env:SHOP_DB", "file:shop db", f"file:{path}", f"file://{path}"):
        assert DatabaseURL.parse(text) == DatabaseURL.parse(SECRET)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("env:SHOP_DB", "env:SHOP_DB is empty or not set"),
        (f"env:{SECRET}", "after env: stands the name of a variable"),
        ("env:", "after env: stands the name of a variable"),
        (f"file:{SECRET}", "after file: stands the name of a file"),
        ("file:nothing", "the file nothing cannot be read: No such file or directory"),
        ("file:.", "the file . cannot be read: Is a directory"),
        ("file:blank", "file:blank is empty or not set"),
        ("file:several", "file:several has several lines"),
        ("file:binary", "the file binary cannot be read: it is not in UTF-8"),
        ("file:wrong", "--db is not a database URL"),
    ],
)
def test_a_reference_that_leads_to_no_url_is_wrong_configuration_and_shows_no_secret(
    tmp_path, monkeypatch, text, message
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SHOP_DB", raising=False)
    for name, content in {
        "blank": b" \n",
        "several": f"{SECRET}\n{SECRET}\n".encode(),
        "binary": b"s3cret\xff",
        "wrong": b"s3cret",
    }.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=re.escape(message)) as raised:
        DatabaseURL.parse(text)
    assert isinstance(raised.value, ConfigError) or text == "file:wrong"
    assert "s3cret" not in str(raised.value)
