"""`cataloger run` as cron and systemd start it: real processes, real signals, SQLite files."""

import json
import os
import re
import shutil
import signal
import sqlite3
import sys
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import forks
import pytest
import typer
from patience import HANGS, wait_until
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.cli.commands.run import MEANINGS

ROOT = Path(__file__).parents[2]
PRODUCTS = {"shoes": ("tennis-shoe.png", "tennis-shoes.png", "flip-flops.png"), "bags": ("straw-tote.png",)}
MAIN = "from cataloger.cli.app import main\nmain()"

SHOP = """
db = "sqlite:///catalog.db"
workers = 1
batch-size = 1

[sync]
image = "photo"
image-root = "photos"

[jobs.shoes]
command = "sync"
table = "shoes"
id = ["sku"]

[jobs.broken]
command = "sync"
table = "nothing"
id = ["sku"]

[jobs.bags]
command = "sync"
table = "bags"
id = ["sku"]

[jobs.state]
command = "db current"
"""


@pytest.fixture
def shop(make_tables, tmp_path, monkeypatch):
    """A folder with two tables of products, their photos and a configuration."""
    monkeypatch.chdir(tmp_path)
    make_tables("sqlite", tmp_path)
    photos = tmp_path / "photos"
    photos.mkdir()
    with closing(sqlite3.connect("catalog.db")) as database:
        for table, names in PRODUCTS.items():
            database.execute(f"CREATE TABLE {table} (sku INTEGER PRIMARY KEY, photo TEXT)")
            for name in names:
                shutil.copy(ROOT / "examples" / "images" / name, photos)
                database.execute(f"INSERT INTO {table} (photo) VALUES (?)", [name])
        database.commit()
    (tmp_path / "cataloger.toml").write_text(SHOP)
    return tmp_path


def environment(**own):
    return {name: value for name, value in os.environ.items() if not name.startswith("CATALOGER_")} | own


def run(*arguments, setup="", env=None):
    """Run `cataloger run`; return its exit status, stdout and stderr."""
    return forks.run(f"{setup}\n{MAIN}", "run", *arguments, env=environment(**(env or {})), timeout=HANGS)


def summary(out):
    """Return the rows of the last table, job -> its other cells."""
    lines = out.splitlines()
    start = max(number for number, line in enumerate(lines) if line.startswith("job "))
    return {line.split()[0]: line.split()[1:] for line in lines[start + 1 :]}


def tagged():
    with closing(sqlite3.connect("catalog.db")) as database:
        return [uri for (uri,) in database.execute("SELECT uri FROM cataloger_image_top5 ORDER BY uri")]


def outcomes():
    with closing(sqlite3.connect("catalog.db")) as database:
        return [outcome for (outcome,) in database.execute("SELECT outcome FROM cataloger_run ORDER BY id")]


def test_a_job_that_fails_keeps_no_other_from_its_work(shop, fits_schema):
    status, out, err = run("--all")
    assert status == 2, err  # the worst
    rows = summary(out)
    assert [(name, row[0], row[-1]) for name, row in rows.items()] == [
        ("shoes", "sync", "done"),
        ("broken", "sync", "configuration"),
        ("bags", "sync", "done"),
        ("state", "db", "done"),
    ]
    assert rows["shoes"][1:4] == ["3", "0", "0"]
    assert "cataloger: job broken ended with exit status 2: wrong usage or configuration" in err
    assert len(tagged()) == 4

    status, out, err = run("--all", "--json")
    report = json.loads(out)
    fits_schema("run", report)
    assert (status, report["exit_status"]) == (2, 2)
    assert [(each["name"], each["exit_status"]) for each in report["jobs"]] == [
        ("shoes", 0),
        ("broken", 2),
        ("bags", 0),
        ("state", 0),
    ]
    fits_schema("sync", report["jobs"][0]["output"])
    fits_schema("db-current", report["jobs"][3]["output"])
    assert report["jobs"][2]["output"]["skipped"] == 1
    assert report["jobs"][1]["output"] is None

    status, out, err = run("shoes", "state", "--quiet")
    assert (status, out, err) == (0, "", "")


