"""The steps of a run: a source is planned, fetched, decoded, classified and recorded.

`tag` and `sync` begin here. Imports everything below it, and nothing of the pages.
"""

from typing import TYPE_CHECKING

from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.engine.executors import describe_cluster
    from cataloger.engine.job import JobHooks
    from cataloger.engine.job_report import JobReport, SyncReport, TagReport
    from cataloger.engine.run_report import RunReport
    from cataloger.engine.session import SourceSession
    from cataloger.engine.source_model import JobContext
    from cataloger.engine.sync import SyncOptions, sync_table
    from cataloger.engine.tag import TagOptions, tag_images

__all__ = [
    "JobContext",
    "JobHooks",
    "JobReport",
    "RunReport",
    "SourceSession",
    "SyncOptions",
    "SyncReport",
    "TagOptions",
    "TagReport",
    "describe_cluster",
    "sync_table",
    "tag_images",
]


__getattr__ = lazy_names(
    __name__,
    {
        "executors": ["describe_cluster"],
        "job": ["JobHooks"],
        "job_report": ["JobReport", "SyncReport", "TagReport"],
        "run_report": ["RunReport"],
        "session": ["SourceSession"],
        "source_model": ["JobContext"],
        "sync": ["SyncOptions", "sync_table"],
        "tag": ["TagOptions", "tag_images"],
    },
)
