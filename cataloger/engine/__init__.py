"""What runs: the images of a source go through decoding and the model into the ledger.

Imports everything below the command line but corrections, reports and reviews.
"""

from cataloger.engine.session import JobContext, SourceSession

__all__ = ["JobContext", "SourceSession"]
