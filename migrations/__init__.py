"""Alembic's environment and the revisions of our tables. Imports `db`."""

__all__: list[str] = []
