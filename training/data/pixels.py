"""Labelled images as pixels, through the same fetch and decode as `cataloger tag`."""

import os
from collections.abc import Iterator, Sequence

from cataloger.fetch import fetch
from cataloger.imaging import DecodePool
from cataloger.options import Limits, PreprocessSpec
from cataloger.records import Failure, Image, Item
from cataloger.training.data.examples import Example
from cataloger.utils import available_cpus


def decode_examples(examples: Sequence[Example], spec: PreprocessSpec) -> Iterator[Image | Failure]:
    """Decode examples in order. `item.key` of each result is the index of its example, in decimal."""
    limits = Limits()
    items = (
        Item(key=str(index), uri=example.file, version="", path=os.fsencode(example.path))
        for index, example in enumerate(examples)
    )
    with DecodePool(spec, limits, workers=available_cpus()) as pool:
        yield from pool.decode(fetch(items, limits))
