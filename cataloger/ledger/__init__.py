"""What cataloger knows of the sources that it has seen: which they are, their models, and what is left to do.

Imports the tables (`cataloger.db`, `cataloger.schema`), the bundles of models and the records; nothing that runs,
reads or writes images.
"""

from cataloger.ledger.model_registry import ModelRef, bundle_of, known_model, model_ref, pin_model
from cataloger.ledger.planner import Ledger
from cataloger.ledger.source_registry import (
    SourceRecord,
    SourceRef,
    find_source,
    find_source_id,
    list_sources,
    register_source,
)
from cataloger.ledger.write_target import WriteTarget, record_write_target, write_targets

__all__ = [
    "Ledger",
    "ModelRef",
    "SourceRecord",
    "SourceRef",
    "WriteTarget",
    "bundle_of",
    "find_source",
    "find_source_id",
    "known_model",
    "list_sources",
    "model_ref",
    "pin_model",
    "record_write_target",
    "register_source",
    "write_targets",
]
