"""How a group of subcommands is made; apart from `app`, so that its modules can import it."""

import typer


def make_group(text: str) -> typer.Typer:
    """Make a group that shows its help when called bare."""
    return typer.Typer(help=text, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)
