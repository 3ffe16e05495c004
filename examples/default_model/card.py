"""Put into a model's card what it does in shops that it has not seen, and what adapting to a shop gives.

    cataloger evaluate mix.csv --split test --group-column shop --model MODEL --json > evaluation.json
    python benchmarks/adaptation.py shops.csv --splits val,test --model MODEL --json adaptation.json
    python examples/default_model/card.py MODEL evaluation.json --adaptation adaptation.json

The column shop of mix.csv names the shop of a photo, and the source of those that come from one archive. Prints the
section, too: its tables stand in README.md as well.
"""

import argparse
import json
from pathlib import Path

from cataloger.model import read_bundle
from cataloger.training.evaluation import shop_section, write_with_section


def main() -> None:
    """Read the figures, write the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("evaluation", type=Path)
    parser.add_argument("--adaptation", type=Path)
    parser.add_argument("--output", type=Path, help="directory of the new bundle; default: that of the model")
    options = parser.parse_args()
    adaptation = None if options.adaptation is None else read(options.adaptation)
    section = shop_section(read(options.evaluation), adaptation)
    write_with_section(read_bundle(options.model), options.output or options.model, section)
    print(section)


def read(path: Path) -> dict:
    """Read a file of one JSON object."""
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
