"""Who is told when a command has ended: a command of the user, and a web address."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from cron_rig import TOKEN, metrics, run_as_cron, value

from cataloger.options import WebOptions
from cataloger.signals import notification

KEY = "a long and secret key"


def test_one_command_sends_the_same_also_when_it_cannot_run(shop, receiver):
    flags = ("--metrics", "m.prom", "--notify", receiver.url, "--notify-secret", "file:key", "--allow-private")
    Path("key").write_text(KEY)
    receiver.statuses = [503, 200]
    status, _, err = run_as_cron("tag", "nothing", "--db", "env:SHOP_DB", *flags, "--on-failure", "cat > hook.json")
    assert (status, err) == (1, "cataloger: error: nothing does not exist; is the storage mounted?\n")
    told = json.loads(Path("hook.json").read_text())
    assert told["error"] == "nothing does not exist; is the storage mounted?"
    assert [json.loads(body) for *_, body in receiver.got] == [told, told], "a server that is busy is asked again"
    assert value(metrics(), "last_run_exit_status", command="tag", job="") == 1

    photos = ("photos", "--db", "env:SHOP_DB")
    Path("hook.json").unlink()
    receiver.got.clear()
    receiver.statuses = [302]
    status, _, err = run_as_cron("tag", *photos, *flags, "--on-failure", "cat > hook.json", "--quiet")
    assert (status, err) == (0, "cataloger: --notify failed: the server answered 302\n")
    assert [path for path, *_ in receiver.got] == [f"/{TOKEN}"], "no redirect is followed"
    assert not Path("hook.json").exists(), "the run itself did not fail"
    with closing(sqlite3.connect("catalog.db")) as database:
        assert database.execute("SELECT COUNT(*) FROM cataloger_image_top5").fetchone() == (3,)

    status, _, _ = run_as_cron("tag", *photos, "--dry-run", "--on-failure", "touch ran", *flags)
    assert (status, len(receiver.got), Path("ran").exists()) == (0, 1, False)


def test_a_receiver_that_is_down_is_asked_again_and_then_given_up(receiver, monkeypatch):
    monkeypatch.setattr(notification, "FIRST_WAIT", 0.001)
    web = WebOptions(allow_private=True)
    receiver.statuses = [429, 500, 503, 408, 200]
    assert notification.notify(receiver.url, b"{}", b"key", web) == (
        "--notify failed: the server answered 408, also in attempt 4"
    )
    stamps = [
        (headers["X-Cataloger-Timestamp"], headers["X-Cataloger-Signature"], body)
        for _, headers, body in receiver.got
    ]
    assert [sign for _, sign, _ in stamps] == [
        f"sha256={notification.signature(body, b'key', when)}" for when, _, body in stamps
    ]
    assert notification.notify(receiver.url, b"{}", b"key", web) is None
    receiver.statuses = [404]
    assert notification.notify(receiver.url, b"{}", b"key", web) == "--notify failed: the server answered 404"
    assert len(receiver.got) == 6
    receiver.shutdown()
    receiver.server_close()
    down = notification.notify(receiver.url, b"{}", b"key", web)
    assert down == "--notify failed: no connection, also in attempt 4"
    private = notification.notify(receiver.url, b"{}", b"key", WebOptions())
    assert private == (
        "--notify failed: 127.0.0.1 has the address 127.0.0.1, which is not a public one; "
        "--allow-private is for your own servers"
    )
    unknown = notification.notify("https://nobody.invalid/token", b"{}", b"key", WebOptions())
    assert unknown == "--notify failed: no connection, also in attempt 4"


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (("--notify", "https://alerts.example"), "need each other"),
        (("--notify-secret", "env:KEY"), "need each other"),
        (("--notify", "https://alerts.example", "--notify-secret", "plain-secret"), "write env:NAME or file:PATH"),
        (("--notify", "https://alerts.example", "--notify-secret", "env:NOT_SET"), "is empty or not set"),
        (("--notify", "ftp://alerts.example", "--notify-secret", "env:SHOP_DB"), "is not a web address"),
        (("--metrics", "no/such/m.prom"), "there is no folder"),
        (("--metrics", "photos"), "is a folder"),
        (("--on-failure", " "), "is empty"),
    ],
)
def test_what_cannot_be_sent_is_told_before_any_work(flags, why, shop):
    status, _, err = run_as_cron("tag", "photos", "--db", "sqlite:///other.db", *flags)
    assert status == 2
    assert why in err
    assert "plain-secret" not in err
    assert not Path("other.db").exists()
