"""What a model card says of shops that training has not seen."""

import pytest
from small_bundles import small_bundle

from cataloger.errors import TrainingError
from cataloger.model import CARD, check_files, read_bundle
from cataloger.training.evaluation import SHOP_SECTION, shop_section, write_with_section

SHARE = {"value": 0.5, "low": 0.25, "high": 0.75}
NONE = dict.fromkeys(SHARE)
UNSEEN = {"images": 1100, "groups": 50, "top1": SHARE, "coverage": SHARE, "precision": NONE}
KNOWN = {**UNSEEN, "groups": 3, "precision": SHARE}
ARM = {
    "name": "5 labels",
    "top1": 0.75,
    "gain": 0.0625,
    "gain_interval": [0.03125, 0.09375],
    "accepted_right": 0.9375,
}
ADAPTATION = {"shops": 19, "photos": 1234, "arms": [{**ARM, "accepted": 0.5, "refused": 7}]}


def test_unseen_shops_stand_beside_known_ones_and_what_labels_give():
    section = shop_section({"known_groups": {"known": KNOWN, "unseen": UNSEEN}}, ADAPTATION)
    share = "0.500 (0.250-0.750)"
    rows = [line for line in section.splitlines() if line.startswith(("| unseen", "| known", "| 5 labels"))]
    assert rows == [
        f"| unseen | 1,100 | 50 | {share} | {share} | - |",
        f"| known | 1,100 | 3 | {share} | {share} | {share} |",
        "| 5 labels | 0.750 | +0.062 (+0.031 to +0.094) | 0.938 | 0.500 | 7 |",
    ]
    assert "cataloger adapt" not in shop_section({"known_groups": {"known": KNOWN, "unseen": UNSEEN}})


@pytest.mark.parametrize("evaluation", [{}, {"known_groups": {}}, {"known_groups": {"known": KNOWN}}])
def test_an_evaluation_without_unseen_shops_is_refused(evaluation):
    with pytest.raises(TrainingError, match="--group-column"):
        shop_section(evaluation)


def test_the_card_of_a_bundle_gets_the_section_once_and_the_bundle_stays_whole(tmp_path):
    bundle = small_bundle(tmp_path / "model")
    for text in ("first", "second"):
        write_with_section(read_bundle(bundle.path), bundle.path, text)
    again = read_bundle(bundle.path)
    check_files(again)
    assert (again.weights_id, again.calibration_id) == (bundle.weights_id, bundle.calibration_id)
    card = (again.path / CARD).read_text()
    assert card.count(SHOP_SECTION) == 1
    assert "second" in card
    assert "first" not in card
