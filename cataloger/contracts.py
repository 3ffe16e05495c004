"""The contracts of tables, files and JSON outputs with others, in one place."""

from typing import Literal, get_args

TOP_K = 5
"""The largest number of labels of a result."""
MAX_LABEL_LENGTH = 255
"""Characters of a label, of a code of the shop and of a name of a person."""
BUNDLE_FORMAT = 1
"""Of bundle.json; another one is refused."""
ADAPTED_FORMAT = 2
"""Of bundle.json with a calibration that changes the order of the labels, which versions before would overlook."""

Decision = Literal["accept", "review", "abstain"]
DECISIONS: tuple[Decision, ...] = get_args(Decision)
"""What to do with an answer: use it as it is, review it, or ignore it."""

Verdict = Literal["label", "not_product", "withdrawn"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
"""The kinds of corrections of an image: its label, that it shows no product, or that earlier ones are withdrawn."""
