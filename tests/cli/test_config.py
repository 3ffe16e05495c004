"""cataloger.toml: precedence, tables, and that nothing unknown passes."""

import os
import re
import unicodedata

import pytest
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.cli.config import ConfigFile, clean_arguments, clean_environment, defaults_for, jobs_of, load_config
from cataloger.errors import ConfigError
from cataloger.schema.revisions import HEAD

COMMANDS = {
    "tag": {"db": "db", "batch-size": "batch_size"},
    "doctor": {"json": "json_output"},
    "db upgrade": {"db": "db", "sql": "sql"},
}


def test_general_keys_hold_for_every_command_that_has_the_flag():
    defaults = defaults_for(ConfigFile({"db": "sqlite:///x.db"}), COMMANDS)
    assert defaults == {"tag": {"db": "sqlite:///x.db"}, "doctor": {}, "db": {"upgrade": {"db": "sqlite:///x.db"}}}


def test_a_table_wins_over_general_keys():
    config = {"db": "a", "tag": {"db": "b", "batch-size": 4}, "db": "a"}  # noqa: F601
    assert defaults_for(ConfigFile(config), COMMANDS)["tag"] == {"db": "b", "batch_size": 4}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"dbb": "x"}, "unknown key 'dbb'"),
        ({"tagg": {}}, "unknown table 'tagg'"),
        (
            {"tag": {"batch_size": 4}},
            r"\[tag\] .* unknown key 'batch_size'; known are batch-size, db; the nearest is 'batch-size'$",
        ),
        ({"doctor": {"db": "x"}}, r"\[doctor\] .* unknown key 'db'"),
        ({"db": {"upgrade": 5}}, r"\[db\]: upgrade is a command; write a table \[db.upgrade\]"),
        ({"tag": {"db": {"a": 1}}}, r"\[tag\]: db takes a value, not a table"),
    ],
)
def test_what_is_no_flag_is_an_error(config, message):
    with pytest.raises(ConfigError, match=message):
        defaults_for(ConfigFile(config), COMMANDS)


def test_no_file_means_no_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config(None).values == {}


def test_the_file_of_the_working_directory_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cataloger.toml").write_text('db = "x"\n')
    assert load_config(None).values == {"db": "x"}


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


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("\ndbb = 'x'", 2, "unknown key 'dbb'; known are .*; the nearest is 'db'"),
        ("[tagg]", 1, "unknown table 'tagg'; .*; the nearest is 'tag'"),
        ("[tag]\n# of a CPU\nbatch_size = 4", 3, r"\[tag\] has an unknown key 'batch_size'; .* 'batch-size'"),
        ("[tag]\ndb = 'x'\nbatch-size = 'four'", 3, r"\[tag\]: batch-size: .*integer"),
        ("[sync]\ntable = [\n'a',\n'b']", 2, r"\[sync\]: table takes one value, not a list"),
        ("[sync]\nid = 'sku'", 2, r"\[sync\]: id takes a list of texts"),
        ("jobs = 5", 1, r"jobs is no flag; write a table \[jobs.NAME\]"),
        ("[jobs]\nshoes = 5", 2, r"\[jobs\]: shoes is the name of a job; write a table \[jobs.shoes\]"),
        ("[jobs.'my shoes']\ncommand = 'tag'", 1, "the name of a job consists of letters"),
        ("[jobs.shoes]\ntable = 'shoes'", 1, r"\[jobs.shoes\] does not say which command it runs"),
        ("[jobs.shoes]\ncommand = 'snyc'", 2, "unknown command 'snyc'; .*; the nearest is 'sync'"),
        ("[jobs.shoes]\ncommand = 5", 2, "unknown command '5'"),
        ("[jobs.shoes]\ncommand = 'run'", 2, "run cannot be a job: it runs jobs itself"),
        ("[jobs.shoes]\ncommand = 'review'", 2, "review cannot be a job: it serves until it is stopped"),
        ("[jobs.shoes]\ncommand = 'runs'", 2, "unknown command 'runs'"),
        ("[jobs.a]\ncommand = 'tag'\n[jobs.b]\ncommand = 'sync'\ntabel = 'x'", 5, "'tabel'; .* nearest is 'table'"),
        ("[jobs.a]\ncommand = 'tag'\nworkers = -1", 3, r"\[jobs.a\]: workers: "),
        ("[jobs.a]\ncommand = 'tag'\ndb = true", 3, r"\[jobs.a\]: db takes a value, not true"),
        ("[jobs.a]\ncommand = 'tag'\ndb.x = 1", 3, r"\[jobs.a\]: db is a text, a number"),
        ("[jobs.a]\ncommand = 'tag'\narguments = [5]", 3, r"\[jobs.a\]: arguments is a text or a list of texts"),
        ("[jobs.a]\ncommand = 'tag'\nforce = 'perhaps'", 3, r"\[jobs.a\]: force: "),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line_by_every_command(tmp_path, text, line, message):
    path = tmp_path / "other.toml"
    path.write_text(text)
    result = CliRunner().invoke(app, ["--config", str(path), "models", "list"])
    assert result.exit_code == 2, result.output
    assert re.search(f"^cataloger: error: {re.escape(str(path))}, line {line}: .*{message}", result.output), (
        result.output
    )


def test_jobs_have_the_order_of_the_file_and_their_own_flags():
    values = {
        "jobs": {
            "b": {"command": "db upgrade", "db": "x"},
            "a": {"command": "tag", "batch-size": 4, "arguments": "photos"},
        }
    }
    made = jobs_of(ConfigFile(values), COMMANDS)
    assert [(job.name, job.command, job.flags, job.arguments) for job in made] == [
        ("b", "db upgrade", {"db": "x"}, ()),
        ("a", "tag", {"batch-size": 4}, ("photos",)),
    ]
    assert "x" not in repr(made[0]), "a flag may be a secret"


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
    assert load_config(path).values == {"db": "sqlite:///Mütze.db", "tag": {"batch-size": 4}}


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
