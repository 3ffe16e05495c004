"""Where images are listed: folders, manifests, product tables; their keys, references and change tokens.

Imports `db`, `objects` and `utils`.
"""

from typing import TYPE_CHECKING

from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.sources import change_tokens
    from cataloger.sources.base import Source
    from cataloger.sources.change_tokens import is_same, with_query, with_validators
    from cataloger.sources.column_sample import ColumnSample, Sampled
    from cataloger.sources.file_keys import find_below, key_of, name_of
    from cataloger.sources.folder import EXTENSIONS, FolderSource, check_folder
    from cataloger.sources.image_references import (
        OUTSIDE_ROOT,
        RELATIVE_PATH,
        SCHEMES,
        Location,
        ReferenceProblem,
        address_of,
        clean_values,
        has_scheme,
        join_keys,
        key_of_address,
        locate,
        split_key,
        text_of,
    )
    from cataloger.sources.manifest import MANIFEST_PRESETS, ManifestSource, named_in_manifest
    from cataloger.sources.object_store import BucketSource
    from cataloger.sources.resolve import Target, find_address, resolve_targets
    from cataloger.sources.row_source import SAMPLE, Names, RowSource, TableRow
    from cataloger.sources.table import TableSource
    from cataloger.sources.table_layout import TableLayout, digest_of, odd_keys
    from cataloger.sources.web import WebSource

__all__ = [
    "EXTENSIONS",
    "MANIFEST_PRESETS",
    "OUTSIDE_ROOT",
    "RELATIVE_PATH",
    "SAMPLE",
    "SCHEMES",
    "BucketSource",
    "ColumnSample",
    "FolderSource",
    "Location",
    "ManifestSource",
    "Names",
    "ReferenceProblem",
    "RowSource",
    "Sampled",
    "Source",
    "TableLayout",
    "TableRow",
    "TableSource",
    "Target",
    "WebSource",
    "address_of",
    "change_tokens",
    "check_folder",
    "clean_values",
    "digest_of",
    "find_address",
    "find_below",
    "has_scheme",
    "is_same",
    "join_keys",
    "key_of",
    "key_of_address",
    "locate",
    "name_of",
    "named_in_manifest",
    "odd_keys",
    "resolve_targets",
    "split_key",
    "text_of",
    "with_query",
    "with_validators",
]


__getattr__ = lazy_names(
    __name__,
    {
        "base": ["Source"],
        "column_sample": ["ColumnSample", "Sampled"],
        "change_tokens": ["is_same", "with_query", "with_validators"],
        "file_keys": ["find_below", "key_of", "name_of"],
        "folder": ["EXTENSIONS", "FolderSource", "check_folder"],
        "image_references": [
            "Location",
            "OUTSIDE_ROOT",
            "RELATIVE_PATH",
            "ReferenceProblem",
            "SCHEMES",
            "address_of",
            "clean_values",
            "has_scheme",
            "join_keys",
            "key_of_address",
            "locate",
            "split_key",
            "text_of",
        ],
        "manifest": ["MANIFEST_PRESETS", "ManifestSource", "named_in_manifest"],
        "resolve": ["Target", "find_address", "resolve_targets"],
        "row_source": ["Names", "RowSource", "SAMPLE", "TableRow"],
        "table": ["TableSource"],
        "table_layout": ["TableLayout", "digest_of", "odd_keys"],
        "object_store": ["BucketSource"],
        "web": ["WebSource"],
    },
)
