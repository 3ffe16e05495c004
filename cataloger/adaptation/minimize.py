"""Minimising a smooth function of many numbers: L-BFGS (Nocedal, 1980) with a backtracking line search."""

from collections import deque
from collections.abc import Callable

import numpy as np

from cataloger.records import Floats

MEMORY = 10
STEPS = 100
SUFFICIENT = 1e-4
TOLERANCE = 1e-6
"""Relative improvement of the value below which the search ends."""

Function = Callable[[Floats], tuple[float, Floats]]
"""Returns the value and the gradient at a point."""


def minimize(function: Function, start: Floats, *, steps: int = STEPS) -> Floats:
    """Return the point of the smallest value that was found. start: float64, one axis."""
    point, (value, gradient) = start, function(start)
    pairs: deque[tuple[Floats, Floats, float]] = deque(maxlen=MEMORY)
    for _ in range(steps):
        direction = -_inverse_hessian_times(gradient, pairs)
        slope = float(gradient @ direction)
        if slope >= 0:  # rounding: nothing is left to win
            break
        length = 1.0 if pairs else min(1.0, 1.0 / max(float(np.abs(gradient).sum()), 1e-12))
        found = _search(function, point, value, direction, slope, length)
        if found is None:
            break
        moved, new_value, new_gradient = found
        step, change = moved - point, new_gradient - gradient
        if (curvature := float(step @ change)) > 1e-12:
            pairs.append((step, change, 1.0 / curvature))
        gain = value - new_value
        point, value, gradient = moved, new_value, new_gradient
        if gain <= TOLERANCE * max(1.0, abs(value)):
            break
    return point


def _search(
    function: Function, point: Floats, value: float, direction: Floats, slope: float, length: float
) -> tuple[Floats, float, Floats] | None:
    """Return the first point along a direction, halving the step, that is low enough; None if there is none."""
    for _ in range(30):
        moved = point + length * direction
        new_value, gradient = function(moved)
        if new_value <= value + SUFFICIENT * length * slope:
            return moved, new_value, gradient
        length /= 2
    return None


def _inverse_hessian_times(gradient: Floats, pairs: deque[tuple[Floats, Floats, float]]) -> Floats:
    vector, factors = gradient.copy(), []
    for step, change, scale in reversed(pairs):
        factor = scale * float(step @ vector)
        factors.append(factor)
        vector -= factor * change
    if pairs:
        step, change, _ = pairs[-1]
        vector *= float(step @ change) / float(change @ change)
    for (step, change, scale), factor in zip(pairs, reversed(factors), strict=True):
        vector += (factor - scale * float(change @ vector)) * step
    return vector
