"""cataloger.toml: precedence, tables, and that nothing unknown passes."""

import os
import unicodedata

import pytest
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.cli.config import clean_arguments, clean_environment, defaults_for, load_config
from cataloger.errors import ConfigError
from cataloger.schema.revisions import HEAD

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
        ({"db": {"upgrade": 5}}, r"\[db\] .*: upgrade is a command; write a table \[db.upgrade\]"),
        ({"tag": {"db": {"a": 1}}}, r"\[tag\] .*: db takes a value, not a table"),
    ],
)
def test_what_is_no_flag_is_an_error(config, message):
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


@pytest.mark.parametrize(
    "text",
    [
        "batch-size = true",
        "db = false",
        "[sync]\nid = [true]",
        "[sync]\nid = [['sku']]",
        "[sync]\nid = {sku = 1}",
        "[tag]\nmodel = 2026-01-01",
        "[runs]\ndiff = 5",
        "[runs.diff]\nformat = []",
        "force = 'perhaps'",
        "batch-size = 1.5",
        "batch-size = " + "9" * 5000,
        "batch-size = " + "[" * 3000 + "]" * 3000,
    ],
    ids=lambda text: text[:20],
)
def test_a_value_that_no_flag_can_have_is_wrong_configuration(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cataloger.toml").write_text(text)
    result = CliRunner().invoke(app, ["runs", "diff", "1", "2"] if "runs" in text else command_of(text))
    assert result.exit_code == 2, result.output
    assert result.output.strip().count("\n") <= 3
    assert not list(tmp_path.glob("*.db"))


def command_of(text):
    """Return the command that a configuration is for, complete but for what it says."""
    if "[sync]" in text:
        return ["sync", "--db", "sqlite:///shop.db", "--table", "t", "--image", "photo"]
    return ["tag", ".", "--dry-run"]


@pytest.mark.parametrize("make", ["folder", "loop"])
def test_a_file_that_is_there_and_cannot_be_read_is_wrong_configuration(tmp_path, monkeypatch, make):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "cataloger.toml"
    path.mkdir() if make == "folder" else path.symlink_to(path)
    result = CliRunner().invoke(app, ["runs", "list"])
    assert (result.exit_code, "cataloger.toml cannot be read" in result.output) == (2, True)


def test_switches_are_true_or_false_and_texts_may_look_like_numbers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cataloger.toml").write_text(
        "force = false\n[tag]\nverbose = 1\nretry-failed = true\n[sync]\nid = [5]\n"
    )
    (tmp_path / "photos").mkdir()
    result = CliRunner().invoke(app, ["tag", "photos", "--dry-run"])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
def test_a_file_of_windows_is_read_like_any_other(tmp_path, encoding, line_break):
    path = tmp_path / "other.toml"
    path.write_bytes(f'db = "sqlite:///Mütze.db\\r\\n"{line_break}[tag]{line_break}batch-size = 4'.encode(encoding))
    assert load_config(path) == {"db": "sqlite:///Mütze.db", "tag": {"batch-size": 4}}


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
def test_a_file_in_another_encoding_is_an_error_that_says_so(tmp_path, encoding):
    path = tmp_path / "other.toml"
    path.write_text('db = "Mütze"\n', encoding=encoding)
    with pytest.raises(ConfigError, match=r"other.toml is not in UTF-8 \(.*\): save it in UTF-8"):
        load_config(path)


def test_line_breaks_of_windows_around_variables_and_arguments_mean_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CATALOGER_DB", "sqlite:///e.db\r")
    (tmp_path / "Mütze").mkdir()
    result = CliRunner().invoke(app, ["db", "upgrade\r"])
    assert (result.exit_code, result.output) == (0, f"sqlite:///e.db: from no tables to {HEAD}\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Mütze", "e.db"]
    result = CliRunner().invoke(app, ["inspect", f"{unicodedata.normalize('NFD', 'Mütze')} \r"])
    assert result.output.startswith("cataloger: error: Mütze has no labelled image"), result.output


def test_what_exists_and_separators_stay_as_they_are_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a\r").touch()
    assert clean_arguments(["a\r", "b\r", "\r", ", ", "\n"]) == ["a\r", "b", "\r", ", ", "\n"]
    monkeypatch.setenv("CATALOGER_IMAGE_LIST", "\n")
    monkeypatch.setenv("CATALOGER_WHERE", "a = 1\r\n")
    monkeypatch.setenv("OTHER", "x\r")
    clean_environment()
    assert [os.environ[name] for name in ("CATALOGER_IMAGE_LIST", "CATALOGER_WHERE", "OTHER")] == [
        "\n",
        "a = 1",
        "x\r",
    ]
