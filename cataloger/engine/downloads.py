"""What a job downloads with."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from cataloger.engine.job import Job
from cataloger.engine.job_report import JobReport
from cataloger.fetch import Downloader, Remote
from cataloger.options import WebOptions

AnyReport = TypeVar("AnyReport", bound=JobReport)

# Downloads wait for the network most of the time; more of them than processors keep the model working.
DOWNLOADS = 16


@contextmanager
def downloading(job: Job[AnyReport], web: WebOptions) -> Iterator[Remote]:
    """Give what downloads the images of one source. It loads the HTTP client."""
    with Downloader(web, job.options.limits) as downloader:
        yield Remote(web=downloader, threads=DOWNLOADS, revalidate=web.revalidate, stop=job.hooks.stop)
