"""Alembic environment of the tables of cataloger."""
