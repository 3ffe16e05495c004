"""Labelled images of a SQL query: `select image, category, product_id from ...`."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, CursorResult

from cataloger.db import one_select
from cataloger.errors import UsageError
from cataloger.schema import open_source
from cataloger.sources import RELATIVE_PATH, key_of, locate
from cataloger.sources import ReferenceProblem as Unusable
from cataloger.training.data.columns import Found, Row, far_image, find_columns, read_rows
from cataloger.training.data.examples import DataProblem, Example
from cataloger.training.options import DataOptions

ROWS_PER_FETCH = 1000


def read_query(options: DataOptions) -> tuple[list[Example], list[DataProblem]]:
    """Run one SELECT, in a transaction that cannot write, and read its rows as they come.

    Raises UsageError for another statement or columns that are not there, DatabaseError for what the database says;
    the password is in neither.
    """
    query = one_select(str(options.query))
    assert options.db is not None
    database = open_source(options.db)
    root = None if options.images is None else os.fsencode(os.path.normpath(options.images.absolute()))
    try:
        with database.read() as connection:
            return _read(connection, query, options, root)
    finally:
        database.close()


def _read(
    connection: Connection, query: str, options: DataOptions, root: bytes | None
) -> tuple[list[Example], list[DataProblem]]:
    # Without parameters a driver takes % and : literally.
    streaming = connection.execution_options(stream_results=True, yield_per=ROWS_PER_FETCH, no_parameters=True)
    result = streaming.exec_driver_sql(query)
    names = list(result.keys())
    columns = find_columns(names, options, "the query")
    return read_rows(_rows(result, names), columns, lambda image: _place(image, root, options))


def _rows(result: CursorResult[Any], names: list[str]) -> Iterator[tuple[str, Row]]:
    for number, row in enumerate(result, start=1):
        yield f"row {number} of the query", dict(zip(names, row, strict=True))


def _place(image: str, root: bytes | None, options: DataOptions) -> Found | str:
    """Find the image that a cell names. Raises UsageError for a relative path without --images."""
    place = locate(image, root, options.roots())
    if isinstance(place, Unusable):
        if place.code == RELATIVE_PATH:
            raise UsageError("the query gives relative paths: name the folder that they start from with --images")
        return place.message.replace("--image-root", "--images")
    if place.path is None:
        return far_image(place, options)
    inside = root is not None and place.path.startswith(root.rstrip(b"/") + b"/")
    name = os.path.relpath(place.path, root) if inside else place.path
    return key_of(name), Path(os.fsdecode(place.path))
