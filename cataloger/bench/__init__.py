"""The speed of decoding plus the model alone on this machine, and the share of it that `tag` achieves.

Imports `engine`, `inference`, `sources`, `model`, `utils`.
"""

from cataloger.bench.bench import BenchOptions, BenchReport, run_bench
from cataloger.bench.profile import profile_of

__all__ = ["BenchOptions", "BenchReport", "profile_of", "run_bench"]
