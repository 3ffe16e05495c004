"""What brings inputs to results: this process with its children, or the machines of a cluster.

Imports what is below the engine, and nothing of it: an executor knows no database and no rounds.
"""

from typing import TYPE_CHECKING

from cataloger.engine.executors.base import Executor, OnImage
from cataloger.engine.executors.local import Decoder, LocalExecutor, Stages, decoding
from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.engine.executors.cluster import Cluster, ClusterExecutor, ClusterHooks
    from cataloger.engine.executors.worker import Work

__all__ = [
    "Cluster",
    "ClusterExecutor",
    "ClusterHooks",
    "Decoder",
    "Executor",
    "LocalExecutor",
    "OnImage",
    "Stages",
    "Work",
    "decoding",
]


__getattr__ = lazy_names(
    __name__,
    {
        "cluster": ["Cluster", "ClusterExecutor", "ClusterHooks"],
        "worker": ["Work"],
    },
)
