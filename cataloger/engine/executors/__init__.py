"""What brings inputs to results: this process with its children, or the machines of a cluster.

Imports what is below the engine, and nothing of it: an executor knows no database and no rounds.
"""

from typing import TYPE_CHECKING

from cataloger.engine.executors.base import Executor, ExecutorHooks, OnImage, Work
from cataloger.engine.executors.deferred import DeferredExecutor
from cataloger.engine.executors.image_log import log_step, tells_steps
from cataloger.engine.executors.local import Decoder, LocalExecutor, Stages, decoding, open_local
from cataloger.engine.executors.pictures import SharedAnswers, SharedBytes, SharedPlaces
from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.engine.executors.cluster import Cluster, ClusterExecutor, describe_cluster

__all__ = [
    "Cluster",
    "ClusterExecutor",
    "Decoder",
    "DeferredExecutor",
    "Executor",
    "ExecutorHooks",
    "LocalExecutor",
    "OnImage",
    "SharedAnswers",
    "SharedBytes",
    "SharedPlaces",
    "Stages",
    "Work",
    "decoding",
    "describe_cluster",
    "log_step",
    "open_local",
    "tells_steps",
]


__getattr__ = lazy_names(
    __name__,
    {
        "cluster": ["Cluster", "ClusterExecutor", "describe_cluster"],
    },
)
