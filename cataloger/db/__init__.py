"""The tables of cataloger: models, sessions and schema revisions."""
