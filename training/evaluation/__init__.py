"""How good a model is: scoring, findings, model cards, pages and comparisons.

Runs on numpy and onnxruntime. Imports `training.data`, `training.metrics` and what lies below.
"""

from typing import TYPE_CHECKING

from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.training.evaluation import scoring
    from cataloger.training.evaluation.evaluate import (
        EvaluateOptions,
        Evaluation,
        Subject,
        choose_split,
        evaluate_bundle,
        evaluate_results,
        evaluation_of,
    )
    from cataloger.training.evaluation.findings import Findings, GroupedFigures, assess
    from cataloger.training.evaluation.folding import FoldMap, read_fold_map
    from cataloger.training.evaluation.html_report import PAGE, require_page_extra, write_report
    from cataloger.training.evaluation.known_groups import GroupKindFigures
    from cataloger.training.evaluation.model_card import (
        FIGURES,
        add_section,
        figures_row,
        markdown_figures,
        with_results,
        with_section,
        write_card,
    )
    from cataloger.training.evaluation.model_diff import Comparison, ModelDiff, OnlyOne, compare_bundles
    from cataloger.training.evaluation.paired_figures import DecisionChange, FigureChange
    from cataloger.training.evaluation.reviewed_accuracy import FEW, ReviewedAccuracy, Tally, read_reviewed
    from cataloger.training.evaluation.scoring import ScoredImages, predictions_of, reports_json, score
    from cataloger.training.evaluation.shop_figures import SHOP_SECTION, shop_section, write_with_section

__all__ = [
    "FEW",
    "FIGURES",
    "PAGE",
    "SHOP_SECTION",
    "Comparison",
    "DecisionChange",
    "EvaluateOptions",
    "Evaluation",
    "FigureChange",
    "Findings",
    "FoldMap",
    "GroupKindFigures",
    "GroupedFigures",
    "ModelDiff",
    "OnlyOne",
    "ReviewedAccuracy",
    "ScoredImages",
    "Subject",
    "Tally",
    "add_section",
    "assess",
    "choose_split",
    "compare_bundles",
    "evaluate_bundle",
    "evaluate_results",
    "evaluation_of",
    "figures_row",
    "markdown_figures",
    "predictions_of",
    "read_fold_map",
    "read_reviewed",
    "reports_json",
    "require_page_extra",
    "score",
    "scoring",
    "shop_section",
    "with_results",
    "with_section",
    "write_card",
    "write_report",
    "write_with_section",
]


__getattr__ = lazy_names(
    __name__,
    {
        "evaluate": [
            "EvaluateOptions",
            "Evaluation",
            "Subject",
            "choose_split",
            "evaluate_bundle",
            "evaluate_results",
            "evaluation_of",
        ],
        "findings": ["Findings", "GroupedFigures", "assess"],
        "folding": ["FoldMap", "read_fold_map"],
        "html_report": ["PAGE", "require_page_extra", "write_report"],
        "known_groups": ["GroupKindFigures"],
        "model_card": [
            "FIGURES",
            "add_section",
            "figures_row",
            "markdown_figures",
            "with_results",
            "with_section",
            "write_card",
        ],
        "model_diff": ["Comparison", "ModelDiff", "OnlyOne", "compare_bundles"],
        "paired_figures": ["DecisionChange", "FigureChange"],
        "reviewed_accuracy": ["FEW", "ReviewedAccuracy", "Tally", "read_reviewed"],
        "scoring": ["ScoredImages", "predictions_of", "reports_json", "score"],
        "shop_figures": ["SHOP_SECTION", "shop_section", "write_with_section"],
    },
)
