"""Databases with our tables, copied from one that the migrations have made: they take longer than most tests."""

import itertools
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import by_url
import pymysql
from pymysql.constants import CLIENT
from sqlalchemy import create_engine, text

from cataloger.db.connections import connect

NAME = "cataloger_template"
numbers = itertools.count()


def new_name():
    """Return a name for a database that none has in this process."""
    return f"shop_{next(numbers)}"


@contextmanager
def own_database(server_url):
    """Give the URL of a new database of a server, as a user writes it."""
    name = new_name()
    create(server_url, name)
    yield url_of(server_url, name)


def copy_file(template, path):
    """Make a SQLite file; template: one with our tables, which is made where there is none yet."""
    if not template.exists():
        by_url.upgrade(f"sqlite:///{template}")
    shutil.copyfile(template, path)


def copying(upgrade_with, template):
    """Return what does as `upgrade_with`, and makes a new SQLite file by copying."""

    def copy_or_upgrade(engine, *, schema=None, is_new=False):
        path = Path(engine.url.database or "")
        if schema or not is_new or path == template or not os.access(path.parent, os.W_OK):
            return upgrade_with(engine, schema=schema, is_new=is_new)
        return copy_file(template, path)

    return copy_or_upgrade


def url_of(server_url, name):
    """Return the URL of a database of a server, as a user writes it."""
    plain = server_url.set(drivername=server_url.get_backend_name(), database=name)
    return plain.render_as_string(hide_password=False)


def create(server_url, name, template=None):
    """Create a database. template: of PostgreSQL, to copy; nobody may be connected to it."""
    engine = create_engine(server_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else "")))
    engine.dispose()


class Templates:
    """Our tables on one server, made by the migrations when they are asked for first."""

    def __init__(self, server_url):
        self.server_url = server_url
        self.is_postgresql = server_url.get_backend_name() == "postgresql"
        self.script = None

    def create(self, name):
        """Create a database with our tables; return its URL."""
        if self.script is None:
            create(self.server_url, NAME)
            by_url.upgrade(url_of(self.server_url, NAME))
            self.script = "" if self.is_postgresql else script_of(url_of(self.server_url, NAME))
        create(self.server_url, name, NAME if self.is_postgresql else None)
        if not self.is_postgresql:
            run_script(self.server_url.set(database=name), self.script)
        return url_of(self.server_url, name)


def script_of(url):
    """Return the statements that make the tables of a database of MariaDB as they are."""
    engine = by_url.make_engine(url)
    with connect(engine) as connection:
        kinds = dict(map(tuple, connection.execute(text("SHOW FULL TABLES"))))
        found = {name: tuple(connection.execute(text(f"SHOW CREATE TABLE {name}")).one())[1] for name in kinds}
        revision = connection.scalar(text("SELECT version_num FROM cataloger_alembic_version"))
    engine.dispose()
    views = [name for name, kind in kinds.items() if kind == "VIEW"]
    made = [found[name] for name in kinds if name not in views]
    made.append(f"INSERT INTO cataloger_alembic_version VALUES ('{revision}')")
    while views:  # each after those that it reads
        ready = [name for name in views if not any(f"`{other}`" in found[name] for other in views if other != name)]
        made += [found[name] for name in ready]
        views = [name for name in views if name not in ready]
    return ";\n".join(["SET foreign_key_checks = 0", *made]).replace(f"`{NAME}`.", "")


def run_script(url, script):
    """Run several statements in one go."""
    values = url.translate_connect_args(username="user")
    with pymysql.connect(**values, client_flag=CLIENT.MULTI_STATEMENTS, autocommit=True) as connection:
        cursor = connection.cursor()
        cursor.execute(script)
        while cursor.nextset():
            pass
