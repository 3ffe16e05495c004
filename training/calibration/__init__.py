"""Temperature, thresholds and familiarity, learned on validation images.

Runs on numpy. Imports `training.evaluation` and what lies below.
"""

from typing import TYPE_CHECKING

from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.training.calibration.calibrate import (
        Coverage,
        calibrate_bundle,
        decisions_section,
        measure_coverage,
        negative_log_likelihood,
        write_recalibrated,
    )
    from cataloger.training.calibration.familiarity import MOST_IMAGES, fit_prototypes

__all__ = [
    "MOST_IMAGES",
    "Coverage",
    "calibrate_bundle",
    "decisions_section",
    "fit_prototypes",
    "measure_coverage",
    "negative_log_likelihood",
    "write_recalibrated",
]


__getattr__ = lazy_names(
    __name__,
    {
        "calibrate": [
            "Coverage",
            "calibrate_bundle",
            "decisions_section",
            "measure_coverage",
            "negative_log_likelihood",
            "write_recalibrated",
        ],
        "familiarity": ["MOST_IMAGES", "fit_prototypes"],
    },
)
