"""Errors of drivers as one line that says what to do; parameters and passwords are left out."""

import re
from urllib.parse import quote

from sqlalchemy.exc import DataError, DBAPIError

from cataloger.db.urls import DatabaseURL
from cataloger.errors import DatabaseError, UnavailableError, ValueRefusedError

# Transient errors: SQLSTATEs of PostgreSQL, by their beginning (connection, rollback, shutdown, locks, too many),
# error numbers of MySQL and MariaDB, and names of SQLite's, by their beginning.
TRANSIENT_STATES = ("08", "40", "57P", "55P03", "53300")
TRANSIENT_NUMBERS = frozenset({1040, 1053, 1205, 1213, 1927, 2002, 2003, 2006, 2013, 2014, 2055})
TRANSIENT_NAMES = ("SQLITE_BUSY", "SQLITE_LOCKED")
# The same for values that cannot be stored: of data (22), above a limit of the program (54); conversions, lengths,
# conditions of a column, of which JSON is one.
REFUSED_STATES = ("22", "54")
REFUSED_NUMBERS = frozenset({1118, 1264, 1300, 1366, 1406, 3140, 3819, 3988, 4025})
REFUSED_NAMES = ("SQLITE_TOOBIG",)
NOT_A_NUMBER = "can not be used with MySQL"

WRONG_PASSWORD = ("password authentication failed", "access denied for user")
NO_SERVER = ("connection refused", "could not translate host", "can't connect", "name or service not known")
ENCODING = "the database, or its table, is not in UTF-8; `cataloger db upgrade` says what it cannot hold"
ADVICE = {
    "database is locked": "another program has locked it; wait until it has finished or stop it, then run again",
    "readonly database": "this user may not write to the file or its folder",
    "file is not a database": "it is not a SQLite file; name another one with --db",
    "malformed": "the SQLite file is damaged; restore it from a backup",
    "unable to open database file": "the file or folder does not exist, or this user may not read or write there "
    "(SQLite writes beside a file even to read it: copy it from a read-only file system to another place)",
    "disk i/o error": "the disk is full or failing",
    "disk is full": "make room, then run again",
    "permission denied": "grant the privilege, then run again",
    "command denied": "grant the privilege, then run again",
    "statement timeout": "the server's statement_timeout has ended it; raise it for this user, then run again",
    "max_statement_time exceeded": "raise the server's max_statement_time for this user, then run again",
    "read-only transaction": "the server or this user is set to read only; change that, or name another server",
    "read-only option": "the server is set to read only; change that, or name another server",
    "in statement pooling mode": "the pooler must give a connection for whole transactions (pool_mode = transaction)",
    "unsupported startup parameter": "the pooler refuses this option; leave it out of the URL",
    "encode character": ENCODING,
    "has no equivalent in encoding": ENCODING,
    "incorrect string value": ENCODING,
    "'cryptography' package is required": "install it: pip install cryptography",
}


def translate_driver_error(error: Exception, url: DatabaseURL, *, connecting: bool = False) -> DatabaseError:
    """Turn a driver's error into one line that says what to do.

    It becomes an UnavailableError if the same transaction may succeed a little later. connecting: it was not begun.
    """
    text = driver_message(error, url)
    lowered = text.lower()
    where = url.redacted
    if any(phrase in lowered for phrase in WRONG_PASSWORD):
        return DatabaseError(f"{where}: the user name or password is wrong, or the user may not connect")
    if any(phrase in lowered for phrase in NO_SERVER):
        return UnavailableError(f"{where}: no database server answers there; check host and port, and that it runs")
    advice = next((advice for phrase, advice in ADVICE.items() if phrase in lowered), None)
    kind: type[DatabaseError] = ValueRefusedError if _is_refused(error) else DatabaseError
    if is_transient(error) or (connecting and _has_no_state(error)):
        kind = UnavailableError
    return kind(f"{where}: {text}" + (f": {advice}" if advice else ""))


def driver_message(error: Exception, url: DatabaseURL) -> str:
    """Return the message of a driver, in one line without passwords."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return _clean(str(cause.args[-1] if isinstance(error, DBAPIError) and cause.args else cause), url)


def is_transient(error: Exception) -> bool:
    """True for a lost connection, a lock of another transaction, a deadlock or a failed serialization."""
    if not isinstance(error, DBAPIError):
        return False
    state, number, name = _codes(error)
    is_known = state.startswith(TRANSIENT_STATES) or name.startswith(TRANSIENT_NAMES)
    return error.connection_invalidated or is_known or number in TRANSIENT_NUMBERS


def _is_refused(error: Exception) -> bool:
    """True for a value that the database cannot hold; drivers encode text and numbers themselves, too."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, UnicodeEncodeError | OverflowError)
    state, number, name = _codes(error)
    # Drivers refuse by themselves, and without a state: NUL in text, a number that is none.
    is_drivers = isinstance(error.orig, UnicodeEncodeError) or (isinstance(error, DataError) and not state)
    is_drivers |= NOT_A_NUMBER in str(number)
    return is_drivers or state.startswith(REFUSED_STATES) or name in REFUSED_NAMES or number in REFUSED_NUMBERS


def _codes(error: DBAPIError) -> tuple[str, object, str]:
    """Return the codes of an error: SQLSTATE, number of MySQL, name of SQLite; "" and None for none."""
    number = error.orig.args[0] if error.orig is not None and error.orig.args else None
    return str(getattr(error.orig, "sqlstate", None) or ""), number, getattr(error.orig, "sqlite_errorname", "")


def _has_no_state(error: Exception) -> bool:
    """True for what psycopg says when a server starts, stops or hangs up: there is only text, in any language."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", "") is None


def _clean(text: str, url: DatabaseURL) -> str:
    """Return one line without the password, which drivers also take from the query of the URL."""
    queried = [value for name, value in url.parsed.query.items() if "pass" in name.lower()]
    for secret in (url.parsed.password, *queried):
        for form in (str(secret), quote(str(secret), safe="")) if secret else ():
            text = text.replace(form, "***")
    return re.sub(r"\s+", " ", text).strip()[:300]
