"""cataloger: batch tagging for fashion catalogs.

What is listed here is the Python API. Names are loaded when they are first asked for, so that
`import cataloger` costs next to nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cataloger.api import ImageQuery, ProductTable, Progress, sync, tag
    from cataloger.catalog import Catalog, CatalogResult, open_catalog
    from cataloger.drift import CheckReport
    from cataloger.engine import SyncOptions, SyncReport, TagOptions, TagReport
    from cataloger.errors import CatalogerError
    from cataloger.history import DifferenceSummary, UndoReport
    from cataloger.inference import Tagger
    from cataloger.ledger import RunRecord
    from cataloger.options import DriftLimits, Limits, RunOptions, WebOptions, WriteOptions
    from cataloger.records import Failure, Prediction

__version__ = "0.2.0"

__all__ = [
    "Catalog",
    "CatalogResult",
    "CatalogerError",
    "CheckReport",
    "DifferenceSummary",
    "DriftLimits",
    "Failure",
    "ImageQuery",
    "Limits",
    "Prediction",
    "ProductTable",
    "Progress",
    "RunOptions",
    "RunRecord",
    "SyncOptions",
    "SyncReport",
    "TagOptions",
    "TagReport",
    "Tagger",
    "UndoReport",
    "WebOptions",
    "WriteOptions",
    "__version__",
    "open_catalog",
    "sync",
    "tag",
]

_HOMES = {
    "api": ("ImageQuery", "ProductTable", "Progress", "sync", "tag"),
    "catalog": ("Catalog", "CatalogResult", "open_catalog"),
    "drift": ("CheckReport",),
    "engine": ("SyncOptions", "SyncReport", "TagOptions", "TagReport"),
    "errors": ("CatalogerError",),
    "history": ("DifferenceSummary", "UndoReport"),
    "inference": ("Tagger",),
    "ledger": ("RunRecord",),
    "options": ("DriftLimits", "Limits", "RunOptions", "WebOptions", "WriteOptions"),
    "records": ("Failure", "Prediction"),
}


def __getattr__(name: str) -> Any:
    from cataloger.utils import lazy_names  # only now: the import of the package alone is to load nothing

    return lazy_names(__name__, _HOMES)(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
