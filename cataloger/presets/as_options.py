"""The flags of a preset as the options of a run."""

from collections.abc import Mapping
from pathlib import Path

from cataloger.options import WriteOptions
from cataloger.presets.preset import FlagValue
from cataloger.table_options import TableOptions
from cataloger.writeback import OtherWrites


def write_options(flags: Mapping[str, FlagValue]) -> WriteOptions:
    """Return where results are written. Raises UsageError."""
    others = OtherWrites(
        tables=_texts(flags, "write-table"),
        keys=_texts(flags, "write-key"),
        wheres=_texts(flags, "write-where"),
        links=_texts(flags, "write-link"),
        existing=_texts(flags, "write-existing"),
    )
    return others.options(())


def table_options(flags: Mapping[str, FlagValue]) -> TableOptions:
    """Return where the images are. Raises UsageError."""
    root = _text(flags, "image-root")
    return TableOptions(
        table=_text(flags, "table") or "",
        ids=_texts(flags, "id"),
        image=_text(flags, "image") or "",
        query=_text(flags, "image-query"),
        image_root=None if root is None else Path(root),
        image_list=_text(flags, "image-list"),
        image_table=_text(flags, "image-table"),
        image_fk=_texts(flags, "image-fk"),
        image_ids=_texts(flags, "image-id"),
        version_column=_text(flags, "version-column"),
        where=_text(flags, "where"),
        department_column=_text(flags, "department-column"),
        name=_text(flags, "source-name"),
    )


def _text(flags: Mapping[str, FlagValue], name: str) -> str | None:
    value = flags.get(name)
    return value if isinstance(value, str) else None


def _texts(flags: Mapping[str, FlagValue], name: str) -> tuple[str, ...]:
    value = flags.get(name)
    return tuple(value) if isinstance(value, list) else ()