def test_one_job_prints_what_its_command_prints(shop):
    status, out, _ = run("state")
    alone = forks.run(MAIN, "db", "current", env=environment(), timeout=HANGS)
    assert (status, out) == (0, alone[1])


def test_without_a_name_the_jobs_are_shown(shop, fits_schema):
    status, out, _ = run()
    assert (status, [re.split(r"\s\s+", line.strip()) for line in out.splitlines()[1:]]) == (
        0,
        [["shoes", "sync"], ["broken", "sync"], ["bags", "sync"], ["state", "db current"]],
    )
    status, out, _ = run("--json")
    report = json.loads(out)
    fits_schema("run", report)
    assert {each["not_run"] for each in report["jobs"]} == {"listed"}
    assert outcomes() == []


def test_a_dry_run_is_one_of_every_job_and_runs_no_job_that_has_none(shop, fits_schema):
    status, out, _ = run("shoes", "state", "--dry-run")
    assert (status, " ".join(summary(out)["state"])) == (0, "db current not run: it has no --dry-run")
    assert "plan" in out
    status, out, _ = run("shoes", "state", "--dry-run", "--json")
    report = json.loads(out)
    fits_schema("run", report)
    assert [each["not_run"] for each in report["jobs"]] == [None, "no_dry_run"]
    assert (report["jobs"][0]["output"]["dry_run"], outcomes()) == (True, [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("shoe",), "cataloger.toml has no job 'shoe'; there are bags, broken, shoes, state; the nearest is 'shoes'"),
        (("shoes", "--all"), "name jobs, or give --all; not both"),
    ],
)
def test_what_is_no_job_is_wrong_usage_and_nothing_is_run(shop, arguments, message):
    status, out, err = run(*arguments)
    assert (status, out, err) == (2, "", f"cataloger: error: {message}\n")
    assert outcomes() == []


def test_without_jobs_the_message_says_how_to_write_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, _ = run()
    assert (status, out) == (0, "cataloger.toml has no jobs; write a table [jobs.NAME] for each\n")
    assert run("shoes")[0] == 2


def test_a_job_without_what_its_command_must_have_is_named_with_its_line_before_any_work(shop):
    with (shop / "cataloger.toml").open("a") as file:
        file.write('\n[jobs.late]\ncommand = "sync"\nid = ["sku"]\n[jobs.none]\ncommand = "tag"\n')
    status, out, err = run("shoes", "late")
    line = SHOP.count("\n") + 2
    assert (status, out) == (2, "")
    assert (
        err == f"cataloger: error: cataloger.toml, line {line}: [jobs.late] lacks the key 'table' "
        "(--table or --image-query or --image-query-file or --preset of sync)\n"
    )
    assert "[jobs.none] lacks the key 'arguments'" in run("none")[2]
    assert outcomes() == []
    assert run("late", "--dry-run", env={"CATALOGER_TABLE": "shoes"})[0] == 0


def test_flags_of_a_job_win_over_the_environment_which_wins_over_the_rest_of_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("cataloger.toml").write_text(
        'db = "sqlite:///top.db"\n[runs.list]\ndb = "sqlite:///command.db"\n'
        '[jobs.own]\ncommand = "runs list"\ndb = "sqlite:///own.db"\n[jobs.plain]\ncommand = "runs list"\n'
        '[jobs.sources]\ncommand = "sources list"\n'
    )

    def asked(**env):
        err = run("--all", env=env)[2]
        return re.findall(r"sqlite:///(\w+).db has no results", err)

    assert asked(CATALOGER_DB="sqlite:///variable.db") == ["own", "variable", "variable"]
    assert asked() == ["own", "command", "top"]


