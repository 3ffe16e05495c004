"""How pages are made from templates: no text from outside becomes markup, and a value that is missing is an error."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cataloger.utils.text import printable

if TYPE_CHECKING:
    from jinja2 import Environment

Filters = Mapping[str, Callable[..., Any]]


def template_environment(file: str, filters: Filters | None = None) -> "Environment":
    """Return what renders the templates in the folder `templates` beside a file.

    filters: more of them than `visible`, which shows text as `printable` has it.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(file).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"visible": printable, **(filters or {})}
    return environment
