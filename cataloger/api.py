"""The Python API: what the command line does, as functions.

    import cataloger

    report = cataloger.tag(["photos"], db="sqlite:///catalog.db", on_progress=print)
    with cataloger.open_catalog("sqlite:///catalog.db") as catalog:
        for result in catalog.results():
            print(result.key, result.labels)

Everything that a user can do something about is a `CatalogerError`. The functions leave their process as it is: they
set no signal handler, scheduling policy, allocator parameter, environment variable or logging configuration. They can
be called from any thread, and block until they are done; in asyncio call them with `asyncio.to_thread`.
"""

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from cataloger.db import DatabaseURL
from cataloger.engine import JobHooks, RunReport, SyncReport, TagOptions, TagReport, tag_images
from cataloger.errors import UsageError
from cataloger.hooks import Hooks
from cataloger.options import DEFAULT_DB, RunOptions, WebOptions, WriteOptions
from cataloger.table_options import TableOptions

if TYPE_CHECKING:
    from cataloger.engine import SyncOptions  # with a client of HTTP, which a run over files does without

StrPath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, in images. total: all of them, the skipped ones too; None while that is not known."""

    done: int
    failed: int
    skipped: int
    total: int | None


OnProgress = Callable[[Progress], object]


@overload
def tag(
    paths: TagOptions, *, on_progress: OnProgress | None = None, stop: threading.Event | None = None
) -> TagReport: ...
@overload
def tag(
    paths: StrPath | Iterable[StrPath],
    *,
    db: str = DEFAULT_DB,
    model: str | None = None,
    output: StrPath | None = None,
    web: WebOptions | None = None,
    run: RunOptions | None = None,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> TagReport: ...
def tag(
    paths: TagOptions | StrPath | Iterable[StrPath],
    *,
    db: str = DEFAULT_DB,
    model: str | None = None,
    output: StrPath | None = None,
    web: WebOptions | None = None,
    run: RunOptions | None = None,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> TagReport:
    """Tag images into a database, as `cataloger tag` does.

    Args:
        paths: folders, images, manifests and web addresses; or all options as one `TagOptions`, then without the next
            five.
        db: SQLAlchemy URL of the database; a SQLite file is created if it does not exist.
        model: folder of a bundle, "default", or NAME@VERSION; without it, the one that the source began with.
        output: file of the current results, too: .jsonl, .csv or .parquet; or an address in an object store.
        web: how images with web addresses are downloaded.
        run: how the run behaves, e.g. `RunOptions(workers=4, dry_run=True)`.
        on_progress: called with a `Progress` in this thread, some times a second. What it raises ends the run.
        stop: set it, from any thread, to end early. What has been recorded stays; the next run goes on from there.

    Returns:
        What was done. Images that failed are counted there and raise nothing.

    Raises:
        CatalogerError: the run as a whole cannot work, e.g. UsageError, SourceError, DatabaseError, OutageError.
    """
    hooks = _hooks(on_progress, stop)
    if isinstance(paths, TagOptions):
        if (db, model, output, web, run) != (DEFAULT_DB, None, None, None, None):
            raise UsageError("with TagOptions, db, model, output, web and run belong into these")
        return tag_images(paths, hooks)
    each = [paths] if isinstance(paths, str | os.PathLike) else paths
    options = TagOptions(
        paths=tuple(os.fsdecode(path) for path in each),
        db=DatabaseURL.parse(db),
        model=model,
        output=None if output is None else os.fspath(output),
        web=web or WebOptions(),
        run=run or RunOptions(),
    )
    if not options.paths:
        raise UsageError("paths is empty: name at least one folder, image or manifest")
    return tag_images(options, hooks)


def ProductTable(  # noqa: N802 - it reads as the thing that it describes
    name: str,
    *,
    id: str | Sequence[str],
    image: str,
    image_root: StrPath | None = None,
    image_list: str | None = None,
    image_table: str | None = None,
    image_fk: str | Sequence[str] = (),
    image_id: str | Sequence[str] = (),
    version_column: str | None = None,
    where: str | None = None,
    source_name: str | None = None,
) -> TableOptions:
    """Describe where the images of a shop's products are.

    Args:
        name: of the table or view: "products", "shop.products".
        id: column or columns that identify a product.
        image: column of paths, http(s) URLs or bytes.
        image_root: folder where the paths start.
        image_list: "json", "json:KEY", "php", "php:KEY" or a separator, if a cell holds several images.
        image_table: table with one row per image, which then has the column `image`.
        image_fk: columns of `image_table` that name the product, one for each of `id`.
        image_id: columns of `image_table` that identify a row; its primary key if not given.
        version_column: changes whenever the image does.
        where: SQL condition on the products. It becomes part of the statements as it is: never take it from a user.
        source_name: name that the results are kept under; without it, made from server, table and column.

    Raises:
        UsageError: the parts do not fit together.
    """
    return TableOptions(
        table=name,
        ids=_names(id),
        image=image,
        image_root=_path(image_root),
        image_list=image_list,
        image_table=image_table,
        image_fk=_names(image_fk),
        image_ids=_names(image_id),
        version_column=version_column,
        where=where,
        name=source_name,
    )


def ImageQuery(  # noqa: N802 - as ProductTable
    query: str,
    *,
    id: str | Sequence[str] = (),
    image: str = "",
    image_root: StrPath | None = None,
    image_list: str | None = None,
    image_id: str | Sequence[str] = (),
    version_column: str | None = None,
    source_name: str | None = None,
) -> TableOptions:
    """Describe the images that one SELECT gives, in place of a `ProductTable`.

    Args:
        query: the SELECT. It becomes part of the statements as it is: never take it from a user.
        id: columns that identify a product; without it `product_id`.
        image: column of paths, http(s) URLs or bytes; without it `image`.
        image_root: folder where the paths start.
        image_list: "json", "json:KEY", "php", "php:KEY" or a separator, if a cell holds several images.
        image_id: columns that tell the images of a product apart; without it `image_id`, if it is there.
        version_column: changes whenever the image does; without it `version`, if it is there.
        source_name: name that the results are kept under; without it, made from the server.

    Raises:
        UsageError: the parts do not fit together.
    """
    return TableOptions(
        table="",
        ids=_names(id),
        image=image,
        image_root=_path(image_root),
        image_list=image_list,
        image_ids=_names(image_id),
        version_column=version_column,
        name=source_name,
        query=query,
    )


@overload
def sync(
    options: "SyncOptions", *, on_progress: OnProgress | None = None, stop: threading.Event | None = None
) -> SyncReport: ...
@overload
def sync(
    *,
    db: str,
    table: TableOptions,
    write: Mapping[str, str] | WriteOptions | None = None,
    ledger_db: str | None = None,
    label_map: StrPath | None = None,
    taxonomy: str | None = None,
    model: str | None = None,
    output: StrPath | None = None,
    web: WebOptions | None = None,
    run: RunOptions | None = None,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> SyncReport: ...
def sync(
    options: "SyncOptions | None" = None,
    *,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
    **named: Any,
) -> SyncReport:
    """Tag what is new or changed in a product table, as `cataloger sync` does.

    Args:
        options: all options as one `SyncOptions`; or name them one by one:
        on_progress: called with a `Progress` in this thread, some times a second. What it raises ends the run.
        stop: set it, from any thread, to end early. What has been recorded stays; the next run goes on from there.
        **named: `db`: SQLAlchemy URL of the products. `table`: a `ProductTable`, or an
            `ImageQuery`. `write`: column of the table -> what
            to write there, e.g. `{"category": "label_1"}`, or `WriteOptions`. `ledger_db`: URL of cataloger's own
            tables, if not `db`. `label_map`: CSV of the shop's codes. `taxonomy`: google or shopify, whose ids are
            the codes of labels that the map says nothing of. `model`, `output`, `run`: as for `tag`. `web`: how
            images are downloaded.

    Returns:
        What was done, and what was written back.

    Raises:
        CatalogerError: the run as a whole cannot work, e.g. UsageError, DatabaseError, OutageError.
    """
    if (options is None) == (not named):
        raise UsageError("sync takes either SyncOptions or db=..., table=... and others by name")
    from cataloger.engine import sync_table

    return sync_table(options or _sync_options(**named), _hooks(on_progress, stop))


def _sync_options(
    *,
    db: str,
    table: TableOptions,
    write: Mapping[str, str] | WriteOptions | None = None,
    ledger_db: str | None = None,
    label_map: StrPath | None = None,
    taxonomy: str | None = None,
    model: str | None = None,
    output: StrPath | None = None,
    web: WebOptions | None = None,
    run: RunOptions | None = None,
) -> "SyncOptions":
    from cataloger.engine import SyncOptions

    return SyncOptions(
        db=DatabaseURL.parse(db),
        table=table,
        ledger_db=None if ledger_db is None else DatabaseURL.parse(ledger_db),
        model=model,
        output=None if output is None else os.fspath(output),
        label_map=_path(label_map),
        taxonomy=taxonomy,
        write=write if isinstance(write, WriteOptions) else WriteOptions(tuple((write or {}).items())),
        web=web or WebOptions(),
        run=run or RunOptions(),
    )


def _hooks(on_progress: OnProgress | None, stop: threading.Event | None) -> JobHooks:
    def tell(report: RunReport, total: int | None) -> None:
        if on_progress is not None:
            on_progress(Progress(report.done, report.failed, sum(report.skipped.values()), total))

    return Hooks(stop or threading.Event(), tell)


def _path(path: StrPath | None) -> Path | None:
    return None if path is None else Path(path)


def _names(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)
