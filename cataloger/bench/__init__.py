"""What this machine could do with bare decoding and the bare model, and what `tag` achieves of that.

Imports `engine`, `inference`, `sources`, `model`, `utils`.
"""

from cataloger.bench.bench import BenchOptions, BenchReport, run_bench
from cataloger.bench.profile import profile_of

__all__ = ["BenchOptions", "BenchReport", "profile_of", "run_bench"]
