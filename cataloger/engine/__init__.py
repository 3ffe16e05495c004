"""The way of an image through a run: a source is planned, fetched, decoded, classified and recorded."""

from typing import TYPE_CHECKING

from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.engine.session import JobContext, SourceSession

__all__ = ["JobContext", "SourceSession"]


__getattr__ = lazy_names(__name__, {"session": ["JobContext", "SourceSession"]})