def test_false_in_a_job_takes_back_true_of_its_command_and_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("cataloger.toml").write_text(
        '[models.list]\njson = true\n[jobs.no]\ncommand = "models list"\njson = false\n'
        '[jobs.yes]\ncommand = "models list"\n'
    )
    starts = [[run(name, env=env)[1][0] for env in ({}, {"CATALOGER_DEVICE": "cpu"})] for name in ("no", "yes")]
    assert starts == [["m", "m"], ["[", "["]]


SECRET = "s3cret-of-the-shop"


@pytest.mark.parametrize("how", ["env:SHOP_DB", "file:secrets/shop", "file:empty", "env:UNSET"])
@pytest.mark.parametrize("flags", [(), ("--json", "-vv")])
def test_a_secret_is_read_where_it_is_and_shown_nowhere(tmp_path, monkeypatch, how, flags):
    monkeypatch.chdir(tmp_path)
    url = f"postgresql://shop:{SECRET}@127.0.0.1:1/shop?connect_timeout=1"
    Path("secrets").mkdir()
    Path("secrets/shop").write_text(f"{url}\n")
    Path("empty").touch()
    Path("cataloger.toml").write_text(f'[jobs.shop]\ncommand = "runs list"\ndb = "{how}"\n')
    status, out, err = run("shop", *flags, env={"SHOP_DB": url})
    assert SECRET not in out + err
    if how in ("file:empty", "env:UNSET"):
        assert (status, f"--db: {how} is empty or not set" in err) == (2, True)
    else:
        assert (status, "postgresql+psycopg://shop:***@127.0.0.1:1/shop" in err) == (1, True), err


# --- processes


DIES_FIRST = """
import os, signal
from pathlib import Path
from cataloger.utils import failpoints

def die():
    if not Path("dead").exists():
        Path("dead").touch()
        os.kill(os.getpid(), signal.SIGKILL)

failpoints.set_action("before_commit", die)
"""


def test_a_job_that_is_killed_is_named_and_the_next_one_is_run(shop, fits_schema):
    status, out, err = run("shoes", "bags", "--json", setup=DIES_FIRST)
    report = json.loads(out)
    fits_schema("run", report)
    assert [(each["exit_status"], each["signal"]) for each in report["jobs"]] == [(1, "SIGKILL"), (0, None)]
    assert (status, "cataloger: job shoes was ended by SIGKILL" in err) == (1, True)
    assert [Path(uri).name for uri in tagged()] == list(PRODUCTS["bags"])
    assert run("shoes")[0] == 0
    assert len(tagged()) == 4


WAITS = """
import time
from pathlib import Path
from cataloger.utils import failpoints

def wait():
    Path("waiting").touch()
    while not Path("go").exists():
        time.sleep(0.01)

failpoints.set_action("after_decode", wait)
"""


@contextmanager
def waiting(*arguments):
    """Start `cataloger run`, and wait until a job of it waits with a batch; give the program and the job's id."""
    program = forks.start(f"{WAITS}\n{MAIN}", "run", *arguments, env=environment(), start_new_session=True)
    try:
        wait_until(Path("waiting").exists, "the batch")
        [job] = map(int, Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split())
        yield program, job
    finally:
        Path("go").touch()
        program.kill()
        program.wait()
        program.close()


