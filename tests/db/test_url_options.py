"""Options in a database URL: what the driver has reaches it, as it takes it; all else is refused in one line."""

from contextlib import contextmanager

import pytest
from by_url import current, make_engine, open_database, open_source, parsed, upgrade
from sqlalchemy import make_url, text

from cataloger.db.connections import connect
from cataloger.db.url_options import driver_arguments
from cataloger.errors import DatabaseError, UsageError

POSTGRESQL, MYSQL, SQLITE = "postgresql://shop@db/x", "mysql://shop@db/x", "sqlite:///x.db"


def written(url, query):
    return make_url(url).set(drivername=url.get_backend_name()).render_as_string(hide_password=False) + query


@contextmanager
def transaction(url):
    engine = make_engine(url)
    with connect(engine) as connection:
        yield connection
    engine.dispose()


def shown(url, *names):
    with transaction(url) as connection:
        return [connection.scalar(text(f"SHOW {name}")) for name in names]


@pytest.mark.parametrize(
    ("url", "arguments"),
    [
        (
            f"{POSTGRESQL}?sslmode=verify-full&sslrootcert=/ca.pem",
            {"sslmode": "verify-full", "sslrootcert": "/ca.pem"},
        ),
        (f"{POSTGRESQL}?prepare_threshold=7", {"prepare_threshold": 7}),
        (f"{POSTGRESQL}?prepare_threshold=None", {"prepare_threshold": None}),
        (f"{POSTGRESQL}?client_encoding=latin1", {}),
        (f"{POSTGRESQL}?host=/run/postgresql", {}),
        (f"{POSTGRESQL}?host=one:5432&host=two:5432&target_session_attrs=any", {"target_session_attrs": "any"}),
        (f"{MYSQL}?charset=latin1&use_unicode=1", {}),
        (f"{MYSQL}?read_timeout=5&local_infile=off", {"read_timeout": 5, "local_infile": False}),
        (f"{MYSQL}?ssl=true", {"ssl": {"ca": None}}),
        (f"{MYSQL}?ssl_ca=/ca.pem&ssl_check_hostname=no", {"ssl": {"ca": "/ca.pem", "check_hostname": False}}),
        (f"{SQLITE}?timeout=2.5&cached_statements=9", {"timeout": 2.5, "cached_statements": 9}),
        ("postgresql+pg8000://shop@db/x?anything=goes", {}),
    ],
)
def test_the_driver_gets_what_it_understands(url, arguments):
    assert driver_arguments(parsed(url)) == arguments


def test_options_of_tls_of_both_kinds_reach_pymysql_together():
    query = "?ssl_ca=/ca.pem&ssl_verify_identity=true&ssl_key=/k&ssl_cert=/c&ssl_key_password=s3cret"
    found = driver_arguments(parsed(MYSQL + query))
    context = {"ca": "/ca.pem", "key": "/k", "cert": "/c", "password": "s3cret"}
    assert found.pop("ssl") == context | {"check_hostname": True, "verify_mode": True}
    assert found == {"ssl_verify_identity": None, "ssl_key_password": None}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"{POSTGRESQL}?sslmod=require", "'sslmod', which the driver psycopg does not have; did you mean sslmode?"),
        (f"{POSTGRESQL}?autocommit=1", "'autocommit', which the driver psycopg does not have"),
        (f"{POSTGRESQL}?sslmode=require&sslmode=disable", "the option sslmode more than once"),
        (f"{POSTGRESQL}?prepare_threshold=often", "the option prepare_threshold must be a whole number, or none"),
        (f"{MYSQL}?sslmode=require", "'sslmode', which the driver pymysql does not have"),
        (
            f"{MYSQL}?conect_timeout=5",
            "'conect_timeout', which the driver pymysql does not have; did you mean connect_t",
        ),
        (f"{MYSQL}?connect_timeout=0", "the option connect_timeout must be a whole number above 0"),
        (f"{MYSQL}?ssl_verify_cert=perhaps", "the option ssl_verify_cert must be true or false"),
        (f"{MYSQL}?host=a&host=b", "the option host more than once"),
        (f"{SQLITE}?timeout=soon", "the option timeout must be a number of seconds"),
        (f"{SQLITE}?timeout=inf", "the option timeout must be a number of seconds"),
        (f"{SQLITE}?mode=ro&uri=true", "'mode', which the driver sqlite does not have"),
        (f"{MYSQL}?pasword=s3cret", "did you mean password"),
    ],
)
def test_what_the_driver_does_not_understand_is_refused(url, said):
    with pytest.raises(UsageError) as caught:
        make_engine(url)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "query", ["?sslmode=perhaps", "?connect_timeout=soon", "?keepalives=many", "?sslrootcert=/none&sslmode=verify-ca"]
)
def test_a_value_that_postgresql_refuses_is_one_line(postgresql_server, query):
    for action in (current, open_source):
        with pytest.raises(DatabaseError) as caught:
            action(written(postgresql_server, query))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "query", ["?ssl=true", "?ssl_ca=/none", "?collation=none", "?read_default_file=/none&port=1"]
)
def test_a_value_that_mariadb_refuses_is_one_line(mariadb_server, query):
    for action in (current, open_source):
        with pytest.raises(DatabaseError) as caught:
            action(written(mariadb_server, query))
        assert "\n" not in str(caught.value)


def test_what_a_user_asks_for_wins_over_what_we_ask_for(postgresql_server, mariadb_server):
    """And it is there beside our own, which is UTF-8 in any case."""
    url = written(postgresql_server, "?application_name=night&client_encoding=latin1&options=-cgeqo%3Doff")
    assert shown(url, "application_name", "client_encoding", "geqo") == ["night", "UTF8", "off"]
    query = "?charset=latin1&connect_timeout=5&client_flag=8&init_command=SET%20SESSION%20group_concat_max_len%3D77"
    with transaction(written(mariadb_server, query)) as connection:
        assert connection.scalar(text("SELECT @@group_concat_max_len")) == 77
        assert connection.scalar(text("SELECT @@character_set_client")) == "utf8mb4"
        assert connection.scalar(text("SELECT @@lock_wait_timeout")) == 30


def test_a_file_is_waited_for_as_long_as_is_asked(tmp_path):
    url = f"sqlite:///{tmp_path}/x.db?timeout=1.5"
    upgrade(url)
    database = open_database(url)
    with database.read() as connection:
        assert connection.scalar(text("PRAGMA busy_timeout")) == 1500
    database.close()
