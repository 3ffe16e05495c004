"""Ledgers that older versions have made: a dump in `tests/data`, and what that version showed of it.

`load` brings one into an empty database and lays out its photos; the fixture `old_ledger` does so on each engine and
upgrades it.
"""

import gzip
import importlib.util
import json
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pymysql.constants import CLIENT
from sqlalchemy import create_engine, make_url
from typer.testing import CliRunner

from cataloger.cli.app import app

DATA = Path(__file__).parent / "data"
EXAMPLES = Path(__file__).parents[1] / "examples" / "images"
STEM = "ledger_0_1_0"


def _maker():
    """Import the program that has made the dumps; of ours it needs nothing."""
    spec = importlib.util.spec_from_file_location("make_ledger_0_1_0", DATA / "make_ledger_0_1_0.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


maker = _maker()


@dataclass
class OldLedger:
    """An old ledger in a database of this version. root: folder of its photos. kept: what its version showed."""

    url: str
    root: Path
    kept: dict

    def run(self, *arguments, status=0):
        """Run a command to its end in this process; return what it printed, messages and all."""
        result = CliRunner().invoke(app, [*arguments, "--db", self.url])
        assert result.exit_code == status, result.output
        return result.output

    def answer(self, *arguments, status=0):
        """Return what a command answers as JSON."""
        result = CliRunner().invoke(app, [*arguments, "--db", self.url, "--json"])
        assert result.exit_code == status, result.output
        return json.loads(result.stdout)

    def tag(self, *flags):
        """Go through the folder again, as its runs did."""
        return self.answer("tag", str(self.root / maker.FOLDER), *flags)

    def sync(self, *flags):
        """Go through the product table again, and write back, as its runs did."""
        command = [flag for flag in maker.SYNC if flag != "--quiet"]
        return self.answer(*command, "--image-root", str(self.root / maker.SHOP), *flags)

    def shown(self, name):
        """Return the rows of a view or table."""
        engine = connectable(self.url)
        with engine.connect() as connection:
            rows = maker.shown(connection, name)
        engine.dispose()
        return rows


def connectable(url, **settings):
    """Return an engine with no settings of ours."""
    parsed = make_url(url)
    name = parsed.get_backend_name()
    return create_engine(parsed.set(drivername=maker.DRIVERS.get(name, name)), **settings)


def load(url, root):
    """Bring the dump of an engine into an empty database of it, with its photos below `root`."""
    suffix = {"sqlite": "", "postgresql": "_postgresql"}.get(make_url(url).get_backend_name(), "_mariadb")
    dump, kept = (_read(f"{STEM}{suffix}.{kind}.gz", root) for kind in ("sql", "json"))
    maker.lay_out(root, EXAMPLES)
    _LOADERS[suffix](url, dump)
    return OldLedger(url, root, json.loads(kept))


def _read(name, root):
    return maker.place(gzip.decompress((DATA / name).read_bytes()).decode(), maker.ROOT, str(root))


def _load_sqlite(url, dump):
    with closing(sqlite3.connect(make_url(url).database)) as connection:
        connection.executescript(dump)


def _load_postgresql(url, dump):
    engine = connectable(url)
    with closing(engine.raw_connection()) as connection:
        connection.driver_connection.execute(dump)
        connection.commit()
    engine.dispose()


def _load_mariadb(url, dump):
    engine = connectable(url, connect_args={"client_flag": CLIENT.MULTI_STATEMENTS})
    with closing(engine.raw_connection()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(dump)
        while cursor.nextset():
            pass
        connection.commit()
    engine.dispose()


_LOADERS = {"": _load_sqlite, "_postgresql": _load_postgresql, "_mariadb": _load_mariadb}
