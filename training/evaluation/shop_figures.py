"""The section of a model card on shops: those that training has not seen, beside those that it has.

Made from what `cataloger evaluate --group-column shop --json` and `benchmarks/adaptation.py --json` have written, so
that a card can be given the figures when they are measured, long after training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cataloger.errors import TrainingError
from cataloger.model import CARD, Bundle, check_files, copy_files, new_bundle, seal
from cataloger.training.evaluation.model_card import with_section

SHOP_SECTION = "## Shops that it has not seen"
COLUMNS = ("test images of shops", "number", "shops", "top-1", "accepted", "right of the accepted")
ADAPTED_COLUMNS = (
    "labels a category",
    "top-1, mean over shops",
    "gain",
    "right of the accepted",
    "accepted",
    "refused",
)


def shop_section(evaluation: Mapping[str, Any], adaptation: Mapping[str, Any] | None = None) -> str:
    """Return the Markdown of the section. Raises TrainingError for an evaluation without unseen and known shops.

    evaluation: of `evaluate --json`. adaptation: of `benchmarks/adaptation.py --json`.
    """
    kinds = evaluation.get("known_groups") or {}
    if set(kinds) != {"unseen", "known"}:
        raise TrainingError(
            "the evaluation tells nothing of unseen shops: measure labels with rows of train and test, and name the "
            "column of the shops with --group-column"
        )
    rows = [_kind(kind, kinds[kind]) for kind in ("unseen", "known")]
    parts = [
        "Share and 95% interval (Wilson). Training and thresholds know nothing of an unseen shop: what stands there\n"
        "is what to expect in yours until it is adapted.",
        _table(COLUMNS, rows),
    ]
    if adaptation is not None:
        parts.append(
            f"What labelled images of the shop itself give (`cataloger adapt`), in {adaptation['shops']:,} shops of "
            f"{adaptation['photos']:,} photos:"
        )
        parts.append(_table(ADAPTED_COLUMNS, [_arm(each) for each in adaptation["arms"]]))
    return "\n\n".join(parts) + "\n"


def write_with_section(bundle: Bundle, output: Path, section: str) -> None:
    """Write a copy of a bundle whose card has the section. output: may be the bundle's own directory."""
    check_files(bundle)
    with new_bundle(output) as folder:
        copy_files(bundle, folder)
        card = (folder / CARD).read_text(encoding="utf-8")
        (folder / CARD).write_text(with_section(card, SHOP_SECTION, section), encoding="utf-8")
        seal(replace(bundle, path=folder))


def _kind(kind: str, figures: Mapping[str, Any]) -> tuple[str, ...]:
    shares = (_share(figures[name]) for name in ("top1", "coverage", "precision"))
    return (kind, f"{figures['images']:,}", f"{figures['groups']:,}", *shares)


def _arm(arm: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = arm["gain_interval"]
    gain = f"{arm['gain']:+.3f} ({low:+.3f} to {high:+.3f})"
    figures = (f"{arm[name]:.3f}" for name in ("accepted_right", "accepted"))
    return (arm["name"], f"{arm['top1']:.3f}", gain, *figures, f"{arm['refused']:,}")


def _share(share: Mapping[str, float | None]) -> str:
    if share["value"] is None:
        return "-"
    return f"{share['value']:.3f} ({share['low']:.3f}-{share['high']:.3f})"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
