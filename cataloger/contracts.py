"""What tables, files and JSON outputs promise to others, in one place."""

from typing import Literal, get_args

TOP_K = 5
"""Labels that a result has room for."""
MAX_LABEL_LENGTH = 255
"""Characters of a label, of a code of the shop and of a name of a person."""

Decision = Literal["accept", "review", "abstain"]
DECISIONS: tuple[Decision, ...] = get_args(Decision)
"""What can be done with an answer: use it as it is, look at it, or leave it."""

Verdict = Literal["label", "not_product", "withdrawn"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
"""What a person can say of an image: its label, that it shows no product, or nothing any more."""
