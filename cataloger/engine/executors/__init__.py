"""What brings inputs to results: this process with its children, or the machines of a cluster.

Imports what is below the engine, and nothing of it: an executor knows no database and no rounds.
"""

from cataloger.engine.executors.base import Executor, OnImage
from cataloger.engine.executors.local import Decoder, LocalExecutor, Stages, decoding

__all__ = ["Decoder", "Executor", "LocalExecutor", "OnImage", "Stages", "decoding"]
