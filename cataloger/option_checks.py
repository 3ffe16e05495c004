"""What every group of options checks of itself."""

from dataclasses import fields
from typing import Any, Literal, get_args, get_origin

from cataloger.errors import UsageError


def require(condition: bool, message: str) -> None:
    """Raise UsageError with this message unless the condition holds."""
    if not condition:
        raise UsageError(message)


def require_choices(options: Any) -> None:
    """Refuse a value that is not one of its field's `Literal` choices."""
    for field in fields(options):
        choices = get_args(field.type) if get_origin(field.type) is Literal else ()
        value = getattr(options, field.name)
        require(not choices or value in choices, f"{field.name} must be one of {choices}, not {value!r}")
