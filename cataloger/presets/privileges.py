"""The privileges that the user of a preset's runs needs on the shop's tables, as statements."""

from cataloger.presets.filling import FilledPreset

USER = "catalog_runner"
OF_POSTGRESQL = ("SEQUENCE ",)
"""Beginnings of objects that only PostgreSQL has."""


def grants(filled: FilledPreset, backend: str, database: str) -> list[str]:
    """Return GRANT statements for the user catalog_runner. backend: "mysql" or "postgresql"."""
    is_mysql = backend != "postgresql"
    user = f"{USER}@'%'" if is_mysql else USER
    return [
        f"GRANT {rights} ON {f'{database}.{name}' if is_mysql else name} TO {user};"
        for name, rights in filled.privileges.items()
        if not (is_mysql and name.startswith(OF_POSTGRESQL))
    ]
