"""Alembic environment. It is given a connection, or a URL for `--sql`; there is no alembic.ini."""

from alembic import context

from cataloger.migrations.statements import VERSION_TABLE, mend_tables


def run() -> None:
    """Run the revisions on the connection, or print them."""
    attributes = context.config.attributes
    if context.is_offline_mode():
        url = attributes["url"]
        context.configure(dialect_name=url.get_dialect().name, literal_binds=True, version_table=VERSION_TABLE)
    else:
        mend_tables(attributes["connection"])
        context.configure(connection=attributes["connection"], version_table=VERSION_TABLE)
    with context.begin_transaction():
        if first := attributes.get("first"):
            context.get_context().impl.static_output(first)
        context.run_migrations()


run()
