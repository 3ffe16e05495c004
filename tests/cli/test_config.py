"""cataloger.toml: precedence, tables, and that nothing unknown passes."""

import pytest

from cataloger.cli.config import defaults_for, load_config
from cataloger.errors import ConfigError

COMMANDS = {
    "tag": {"db": "db", "batch-size": "batch_size"},
    "doctor": {"json": "json_output"},
    "db upgrade": {"db": "db", "sql": "sql"},
}


def test_general_keys_hold_for_every_command_that_has_the_flag():
    defaults = defaults_for({"db": "sqlite:///x.db"}, COMMANDS)
    assert defaults == {"tag": {"db": "sqlite:///x.db"}, "doctor": {}, "db": {"upgrade": {"db": "sqlite:///x.db"}}}


def test_a_table_wins_over_general_keys():
    config = {"db": "a", "tag": {"db": "b", "batch-size": 4}, "db": "a"}  # noqa: F601
    assert defaults_for(config, COMMANDS)["tag"] == {"db": "b", "batch_size": 4}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"dbb": "x"}, "unknown key 'dbb'"),
        ({"tagg": {}}, "unknown table 'tagg'"),
        ({"tag": {"batch_size": 4}}, r"\[tag\] .* unknown key 'batch_size'; known are batch-size, db"),
        ({"doctor": {"db": "x"}}, r"\[doctor\] .* unknown key 'db'"),
    ],
)
def test_unknown_keys_are_errors(config, message):
    with pytest.raises(ConfigError, match=message):
        defaults_for(config, COMMANDS)


def test_no_file_means_no_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config(None) == {}


def test_the_file_of_the_working_directory_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cataloger.toml").write_text('db = "x"\n')
    assert load_config(None) == {"db": "x"}


@pytest.mark.parametrize(("text", "message"), [(None, "cannot be read"), ("db = ", "not valid TOML")])
def test_a_named_file_that_cannot_be_used_is_an_error(tmp_path, text, message):
    path = tmp_path / "other.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(path)
