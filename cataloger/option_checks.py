"""What every group of options checks of itself."""

from cataloger.errors import UsageError


def require(condition: bool, message: str) -> None:
    """Raise UsageError with this message unless the condition holds."""
    if not condition:
        raise UsageError(message)
