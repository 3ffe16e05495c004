"""Temperature, thresholds and familiarity, learned on validation images.

Runs on numpy. Imports `training.evaluation` and what lies below.
"""

from typing import TYPE_CHECKING

from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.training.calibration.adapt import (
        AdaptOptions,
        AdaptReport,
        adapt_source,
        needing_more,
        shares,
    )
    from cataloger.training.calibration.calibrate import (
        Coverage,
        calibrate_bundle,
        decisions_section,
        measure_coverage,
        write_recalibrated,
    )
    from cataloger.training.calibration.familiarity import MOST_IMAGES, fit_prototypes

__all__ = [
    "MOST_IMAGES",
    "AdaptOptions",
    "AdaptReport",
    "Coverage",
    "adapt_source",
    "calibrate_bundle",
    "decisions_section",
    "fit_prototypes",
    "measure_coverage",
    "needing_more",
    "shares",
    "write_recalibrated",
]


__getattr__ = lazy_names(
    __name__,
    {
        "adapt": ["AdaptOptions", "AdaptReport", "adapt_source", "needing_more", "shares"],
        "calibrate": [
            "Coverage",
            "calibrate_bundle",
            "decisions_section",
            "measure_coverage",
            "write_recalibrated",
        ],
        "familiarity": ["MOST_IMAGES", "fit_prototypes"],
    },
)
