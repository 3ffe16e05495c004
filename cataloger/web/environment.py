"""How pages are made from templates: no text from outside becomes markup, and a value that is missing is an error."""

import base64
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cataloger.utils import printable

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent
Filters = Mapping[str, Callable[..., Any]]


def template_environment(file: str, filters: Filters | None = None) -> "Environment":
    """Return what renders the templates in the folder `templates` beside a file; they may use those of this package.

    filters: more of them than `visible`, which shows text as `printable` has it, and `number`, which groups digits.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([Path(file).parent / "templates", HERE / "templates"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"visible": printable, "number": "{:,}".format, "script_hash": script_hash}
    environment.filters |= filters or {}
    environment.globals["asset"] = _embedded
    return environment


def read_asset(name: str) -> bytes:
    """Return a file of the folder `static` as it lies there. name: one of ours, never from outside."""
    return (HERE / "static" / name).read_bytes()


def script_hash(script: str) -> str:
    """Return what a policy names to let a page run this script, and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _embedded(name: str) -> str:
    """Return an asset as part of a page that needs nothing else."""
    from markupsafe import Markup

    return Markup(read_asset(name).decode())  # noqa: S704 - files of ours, without any text from outside
