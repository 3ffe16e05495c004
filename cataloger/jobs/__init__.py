"""Named jobs: commands with their flags that are run one after the other, each in a process of its own.

What a job is, how it is run and what became of it; the command line reads jobs from cataloger.toml and says how a
command is called. Imports errors and utils.
"""

from typing import TYPE_CHECKING

from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.jobs.job import NamedJob
    from cataloger.jobs.outcomes import JobOutcome, JobsReport, NotRun
    from cataloger.jobs.runner import Child, JobRunner

__all__ = ["Child", "JobOutcome", "JobRunner", "JobsReport", "NamedJob", "NotRun"]

__getattr__ = lazy_names(
    __name__,
    {
        "job": ("NamedJob",),
        "outcomes": ("JobOutcome", "JobsReport", "NotRun"),
        "runner": ("Child", "JobRunner"),
    },
)