def is_alive(pid):
    with suppress(ProcessLookupError, FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


NEEDS_PROC = pytest.mark.skipif(sys.platform != "linux", reason="what becomes of processes is read from /proc")
STOPPING = "stopping after the images in progress"


@NEEDS_PROC
@pytest.mark.parametrize(
    "everybody", [False, True], ids=["to cataloger run alone", "to all its processes, as systemd"]
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_present_job_cleanly_and_names_what_was_not_run(shop, fits_schema, number, everybody):
    with waiting("shoes", "bags", "--json") as (program, job):
        for pid in (program.pid, job) if everybody else (program.pid,):
            os.kill(pid, number)
        said = ""
        while STOPPING not in said:
            said += (line := program.stderr.readline())
            assert line, said
        time.sleep(0.1)  # for a second one, which would break off; without it the test only finds less
        Path("go").touch()
        out, err = program.communicate(timeout=HANGS)
        assert program.returncode == 130
    report = json.loads(out)
    fits_schema("run", report)
    assert [(each["name"], each["exit_status"], each["not_run"]) for each in report["jobs"]] == [
        ("shoes", 130, None),
        ("bags", None, "interrupted"),
    ]
    assert report["jobs"][0]["output"]["interrupted"]
    assert "cataloger: job bags was not run" in err
    assert outcomes() == ["interrupted"]
    assert run("shoes", "bags")[0] == 0
    assert len(tagged()) == 4


@NEEDS_PROC
def test_the_second_signal_ends_the_job_at_once(shop):
    with waiting("shoes", "bags") as (program, job):
        os.kill(program.pid, signal.SIGINT)
        while STOPPING not in program.stderr.readline():
            pass
        os.kill(program.pid, signal.SIGINT)
        out, _ = program.communicate(timeout=HANGS)
        assert (program.returncode, is_alive(job)) == (130, False)
    titles = [line for line in out.splitlines() if ": cataloger" in line]
    assert titles == ["shoes: cataloger sync"], "of a job that was not begun there is none"


@NEEDS_PROC
def test_a_job_does_not_outlive_the_process_that_runs_it(shop):
    with waiting("shoes", "bags") as (program, job):
        program.kill()
        assert program.wait(HANGS) == -signal.SIGKILL
        Path("go").touch()
        wait_until(lambda: not is_alive(job), "the end of the job")
    assert outcomes() == ["interrupted"]


@NEEDS_PROC
def test_the_same_job_twice_at_once_is_refused_as_its_command_is(shop):
    with waiting("shoes") as (program, _):
        status, out, err = run("shoes", "bags", setup=WAITS.replace("after_decode", "never"))
        assert (status, "is working on this source" in err) == (1, True), err
        assert summary(out)["bags"][-1] == "done"
        Path("go").touch()
        program.communicate(timeout=HANGS)
        assert program.returncode == 0


def test_what_a_job_prints_into_nowhere_is_told(shop):
    setup = "import os\nos.dup2(os.open('/dev/full', os.O_WRONLY), 1)"
    status, _, err = run("shoes", "state", setup=setup)
    assert (status, err.count("the output cannot be written: No space left on device")) == (5, 3), err
    assert len(tagged()) == 3


# --- what the rest of the command line must leave free


def test_the_shell_completes_the_names_of_jobs(shop):
    asked = {"_CATALOGER_COMPLETE": "complete_bash", "COMP_WORDS": "cataloger run s", "COMP_CWORD": "2"}
    code = "import sys\nsys.argv[0] = 'cataloger'\n" + MAIN
    out = forks.run(code, env=environment(**asked), timeout=HANGS)[1]
    assert out.split() == ["shoes", "state"]
    (shop / "cataloger.toml").write_text("no TOML")
    assert forks.run(code, env=environment(**asked), timeout=HANGS)[1].split() == []


def test_no_flag_has_the_name_of_a_key_of_jobs():
    def leaves(group):
        for command in group.commands.values():
            yield from leaves(command) if hasattr(command, "commands") else (command,)

    group = typer.main.get_command(app)
    flags = {option for command in leaves(group) for parameter in command.params for option in parameter.opts}
    assert not flags & {"--command", "--arguments"}
    assert "jobs" not in group.commands


def test_every_exit_status_has_its_meaning_as_help_says_it():
    help_text = " ".join(CliRunner().invoke(app, ["--help"]).output.split())
    assert all(f"{status} {meaning}" in help_text for status, meaning in MEANINGS.items())
