"""Groups of commands; not in `app`, so that the modules of commands can import this one."""

import re
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cataloger.errors import UsageError
from cataloger.utils import existing_path

if TYPE_CHECKING:
    from types import ModuleType

# As a path writes it, with one slash.
_OBJECT_ADDRESS = re.compile(r"(s3|gs|az):/(?=[^/])", re.IGNORECASE)


def make_group(text: str) -> typer.Typer:
    """Make a group that shows its help when called without a command."""
    return typer.Typer(
        help=text, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False
    )


class LazyCommands(dict[str, Any]):
    """Commands by name, each in a module of its own that is loaded when the command is asked for.

    A module holds a group as `app`, or a function of the command's name and, if there are any, its EXAMPLES
    and, as COMMAND, its class.
    """

    def __init__(self, package: str, names: tuple[str, ...]) -> None:
        super().__init__(dict.fromkeys(names))
        self._package = package

    def __getitem__(self, name: str) -> Any:
        command = super().__getitem__(name)
        if command is None:
            command = self[name] = _command(name, import_module(f"{self._package}.{name}"))
        return command

    def get(self, name: str, default: Any = None) -> Any:
        """Return the command of a name, loaded now."""
        return self[name] if name in self else default  # noqa: SIM401 (this is what `get` calls)

    def items(self) -> Any:
        """Return names and commands; loads all of them."""
        return {name: self[name] for name in self}.items()

    def values(self) -> Any:
        """Return the commands; loads all of them."""
        return {name: self[name] for name in self}.values()


def _command(name: str, module: "ModuleType") -> Any:
    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
        cls = getattr(module, "COMMAND", None)
        app.command(name, cls=cls, epilog=getattr(module, "EXAMPLES", None))(getattr(module, name))
    for each in app.registered_commands:
        each.callback = each.callback and _with_clean_paths(each.callback)
    command = typer.main.get_command(app)
    command.name = name
    return command


def _with_clean_paths(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command its paths as they are written or, where that does not exist, cleaned."""

    @wraps(function)
    def call(**values: Any) -> Any:
        return function(**{name: _clean(value) for name, value in values.items()})

    return call


def _clean(value: Any) -> Any:
    if isinstance(value, list):
        return [_clean(each) for each in value]
    if not isinstance(value, Path):
        return value
    path = Path(existing_path(str(value)))
    if (scheme := _OBJECT_ADDRESS.match(str(path))) and not path.exists():
        # Without the address, which may hold keys.
        raise UsageError(
            f"an address of an object store ({scheme[1].lower()}://...) was given where a file or folder of this "
            "machine is wanted: copy what is there, or write here and copy it then"
        )
    return path
