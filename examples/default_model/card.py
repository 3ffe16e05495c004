"""Put into a model's card what it does in shops that it has not seen, and what adapting to a shop gives.

    cataloger evaluate mix.csv --split test --group-column shop --model MODEL --json > evaluation.json
    python benchmarks/adaptation.py shops.csv --splits val,test --model MODEL --json adaptation.json
    python examples/default_model/card.py MODEL evaluation.json --adaptation adaptation.json \\
        --notes examples/default_model/notes.md

The column shop of mix.csv names the shop of a photo, and the source of those that come from one archive. Prints the
section, too: its tables stand in README.md as well. --notes takes the place of what the card says of the data, the
licence and the weaknesses.
"""

import argparse
import json
from pathlib import Path

from cataloger.model import CARD, Bundle, read_bundle, seal
from cataloger.training.evaluation import shop_section, write_with_section


def main() -> None:
    """Read the figures, write the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("evaluation", type=Path)
    parser.add_argument("--adaptation", type=Path)
    parser.add_argument("--notes", type=Path)
    parser.add_argument("--output", type=Path, help="directory of the new bundle; default: that of the model")
    options = parser.parse_args()
    adaptation = None if options.adaptation is None else read(options.adaptation)
    section = shop_section(read(options.evaluation), adaptation)
    output = options.output or options.model
    write_with_section(read_bundle(options.model), output, section)
    if options.notes is not None:
        replace_notes(read_bundle(output), options.notes.read_text(encoding="utf-8"))
    print(section)


def replace_notes(bundle: Bundle, notes: str) -> None:
    """Put other notes into the card of a bundle, between its categories and its training."""
    card = (bundle.path / CARD).read_text(encoding="utf-8")
    before, _, rest = card.partition("## Data\n")
    _, training, after = rest.partition("## Training\n")
    (bundle.path / CARD).write_text(f"{before}{notes}\n{training}{after}", encoding="utf-8")
    seal(bundle)


def read(path: Path) -> dict:
    """Read a file of one JSON object."""
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
