"""A small shop from nothing to answers: schema, rows, sync, query; prints each command before it runs it.

    python examples/shop/run.py                                  # in the SQLite file shop.db
    python examples/shop/run.py postgresql://shop:secret@db/shop # an empty database of your own

Run it again: the sync then finds nothing to do.
"""

import shlex
import subprocess
import sys
from pathlib import Path

from sqlalchemy import Connection, create_engine, inspect

HERE = Path(__file__).parent
DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql"}


def main(url: str) -> None:
    """Make the shop unless it is there, sync it, show the answers."""
    kind, _, rest = url.partition("://")
    engine = create_engine(f"{DRIVERS.get(kind, kind)}://{rest}")
    with engine.begin() as connection:
        if not inspect(connection).has_table("products"):
            run_script(connection, "schema.sql")
            run_script(connection, "rows.sql")
    cataloger("db", "upgrade", "--db", url)
    source = ["--table", "products", "--id", "sku", "--image", "file", "--image-root", str(HERE.parent / "images")]
    images = ["--image-table", "product_images", "--image-fk", "sku"]
    cataloger("sync", "--db", url, *source, *images, "--label-map", str(HERE / "codes.csv"))
    with engine.begin() as connection:
        for row in run_script(connection, "query.sql"):
            print(" | ".join(str(value) for value in row))


def run_script(connection: Connection, name: str) -> list[tuple[object, ...]]:
    """Run the statements of a file; return the rows of the last one, if it has any."""
    rows: list[tuple[object, ...]] = []
    for statement in filter(str.strip, (HERE / name).read_text().split(";\n")):
        result = connection.exec_driver_sql(statement)
        rows = [tuple(row) for row in result] if result.returns_rows else []
    return rows


def cataloger(*arguments: str) -> None:
    """Run a command as one would type it; end with its status if that is not 0."""
    # The password of the URL stays out of what is printed.
    shown = [argument if "://" not in argument else "URL" for argument in arguments]
    print(f"$ cataloger {shlex.join(shown)}", flush=True)
    done = subprocess.run([sys.executable, "-P", "-m", "cataloger", *arguments], check=False)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "sqlite:///shop.db")
