"""The executor of --engine ray: what it sends to the workers of a cluster, and what it does here.

Bytes that lie in the shop's database or in object stores are read here, so that no password of them leaves this
machine; files and web addresses of other sources are read by the workers. Ray is loaded only when a cluster is used.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from cataloger.engine.executors.base import ExecutorHooks, OnImage, Work
from cataloger.engine.executors.dispatch import NO_WORKER_SECONDS, Dispatch, Input
from cataloger.engine.executors.pictures import SharedAnswers, SharedBytes
from cataloger.fetch import Remote, fetch_together
from cataloger.model import Bundle
from cataloger.options import ClusterOptions
from cataloger.records import Failure, Item, Result
from cataloger.utils import Stopwatch


class ClusterExecutor:
    """Brings inputs to results with the workers of a cluster. shared: has bytes that are read here sent once."""

    def __init__(self, dispatch: Dispatch, device: str, shared: SharedBytes) -> None:
        self._dispatch = dispatch
        self._device = device
        self._shared = shared

    @property
    def device(self) -> str:
        """Where the model of the first worker runs, e.g. "cpu"."""
        return self._device

    def run(self, items: Iterable[Item | Failure], on_image: OnImage) -> Iterator[list[Result]]:
        """Yield the results of the inputs as their chunks are done."""
        self._shared.begin()
        for results in self._dispatch.run(items, on_image):
            yield self._shared.settle(results)


class Cluster:
    """The cluster of a job."""

    def __init__(self, options: ClusterOptions) -> None:
        from cataloger.engine.executors.ray_cluster import require_ray

        require_ray()
        self._options = options

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Be connected to it within the block. Raises ClusterError."""
        from cataloger.engine.executors.ray_cluster import connected

        with connected(self._options):
            yield

    @contextmanager
    def executor(
        self, bundle: Bundle, work: Work, remote: Remote | None, hooks: ExecutorHooks
    ) -> Iterator[ClusterExecutor]:
        """Give an executor for one source. Raises ClusterError or UsageError where no worker can be used."""
        from cataloger.engine.executors.ray_fleet import RayFleet

        work = replace(work, processors=self._options.cpus_per_worker)
        shared = SharedBytes(SharedAnswers(bundle.labels, work.calibration_of, work.run.top_k), hooks.recorded)
        with RayFleet(self._options, bundle, work, hooks.warn, hooks.recorded) as fleet:
            fleet.begin(NO_WORKER_SECONDS, hooks.stop.is_set)
            dispatch = Dispatch(
                fleet,
                hooks.stop,
                hooks.watch,
                prepare=_reader(work, remote, hooks.watch, shared),
                per_host=work.web.per_host if work.web else 1,
                warn=hooks.warn,
            )
            yield ClusterExecutor(dispatch, fleet.device, shared)


def describe_cluster(options: ClusterOptions) -> str:
    """Return what a cluster has and what of it is free, for people. Raises ClusterError, UsageError."""
    from cataloger.engine.executors.ray_cluster import connected, described, require_ray

    require_ray()
    with connected(options):
        return described()


def _reader(
    work: Work, remote: Remote | None, watch: Stopwatch, shared: SharedBytes
) -> Callable[[Iterable[Item | Failure]], Iterator[Input | Result]]:
    """Return what reads here the bytes that workers cannot reach."""
    if remote is None or (remote.blobs is None and remote.objects is None):
        return iter

    def read(items: Iterable[Item | Failure]) -> Iterator[Input | Result]:
        fetched = fetch_together(items, work.limits, remote, watch, work.within)
        return shared.new(watch.over("reading", fetched))

    return read
