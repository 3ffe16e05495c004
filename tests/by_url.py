"""What takes a `DatabaseURL`, for tests, which have URLs as text."""

from sqlalchemy import URL

from cataloger import schema as schemas
from cataloger.db import schema as revisions
from cataloger.db import session
from cataloger.db.urls import DatabaseURL


def parsed(url):
    """Return the URL as a value, whether it is text or SQLAlchemy's."""
    return DatabaseURL(url) if isinstance(url, URL) else DatabaseURL.parse(url)


def taking_text(action):
    return lambda url, *arguments, **options: action(parsed(url), *arguments, **options)


open_database = taking_text(schemas.open_database)
open_results = taking_text(schemas.open_results)
open_source = taking_text(schemas.open_source)
make_engine = taking_text(session.make_engine)
current = taking_text(revisions.current)
upgrade = taking_text(revisions.upgrade)
downgrade = taking_text(revisions.downgrade)
upgrade_sql = taking_text(revisions.upgrade_sql)
