"""The command line: the app, its configuration, flags and tables.

Commands lie in `cataloger.cli.commands`; imports everything.
"""

__all__ = [
    "app",
    "config",
    "data_flags",
    "extras",
    "flags",
    "groups",
    "labelled_data",
    "print_evaluation",
    "print_reviewed",
    "render",
    "run_command",
]
