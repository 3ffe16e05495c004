"""Labelled images as pixels, through the same fetch and decode as `cataloger tag`."""

from collections.abc import Iterator, Sequence

from cataloger.fetch import fetch
from cataloger.imaging import DecodePool
from cataloger.options import Limits, PreprocessSpec
from cataloger.records import Failure, Image
from cataloger.training.data.examples import Example
from cataloger.training.data.objects import remote_of
from cataloger.utils import available_cpus


def decode_examples(examples: Sequence[Example], spec: PreprocessSpec) -> Iterator[Image | Failure]:
    """Decode examples in order. `item.key` of each result is the index of its example, in decimal."""
    limits = Limits()
    items = (example.item(str(index)) for index, example in enumerate(examples))
    workers = available_cpus()
    with remote_of(examples, limits) as remote, DecodePool(spec, limits, workers=workers) as pool:
        yield from pool.decode(fetch(items, limits, remote))
