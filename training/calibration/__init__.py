"""Temperature, thresholds, familiarity and what shows no product, learned on validation images.

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
        DECISIONS_SECTION,
        Coverage,
        calibrate_bundle,
        decisions_section,
        measure_coverage,
        write_recalibrated,
    )
    from cataloger.training.calibration.familiarity import MOST_IMAGES, fit_prototypes
    from cataloger.training.calibration.no_product import (
        PRODUCT_SECTION,
        ProductScore,
        measure_product_score,
        product_section,
        tell_apart,
    )

__all__ = [
    "DECISIONS_SECTION",
    "MOST_IMAGES",
    "PRODUCT_SECTION",
    "AdaptOptions",
    "AdaptReport",
    "Coverage",
    "ProductScore",
    "adapt_source",
    "calibrate_bundle",
    "decisions_section",
    "fit_prototypes",
    "measure_coverage",
    "measure_product_score",
    "needing_more",
    "product_section",
    "shares",
    "tell_apart",
    "write_recalibrated",
]


__getattr__ = lazy_names(
    __name__,
    {
        "adapt": ["AdaptOptions", "AdaptReport", "adapt_source", "needing_more", "shares"],
        "calibrate": [
            "DECISIONS_SECTION",
            "Coverage",
            "calibrate_bundle",
            "decisions_section",
            "measure_coverage",
            "write_recalibrated",
        ],
        "familiarity": ["MOST_IMAGES", "fit_prototypes"],
        "no_product": ["PRODUCT_SECTION", "ProductScore", "measure_product_score", "product_section", "tell_apart"],
    },
)
