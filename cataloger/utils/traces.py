"""Spans of OpenTelemetry: which part of a run took how long, beside what other programs of the shop do.

Only where the library is loaded already, by a host that calls us or by `opentelemetry-instrument`; we neither load it
nor say where spans go. Texts of errors do not go into spans, only which error it was: a driver's may hold what is
secret.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def span(name: str, **attributes: str | int | float) -> Iterator[None]:
    """Have a span of this name, below the present one, while the block runs. attributes: see `note`."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        yield
        return
    tracer = trace.get_tracer("cataloger")
    with tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as current:
        note(**attributes)
        try:
            yield
        except BaseException as error:
            current.set_attribute("error.type", type(error).__name__)
            current.set_status(trace.StatusCode.ERROR)
            raise


def traced(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that has a span of this name for each call of a function."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*arguments: P.args, **options: P.kwargs) -> R:
            with span(name):
                return function(*arguments, **options)

        return call

    return decorate


def note(**attributes: str | int | float) -> None:
    """Add attributes to the present span; their names get "cataloger." in front."""
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is not None:
        trace.get_current_span().set_attributes({f"cataloger.{name}": value for name, value in attributes.items()})
