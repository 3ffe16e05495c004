"""Giving a bundle weights that are integers: its files, its calibration, and what its card says of them."""

from collections.abc import Callable
from dataclasses import replace

from cataloger.inference import load_network
from cataloger.model import CARD, Bundle
from cataloger.records import Pixels
from cataloger.training.calibration import (
    DECISIONS_SECTION,
    PRODUCT_SECTION,
    calibrate_bundle,
    decisions_section,
    measure_coverage,
    product_section,
    tell_apart,
)
from cataloger.training.data import LabelledImages
from cataloger.training.evaluation import (
    ScoredImages,
    add_section,
    assess,
    scoring,
    with_results,
    with_section,
)
from cataloger.training.export.onnx import PARITY_IMAGES, check_parity, write_golden, write_model_files
from cataloger.training.export.quantization_aware import train_for_int8

TARGET = 0.95
"""Share of accepted answers that should be right, for a bundle that has decided nothing yet."""

Note = Callable[[str], None]


def with_integer_weights(
    draft: Bundle, data: LabelledImages, calibration: Pixels, note: Note
) -> tuple[Bundle, ScoredImages]:
    """Give a bundle that is being written weights that are integers; returns it, and its scores of `val` in fp32.

    calibration: uint8 N x size x size x 3. It trains on `train`, calibrates on `val` and measures on `test` images of
    the data. Raises BundleError, TrainingError, and QualityGateError where the files do not answer as the network.
    """
    train = [*data.split("train"), *data.no_products("train")]
    network = train_for_int8(draft, train, calibration, progress=_noted_tenths(note))
    prototypes = load_network(draft).prototypes.numpy()
    write_model_files(network, prototypes, draft.path, size=draft.preprocess.size)
    draft = replace(draft, files={})
    check_parity(network, draft, calibration[:PARITY_IMAGES])
    write_golden(draft)
    note("calibrating and measuring in fp32")
    val, test = scoring.score(draft, data.split("val")), data.split("test")
    draft = calibrate_bundle(draft, val, target=draft.calibration.target_precision or TARGET)
    return _described(draft, data, val, scoring.score(draft, test) if test else None), val


def _described(draft: Bundle, data: LabelledImages, val: ScoredImages, test: ScoredImages | None) -> Bundle:
    """Renew what the card and the provenance say of the weights."""
    findings = assess(test.examples, scoring.predictions_of(draft, test)) if test else None
    told_apart = tell_apart(draft, data, {"val": val, "test": test})
    card = with_results((draft.path / CARD).read_text(encoding="utf-8"), findings)
    card = with_section(card, DECISIONS_SECTION, decisions_section(draft, measure_coverage(draft, val)))
    (draft.path / CARD).write_text(card, encoding="utf-8")
    renewed = {"test": scoring.reports_json(findings.reports if findings else {})}
    if told_apart:
        add_section(draft, PRODUCT_SECTION, product_section(told_apart))
        figures = {split: measured.as_json() for split, measured in told_apart.items()}
        renewed["no_product"] = {**draft.provenance["no_product"], **figures}
    return replace(draft, provenance={**draft.provenance, **renewed})


def _noted_tenths(note: Note) -> Callable[[int, int], None]:
    def progress(done: int, steps: int) -> None:
        if done * 10 // steps > (done - 1) * 10 // steps:
            note(f"training with simulated integers: {done * 100 // steps}%")

    return progress
