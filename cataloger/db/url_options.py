"""Options in the query of a database URL: those that the driver has, with values that it takes."""

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from cataloger.db.urls import DatabaseURL
from cataloger.errors import UsageError

Options = Mapping[str, Callable[[str], Any]]

# Part of many URLs. We speak UTF-8 with every server, whatever they say.
IGNORED = ("charset", "client_encoding", "use_unicode")
YES, NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
# Options of TLS, and what they are called in the context that pymysql makes of them.
TLS = {
    "ssl_ca": "ca",
    "ssl_capath": "capath",
    "ssl_cert": "cert",
    "ssl_check_hostname": "check_hostname",
    "ssl_cipher": "cipher",
    "ssl_key": "key",
    "ssl_key_password": "password",
    "ssl_verify_cert": "verify_mode",
    "ssl_verify_identity": "check_hostname",
}


def driver_arguments(url: DatabaseURL) -> dict[str, Any]:
    """Return the options of a URL as arguments of its driver; none for a driver that we do not install.

    Raises UsageError for an option that the driver does not have or a value that it does not take, ImportError where
    the driver is missing.
    """
    driver = url.parsed.drivername.partition("+")[2] or url.backend
    if driver not in OPTIONS:
        return {}
    options, given = OPTIONS[driver](), {}
    for name, value in url.parsed.query.items():
        if name not in IGNORED and not (driver == "psycopg" and name in ("host", "port")):
            given[name] = _value(name, value, options, driver)
    return _with_tls(given) if driver == "pymysql" else given


def _value(name: str, value: object, options: Options, driver: str) -> Any:
    if name not in options:
        near = difflib.get_close_matches(name.lower(), options, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"--db has the option {name!r}, which the driver {driver} does not have{hint}")
    if not isinstance(value, str):
        raise UsageError(f"--db has the option {name} more than once")
    try:
        return options[name](value)
    except ValueError as error:
        raise UsageError(f"--db: the option {name} must be {error}") from error


def _threshold(text: str) -> int | None:
    if text.lower() == "none":
        return None
    if not (text.isascii() and text.isdigit()):
        raise ValueError("a whole number, or none")
    # At 0 the driver would prepare all, our BEGIN with its settings, too, which is several statements in one message.
    return max(1, int(text))


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ValueError("a whole number above 0")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise ValueError("a number of seconds")
    return seconds


def _switch(text: str) -> bool:
    if text.lower() not in (*YES, *NO):
        raise ValueError("true or false")
    return text.lower() in YES


def _sqlite() -> Options:
    return {"timeout": _seconds, "cached_statements": _count}


def _psycopg() -> Options:
    from psycopg.pq import Conninfo

    names = [option.keyword.decode() for option in Conninfo.get_defaults()]
    return {**dict.fromkeys(names, str), "prepare_threshold": _threshold}


def _pymysql() -> Options:
    texts = "bind_address collation host init_command password program_name read_default_file read_default_group "
    texts += "server_public_key sql_mode unix_socket user "
    texts += "ssl_ca ssl_capath ssl_cert ssl_cipher ssl_key ssl_key_password"
    counts = "client_flag connect_timeout max_allowed_packet port read_timeout write_timeout"
    switches = "local_infile ssl ssl_check_hostname ssl_disabled ssl_verify_cert ssl_verify_identity"
    kinds: list[tuple[str, Callable[[str], Any]]] = [(texts, str), (counts, _count), (switches, _switch)]
    return {name: kind for names, kind in kinds for name in names.split()}


OPTIONS: dict[str, Callable[[], Options]] = {
    "psycopg": _psycopg,
    "pymysql": _pymysql,
    "sqlite": _sqlite,
    "pysqlite": _sqlite,
}


def _with_tls(given: dict[str, Any]) -> dict[str, Any]:
    """Give pymysql all options of TLS in one: of two kinds, SQLAlchemy's and its own, it would read one alone."""
    context = {TLS[name]: value for name, value in given.items() if name in TLS}
    if given.get("ssl_verify_identity"):
        context.setdefault("verify_mode", True)
    # SQLAlchemy reads client_flag itself, and adds to it.
    arguments = {name: value for name, value in given.items() if name not in (*TLS, "ssl", "client_flag")}
    # What SQLAlchemy would hand on as it is.
    arguments |= dict.fromkeys({"ssl_key_password", "ssl_verify_cert", "ssl_verify_identity"} & given.keys())
    if context or "ssl" in given:
        arguments["ssl"] = {"ca": None, **context}
    return {**arguments, "ssl_disabled": True} if given.get("ssl") is False else arguments
