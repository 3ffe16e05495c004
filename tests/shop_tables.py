"""Somebody else's database to read product tables from, on each engine."""

import uuid
from contextlib import contextmanager

import pytest
from by_url import open_source
from sqlalchemy import MetaData, Table, create_engine, insert, make_url, text

from cataloger.queries import QuerySource
from cataloger.records import Failure
from cataloger.sources.table import TableSource
from cataloger.table_options import TableOptions

BYTES = {"sqlite": "BLOB", "postgresql": "BYTEA", "mysql": "LONGBLOB"}


@pytest.fixture(scope="module")
def shop_url(request, tmp_path_factory, engine_name):
    """URL of one database for all tests of a module; each test makes tables of its own names, or drops them."""
    if engine_name == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('shop')}/shop.db"
        return
    server = request.getfixturevalue(f"{engine_name}_server")
    name = f"tables_{uuid.uuid4().hex[:8]}"
    with administrator(server) as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    plain = server.set(drivername=server.get_backend_name(), database=name)
    yield plain.render_as_string(hide_password=False)


@contextmanager
def administrator(server):
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "mariadb"])
def engine_name(request):
    return request.param


class Shop:
    """Somebody else's database."""

    def __init__(self, url):
        self.url = url
        self.database = open_source_even_if_new(url)
        self.kind = make_url(url).get_backend_name()
        self.bytes = BYTES[self.kind]

    def run(self, *statements, **values):
        with self.database.begin() as connection:
            for statement in statements:
                connection.execute(text(statement), values)

    def insert(self, table, rows):
        if not rows:
            return
        with self.database.begin() as connection:
            connection.execute(insert(table), rows)

    def create(self, name, *columns, schema=None):
        table = Table(name, MetaData(), *columns, schema=schema)
        with self.database.begin() as connection:
            table.drop(connection, checkfirst=True)
            table.create(connection)
        return table

    def source(self, table="products", ids=("id",), image="photo", **options):
        return TableSource(self.database, TableOptions(table=table, ids=ids, image=image, **options))

    def query(self, query, ids=(), image="", **options):
        return QuerySource(self.database, TableOptions(table="", ids=ids, image=image, query=query, **options))

    def keys(self, *arguments, **options):
        return [subject_of(each).key for each in self.source(*arguments, **options).scan()]


def subject_of(each):
    return each.item if isinstance(each, Failure) else each


def open_source_even_if_new(url):
    if url.startswith("sqlite"):
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE IF NOT EXISTS ballast (id INTEGER)"))
        engine.dispose()
    return open_source(url)


@pytest.fixture
def shop(shop_url):
    opened = Shop(shop_url)
    yield opened
    opened.database.close()
