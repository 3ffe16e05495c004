"""A night in production: cron's environment, three jobs of which one fails, and all that programs are told of it."""

import hashlib
import hmac
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from cron_rig import TOKEN, metrics, run_as_cron, value
from log_lines import records

KEY = "a long and secret key"
STATES = ("done", "failed", "skipped")
SHOP = """
db = "env:SHOP_DB"
metrics = "m.prom"
on-failure = "cat >> hook.json; echo told $EXIT_STATUS"

[sync]
id = ["sku"]
image = "photo"
image-root = "photos"

[jobs.shoes]
command = "sync"
table = "shoes"

[jobs.broken]
command = "sync"
table = "nothing"

[jobs.photos]
command = "tag"
arguments = ["photos"]
exclude = ["@eaDir"]
"""


def test_a_night_tells_programs_what_has_become_of_it(shop, receiver):
    Path("cataloger.toml").write_text(SHOP)
    status, out, err = run_as_cron(
        *("run", "--all", "--quiet", "--log-format", "json"),
        *("--notify", "env:ALERTS", "--notify-secret", "env:ALERTS_KEY", "--allow-private"),
        ALERTS=receiver.url,
        ALERTS_KEY=KEY,
    )
    assert (status, out) == (2, "")
    found = records(err)
    ended = {each["job"]: each["exit_status"] for each in found if each["event"] == "job.ended"}
    assert ended == {"shoes": 3, "broken": 2}, "with --quiet only what went wrong"
    assert [each["job"] for each in found if each["event"] == "error"] == ["broken"]
    assert [each["message"] for each in found if each["event"] == "stderr"] == ["told 2"], "the hook ran once"
    for text in (err, Path("hook.json").read_text(), Path("m.prom").read_text()):
        assert KEY not in text
        assert TOKEN not in text

    told = json.loads(Path("hook.json").read_text())
    assert told["exit_status"] == 2
    assert [(each["name"], each["exit_status"]) for each in told["jobs"]] == [
        ("shoes", 3),
        ("broken", 2),
        ("photos", 0),
    ]
    ((path, headers, body),) = receiver.got
    assert (path, json.loads(body)) == (f"/{TOKEN}", told)
    signed = headers["X-Cataloger-Timestamp"].encode() + b"." + body
    expected = hmac.new(KEY.encode(), signed, hashlib.sha256).hexdigest()
    assert headers["X-Cataloger-Signature"] == f"sha256={expected}"

    seen = metrics()
    assert value(seen, "last_run_exit_status", command="run", job="") == 2
    assert value(seen, "last_run_exit_status", command="sync", job="broken") == 2
    assert value(seen, "last_run_images", command="sync", job="shoes", state="done") == 1
    assert value(seen, "last_run_failed_images", command="sync", job="shoes", code="io.missing") == 1
    assert value(seen, "last_run_images", command="tag", job="photos", state="done") == 2
    assert value(seen, "source_images", command="tag", job="photos", source=str(shop / "photos"), status="ok") == 2
    with closing(sqlite3.connect("catalog.db")) as database:
        recorded = dict(database.execute("SELECT command, counts FROM cataloger_run"))
    for command, job in (("sync", "shoes"), ("tag", "photos")):
        row = json.loads(recorded[command])
        states = {state: value(seen, "last_run_images", command=command, job=job, state=state) for state in STATES}
        assert states == {state: row[state] for state in STATES}, f"as in the ledger, of {job}"
        for name, label, key in (("failed", "code", "failures"), ("decided", "decision", "decisions")):
            given = {
                kind: value(seen, f"last_run_{name}_images", command=command, job=job, **{label: kind})
                for kind in row[key]
            }
            assert given == row[key]
    queue = value(seen, "review_queue_images", command="tag", job="photos", source=str(shop / "photos"))
    share = value(seen, "accepted_ratio", command="tag", job="photos", source=str(shop / "photos"))
    with closing(sqlite3.connect("catalog.db")) as database:
        query = "SELECT decision FROM cataloger_image_top5 WHERE source = ?"
        decisions = [decision for (decision,) in database.execute(query, [str(shop / "photos")])]
    assert (queue, share) == (decisions.count("review"), decisions.count("accept") / 2)
    first = value(seen, "last_success_timestamp_seconds", command="tag", job="photos")
    assert first is not None
    assert value(seen, "last_success_timestamp_seconds", command="run", job="") is None

    # The next night everything is worse.
    shutil.rmtree("photos")
    status, _, err = run_as_cron("run", "--all", "--log-format", "json", "--on-failure", "exit 7")
    assert status == 1
    failed = [each["message"] for each in records(err) if each["event"] == "signal.failed"]
    assert failed == ["--on-failure ended with exit status 7"]
    seen = metrics()
    assert value(seen, "last_run_exit_status", command="tag", job="photos") == 1
    assert value(seen, "last_success_timestamp_seconds", command="tag", job="photos") == first
