"""Small JPEGs of labelled images for a report, through the same fetch and decode as everything else."""

from collections.abc import Sequence

from cataloger.imaging import as_jpeg, data_uri
from cataloger.options import PreprocessSpec
from cataloger.records import Failure
from cataloger.training.data.examples import Example
from cataloger.training.data.pixels import decode_examples

SIDE = 192  # pixels


def draw_thumbnails(examples: Sequence[Example]) -> list[str | None]:
    """Return each image as a data URI, its longest side SIDE pixels, small ones too; None where it cannot be read."""
    images = decode_examples(examples, PreprocessSpec(size=SIDE))
    return [
        None
        if isinstance(each, Failure)
        else data_uri(as_jpeg(each.pixels, each.width, each.height, SIDE, enlarges=True))
        for each in images
    ]
