"""What is recorded of sources, items, models and runs, and what follows from it: what to do, what is current, which
run may write.

Imports `schema`, `db`, `adaptation`, `inference`, `model`, `sources`, `utils`.
"""

from cataloger.ledger import effective_results
from cataloger.ledger.deletion import purge_items
from cataloger.ledger.effective_results import mark_presence, must_keep_previous
from cataloger.ledger.label_map import (
    LabelCode,
    label_map_lines,
    load_label_map,
    mapped_labels,
    read_label_map,
    require_labels,
    spelled_like,
    store_label_map,
    warn_of_gaps,
)
from cataloger.ledger.leases import Lease, hold_lease, lock_leases
from cataloger.ledger.model_registry import (
    ModelRef,
    bundle_of,
    is_behind,
    known_calibration,
    known_model,
    model_ref,
    note_recomputed,
    pin_model,
    source_model,
)
from cataloger.ledger.move_detection import require_not_moved, require_same_root, root_exists
from cataloger.ledger.planner import Ledger
from cataloger.ledger.presence import Presence
from cataloger.ledger.product_corrections import recompute_product_corrections
from cataloger.ledger.product_results import ANSWER, ProductResults, answer_of
from cataloger.ledger.run_queries import (
    TAGGING,
    RunRecord,
    find_run,
    follows_links,
    last_options,
    last_table,
    list_runs,
)
from cataloger.ledger.runs import Run, close_abandoned, recorded_run
from cataloger.ledger.source_registry import (
    SourceRecord,
    SourceRef,
    find_source,
    find_source_id,
    find_tagged_source,
    list_sources,
    note_queries_known,
    register_source,
)
from cataloger.ledger.write_target import (
    WHOLE_ROW,
    OtherTarget,
    WriteTarget,
    find_other_target,
    other_targets,
    record_other_targets,
    record_write_target,
    write_targets,
)

__all__ = [
    "ANSWER",
    "TAGGING",
    "WHOLE_ROW",
    "LabelCode",
    "Lease",
    "Ledger",
    "ModelRef",
    "OtherTarget",
    "Presence",
    "ProductResults",
    "Run",
    "RunRecord",
    "SourceRecord",
    "SourceRef",
    "WriteTarget",
    "answer_of",
    "bundle_of",
    "close_abandoned",
    "effective_results",
    "find_other_target",
    "find_run",
    "find_source",
    "find_source_id",
    "find_tagged_source",
    "follows_links",
    "hold_lease",
    "is_behind",
    "known_calibration",
    "known_model",
    "label_map_lines",
    "last_options",
    "last_table",
    "list_runs",
    "list_sources",
    "load_label_map",
    "lock_leases",
    "mapped_labels",
    "mark_presence",
    "model_ref",
    "must_keep_previous",
    "note_queries_known",
    "note_recomputed",
    "other_targets",
    "pin_model",
    "purge_items",
    "read_label_map",
    "recompute_product_corrections",
    "record_other_targets",
    "record_write_target",
    "recorded_run",
    "register_source",
    "require_labels",
    "require_not_moved",
    "require_same_root",
    "root_exists",
    "source_model",
    "spelled_like",
    "store_label_map",
    "warn_of_gaps",
    "write_targets",
]
