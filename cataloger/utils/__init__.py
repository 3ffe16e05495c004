"""Helpers that know nothing of images, models or databases. Imports nothing of ours."""

from cataloger.utils.lazy import lazy_names

__all__ = ["lazy_names"]
