"""The review application over HTTP: what is recorded, what is refused, and that nobody is overwritten silently."""

import io
import re
import socket
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx
import pytest
from full_disk import full_disk
from PIL import Image
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.review import connections


def queue(client, **filters):
    answer = client.get("/api/queue", params=filters)
    assert answer.status_code == 200, answer.text
    return answer.json()["rows"]


def say(client, *words):
    answer = client.post("/api/words", json={"words": list(words)})
    assert answer.status_code == 200, answer.text
    return answer.json()["outcomes"]


def test_the_queue_has_what_has_an_answer_least_confident_first(steady):
    rows = queue(steady.client())
    shares = [row["answers"][0][1] for row in rows]
    assert len(rows) == 21
    assert shares == sorted(shares)
    assert not {"page.jpg", "vector.jpg"} & {row["key"] for row in rows}


def test_a_word_is_kept_with_author_prediction_and_time(served, word):
    client = served.client("Anna Müller")
    row = queue(client)[0]
    (outcome,) = say(client, word(row, "Hat"))
    assert (outcome["status"], outcome["by"], outcome["label"]) == ("saved", "Anna Müller", "Hat")
    found = served.rows(
        "SELECT k.author, k.label, k.verdict, r.id, r.item_id, k.corrected_at > '2000' "
        "FROM cataloger_correction k JOIN cataloger_result r ON r.id = k.result_id"
    )
    assert found == [("Anna Müller", "Hat", "label", row["result"], row["item"], 1)]
    view = served.rows("SELECT label_1, confidence_1, corrected_by FROM cataloger_image_top5 WHERE corrected_by > ''")
    assert view == [("Hat", 1.0, "Anna Müller")]


def test_what_is_reviewed_leaves_the_queue_and_comes_back_when_taken_back(served, word):
    client = served.client()
    row = queue(client)[0]
    (saved,) = say(client, word(row, verdict="not_product"))
    assert row["item"] not in [each["item"] for each in queue(client)]
    (reviewed,) = queue(client, reviewed="yes")
    assert (reviewed["word"]["verdict"], reviewed["word"]["by"]) == ("not_product", "anna")
    (taken,) = say(client, word(reviewed, verdict="withdrawn"))
    assert (taken["status"], taken["id"]) == ("saved", None)
    assert saved["id"]
    assert queue(client)[0]["item"] == row["item"]


def test_an_image_whose_bytes_have_changed_since_comes_back(served, tagged, word):
    client = served.client()
    row = next(row for row in queue(client) if row["key"] == "sombrero.png")
    say(client, word(row, "Dress"))
    path = tagged / "photos" / "sombrero.png"
    before = path.read_bytes()
    try:
        path.write_bytes(before + b" ")
        CliRunner().invoke(app, ["tag", str(tagged / "photos"), "--db", f"sqlite:///{served.path}", "-q"])
    finally:
        path.write_bytes(before)
    again = next(row for row in queue(client) if row["key"] == "sombrero.png")
    assert again["result"] != row["result"]
    assert (again["word"]["label"], again["word"]["outdated"]) == ("Dress", True)
    assert queue(client, reviewed="yes") == []
    (outcome,) = say(client, word(again))
    assert (outcome["status"], outcome["label"]) == ("saved", "Hat")


def test_the_later_of_two_reviewers_is_told_and_overwrites_nothing(served, word):
    anna, ben = served.client("Anna"), served.client("Ben")
    row = queue(anna)[0]
    assert queue(ben)[0] == row
    say(anna, word(row, "Hat"))
    (outcome,) = say(ben, word(row, "Dress"))
    assert (outcome["status"], outcome["by"], outcome["label"]) == ("conflict", "Anna", "Hat")
    assert served.rows("SELECT author, label FROM cataloger_correction") == [("Anna", "Hat")]
    (insisted,) = say(ben, word(row, "Dress") | {"expected": outcome["id"]})
    assert (insisted["status"], insisted["by"]) == ("saved", "Ben")
    assert served.rows("SELECT author, label FROM cataloger_correction") == [("Anna", "Hat"), ("Ben", "Dress")]


def test_a_word_that_comes_again_since_its_answer_was_lost_is_saved_once(served, word):
    client = served.client()
    sent = word(queue(client)[0], "Hat")
    first, second = say(client, sent), say(client, sent)
    assert first == second
    assert len(served.rows("SELECT id FROM cataloger_correction")) == 1


def test_two_hundred_words_at_once_lose_nothing(served, word):
    served.copy_rows(5)
    names = ["Anna", "Ben"]
    clients = {name: served.client(name) for name in names}
    rows = list(every(clients["Anna"]))[:100]
    barrier = threading.Barrier(8)

    def work(name, label, part):
        barrier.wait()
        return [(name, *say(clients[name], word(row, label))) for row in part]

    with ThreadPoolExecutor(8) as pool:
        jobs = [
            pool.submit(work, name, label, rows[n::4])
            for name, label in zip(names, ("Hat", "Dress"), strict=True)
            for n in range(4)
        ]
        answers = [answer for job in jobs for answer in job.result()]
    assert len(answers) == 200
    saved = {(outcome["item"], name) for name, outcome in answers if outcome["status"] == "saved"}
    conflicts = [(name, outcome) for name, outcome in answers if outcome["status"] == "conflict"]
    assert len(saved) == len(conflicts) == 100
    assert all((outcome["item"], outcome["by"]) in saved and outcome["by"] != name for name, outcome in conflicts)
    assert set(served.rows("SELECT item_id, author FROM cataloger_correction")) == saved


def every(client, **filters):
    after = {}
    while after is not None:
        answer = client.get("/api/queue", params=filters | after).json()
        yield from answer["rows"]
        after = {"after": answer["after"]} if answer["after"] else None


@pytest.mark.parametrize("order", ["confidence", "category", "product", "run"])
def test_pages_hold_every_image_once_in_any_order(served, order):
    served.copy_rows(9)
    items = [row["item"] for row in every(served.client(), order=order)]
    assert len(items) == len(set(items)) == 210


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"decision": "accept"}, lambda row: row["decision"] == "accept"),
        ({"category": "Hat"}, lambda row: row["answers"][0][0] == "Hat"),
        ({"below": "0.6"}, lambda row: row["answers"][0][1] < 0.6),
        ({"run": "1"}, lambda row: True),
        ({"run": "2"}, lambda row: False),
        ({"product": "nobody's"}, lambda row: False),
        ({"source": "/nowhere"}, lambda row: False),
    ],
)
def test_filters_leave_what_fits_them(steady, filters, expected):
    client = steady.client()
    everything = queue(client)
    assert queue(client, **filters) == [row for row in everything if expected(row)]


@pytest.mark.parametrize("query", ["below=2", "below=x", "run=-1", "order=size", "decision=maybe", "colour=red"])
def test_a_wrong_filter_is_named_and_not_passed_over(steady, query):
    client = steady.client()
    assert client.get(f"/api/queue?{query}").status_code == 400
    page = client.get(f"/?{query}")
    assert page.status_code == 400
    assert query.split("=")[0] in re.search(r'role="alert">([^<]+)<', page.text)[1]


@pytest.mark.parametrize("after", ["x", "[]", "[1]", "[1, 2, 3]", '["a", 1]', "[NaN, 1]", "[" * 5000, "[1, 1e400]"])
def test_a_wrong_end_of_a_page_is_refused(steady, after):
    assert steady.client().get("/api/queue", params={"after": after}).status_code == 400


def test_progress_counts_words_and_agreement_of_all_and_of_oneself(served, word):
    anna, ben = served.client("Anna"), served.client("Ben")
    first, second, third, fourth = queue(anna)[:4]
    say(anna, word(first), word(second, "Dress"), word(fourth, verdict="not_product"))
    say(ben, word(third))
    assert anna.get("/api/progress").json() == {
        **{
            "images": 21,
            "reviewed": 4,
            "named": 3,
            "agreed": 2,
            "my_reviewed": 3,
            "my_named": 2,
            "my_agreed": 1,
            "second": 0,
        }
    }


@pytest.mark.parametrize(
    "words",
    [
        None,
        [],
        [1],
        [{"item": 1}],
        [{"item": 1, "verdict": "label", "label": None}],
        [{"item": 1, "verdict": "label", "label": "no such category"}],
        [{"item": 1, "verdict": "not_product", "label": "Hat"}],
        [{"item": "1", "verdict": "not_product"}],
        [{"item": True, "verdict": "not_product"}],
        [{"item": 2**80, "verdict": "not_product"}],
        [{"item": 1, "verdict": "not_product", "expected": -1}],
        [{"item": 1, "verdict": "not_product"}] * 2,
        [{"item": n, "verdict": "not_product"} for n in range(1, 600)],
    ],
)
def test_a_word_that_cannot_be_meant_is_refused_and_nothing_recorded(steady, words):
    answer = steady.client().post("/api/words", json={"words": words})
    assert answer.status_code == 400
    assert steady.rows("SELECT * FROM cataloger_correction") == []


def test_an_image_that_is_gone_and_a_result_that_was_pruned_cost_no_other_word(served, word):
    client = served.client()
    row, other = queue(client)[:2]
    gone = word(row) | {"item": 999_999}
    outcomes = say(client, gone, word(row) | {"result": 999_999}, word(other) | {"result": row["result"]})
    assert [each["status"] for each in outcomes] == ["gone", "saved", "saved"]
    assert served.rows("SELECT result_id FROM cataloger_correction") == [(None,), (None,)]


def test_pictures_are_drawn_anew_and_small(steady):
    client = steady.client()
    row = queue(client)[0]
    answer = client.get(f"/image/{row['item']}/240.jpg")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    picture = Image.open(io.BytesIO(answer.content))
    assert (picture.format, max(picture.size)) == ("JPEG", 240)
    assert max(Image.open(io.BytesIO(client.get(f"/image/{row['item']}/900.jpg").content)).size) <= 900


@pytest.mark.slow
def test_a_map_is_drawn_for_each_category_and_a_missing_model_is_explained(catalog, serve, tmp_path):
    with serve(catalog) as running:
        client = running.client()
        row = queue(client)[0]
        maps = {client.get(f"/map/{row['item']}/{rank}.png").content for rank in range(1, 6)}
        assert len(maps) == 5
        assert {Image.open(io.BytesIO(each)).format for each in maps} == {"PNG"}
        assert client.get(f"/map/{row['item']}/6.png").status_code == 404
    with serve(catalog, "--model", str(tmp_path)) as running:
        answer = running.client().get(f"/map/{row['item']}/1.png")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "text/plain; charset=utf-8")
        assert "not a model bundle" in answer.text


def test_html_and_svg_of_the_catalog_are_never_served(steady):
    client = steady.client()
    items = steady.rows("SELECT id, key FROM cataloger_item WHERE key IN ('page.jpg', 'vector.jpg')")
    assert len(items) == 2
    for item, _ in items:
        for path in (f"/image/{item}/240.jpg", f"/image/{item}/900.jpg", f"/map/{item}/1.png"):
            answer = client.get(path)
            assert answer.status_code == 404
            assert answer.headers["content-type"].startswith("text/plain")
            assert "script" not in answer.text


def test_a_file_that_became_html_after_tagging_is_not_served(tagged, steady):
    item, path = steady.rows("SELECT id, uri FROM cataloger_item WHERE key = 'sombrero.png'")[0]
    with open(path, "rb") as file:
        before = file.read()
    try:
        with open(path, "w") as file:
            file.write("<html><script>alert(1)</script></html>")
        answer = steady.client().get(f"/image/{item}/240.jpg")
    finally:
        with open(path, "wb") as file:
            file.write(before)
    assert answer.status_code == 404
    assert "<" not in answer.text


def test_another_picture_under_the_name_of_one_that_was_tagged_is_not_shown(tagged, steady):
    # In a size that no other test asks for: what has been read before is kept.
    item, path = steady.rows("SELECT id, uri FROM cataloger_item WHERE key = 'earring.png'")[0]
    other = (tagged / "photos" / "sombrero.png").read_bytes()
    with open(path, "rb") as file:
        before = file.read()
    try:
        with open(path, "wb") as file:
            file.write(other)
        answers = [steady.client().get(f"/{way}") for way in (f"image/{item}/2048.jpg", f"map/{item}/1.png")]
    finally:
        with open(path, "wb") as file:
            file.write(before)
    assert [(answer.status_code, "has changed since" in answer.text) for answer in answers] == [(404, True)] * 2
    assert steady.client().get(f"/image/{item}/2048.jpg").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/%2e%2e/db/session.py",
        "/static/%2fetc%2fpasswd",
        "/image/../../etc/passwd",
        "/image/..%2f..%2fetc%2fpasswd/240.jpg",
        "/image/1/240.jpg/../../../etc/passwd",
        "/image/-1/240.jpg",
        "/image/99999999999999999999999/240.jpg",
        "/image/1/99999.jpg",
        "/map/%2e%2e/1.png",
        "//etc/passwd",
    ],
)
def test_no_path_leads_out(steady, path):
    with socket.create_connection(steady.authority.split(":")) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {steady.authority}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b" 404 " in answer.split(b"\r\n")[0]
    assert b"root:" not in answer


def test_a_full_disk_is_told_and_the_page_goes_on(served):
    client = served.client("ann")
    row = queue(client)[0]
    words = [{"item": row["item"], "verdict": "label", "label": "Hat", "expected": None, "result": row["result"]}]
    with full_disk(8192):
        answer = client.post("/api/words", json={"words": words})
        assert answer.status_code == 503
        assert "the disk is full" in answer.text
        assert client.get("/").status_code == 200
    assert client.post("/api/words", json={"words": words}).json()["outcomes"][0]["status"] == "saved"


def test_hostile_names_and_labels_are_inert(served):
    served.change("UPDATE cataloger_source SET name = '\"><script>alert(1)</script>'")
    page = served.client().get("/?category=%3Cscript%3Ealert(1)%3C/script%3E&product=%22onfocus=alert(1)")
    assert page.status_code == 200
    assert "<script>alert" not in page.text
    assert '"onfocus' not in page.text


def test_names_that_are_not_utf_8_are_shown(served):
    served.change("UPDATE cataloger_item SET product_key = CAST(x'ff61' AS TEXT), key = CAST(x'ff62' AS TEXT)")
    client = served.client()
    assert {row["product"] for row in queue(client)} == {"\udcffa"}
    assert client.get("/", params={"product": "x\x00"}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost@evil.example", ""]
)
def test_a_foreign_host_is_refused(steady, host):
    answer = httpx.get(steady.url + "/api/queue", headers={"Host": host})
    assert answer.status_code in (400, 421)
    assert "rows" not in answer.text


@pytest.mark.parametrize("host", ["localhost:9000", "127.0.0.1", "[::1]:8765"])
def test_a_forwarded_port_of_this_machine_is_served(steady, host):
    assert httpx.get(steady.url + "/api/queue", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"X-CSRF-Token": ""},
        {"X-CSRF-Token": "0" * 43},
        {"X-CSRF-Token": "\xe9"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": ""},
    ],
)
def test_a_forged_request_changes_nothing(steady, word, headers):
    client = steady.client()
    sent = {"words": [word(queue(client)[0])]}
    raw = {name: value.encode("latin-1") for name, value in headers.items()}
    for path in ("/api/words", "/api/name"):
        answer = client.post(path, json=sent | {"name": "Eve"}, headers=raw)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
    del client.headers["Origin"]
    assert client.post("/api/words", json=sent).status_code == 403
    assert steady.rows("SELECT * FROM cataloger_correction") == []


def test_every_answer_has_the_headers_that_tie_the_browser_down(steady):
    client = steady.client()
    for path in (
        "/",
        "/?below=9",
        "/nothing",
        "/static/review.js",
        "/api/queue",
        "/image/1/240.jpg",
        "/image/99999/240.jpg",
    ):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; img-src 'self';")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"]
        assert "server" not in headers
    assert client.get("/", headers={"Host": "evil.example"}).headers["content-security-policy"]


def test_a_large_request_is_refused(steady):
    client = steady.client()
    assert client.post("/api/words", content=b" " * (2**20 + 1)).status_code == 413
    assert client.post("/api/words", content=b"{").status_code == 400
    assert client.post("/api/words", content=b"[" * 100_000).status_code == 400


def test_a_token_lets_in_becomes_a_cookie_and_leaves_the_address(catalog, serve):
    token = "the-token-of-this-test"
    with serve(catalog, "--token", token, "--host", "0.0.0.0", "--author", "anna") as running:
        assert f"token={token}" in running.first
        url = re.sub(r"//[^:/]+:", "//127.0.0.1:", running.first)
        client = httpx.Client(base_url=url.split("?")[0])
        for query in ("", "?token=", "?token=wrong", f"?token={token}x", "?token=%C3%A9"):
            assert client.get("/" + query).status_code == 401
        assert client.get("/api/queue", params={"token": "x"}).status_code == 401
        welcome = client.get("/", params={"token": token, "category": 'Hat"'})
        assert (welcome.status_code, token in welcome.text) == (200, False)
        assert "url=/?category=Hat%22" in welcome.text
        cookie = welcome.headers["set-cookie"]
        assert token not in cookie
        assert {"HttpOnly", "SameSite=strict"} <= set(cookie.split("; "))
        assert client.get("/api/queue").status_code == 200
        assert client.get("/api/queue", headers={"Host": "shop.example"}).status_code == 200
        status, errors = running.stop()
    assert status == 0
    assert token not in errors


def test_another_address_than_loopback_gets_a_token(catalog, serve):
    with serve(catalog, "--host", "0.0.0.0") as running:
        assert len(re.search(r"token=([\w-]+)$", running.first)[1]) >= 40


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (("--token", "short"), 2, "at least 16 characters"),
        (("--source", "/nowhere"), 2, "not tagged yet; known are"),
        (("--host", "192.0.2.1"), 1, "192.0.2.1 port 8765 is not available: "),
        (("--host", "no.such.host.invalid"), 1, "no.such.host.invalid port 8765 is not available: "),
    ],
)
def test_what_cannot_be_served_is_said(catalog, arguments, status, text):
    result = CliRunner().invoke(app, ["review", "--no-open", "--db", f"sqlite:///{catalog}", *arguments])
    assert (result.exit_code, result.stdout) == (status, "")
    assert text in result.stderr


def test_a_port_that_is_taken_is_said(catalog, served):
    port = served.authority.split(":")[1]
    result = CliRunner().invoke(app, ["review", "--no-open", "--db", f"sqlite:///{catalog}", "--port", port])
    assert result.exit_code == 1
    assert "--port 0" in result.stderr


def test_ctrl_c_ends_it_with_status_0_and_without_a_word_of_what_was_asked(catalog, serve):
    with serve(catalog) as running:
        client = running.client()
        client.get("/api/queue?product=secret")
        client.get("/no/such/path")
        status, errors = running.stop()
    assert status == 0
    assert errors.splitlines() == [
        f"reading the results in sqlite:///{catalog}: about a second per 100,000 images",
        f"review of sqlite:///{catalog}; press Ctrl-C to stop",
    ]


def test_an_answer_does_not_wait_until_the_browser_has_acknowledged_its_first_part(steady):
    client = steady.client()
    # On a busy machine many take longer; if each waited, none of them would be there in time.
    assert any(client.get("/api/session").elapsed.total_seconds() < 0.03 for _ in range(500))


def test_a_database_that_is_away_is_said_plainly_and_comes_back(served, word):
    client = served.client()
    row = queue(client)[0]
    served.change("ALTER TABLE cataloger_corrected RENAME TO cataloger_elsewhere")
    answer = client.post("/api/words", json={"words": [word(row)]})
    assert answer.status_code == 503
    assert "cataloger_corrected" in answer.text
    assert client.get("/api/queue").status_code == 503
    served.change("ALTER TABLE cataloger_elsewhere RENAME TO cataloger_corrected")
    assert say(client, word(row))[0]["status"] == "saved"


def half_a_request(served, text="GET / HTTP/1.1\r\nHost: 127"):
    connection = socket.create_connection(served.authority.split(":"), timeout=60)
    connection.sendall(text.encode())
    return connection


def is_closed(connection):
    """Wait for the end of a connection."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
    finally:
        connection.close()


def test_half_requests_keep_nobody_out_and_fill_no_log(catalog, serve):
    with serve(catalog) as running:
        attack = [half_a_request(running) for _ in range(2 * connections.MOST_CONNECTIONS)]
        assert running.client().get("/api/queue").status_code == 200
        # Those that were evicted need not wait for the time limit.
        assert all(map(is_closed, attack[: connections.MOST_CONNECTIONS - 10]))
        for connection in attack:
            connection.close()
        status, errors = running.stop()
    lines = [line for line in errors.splitlines() if "closed" in line]
    assert (status, len(lines)) == (0, 1), errors


@pytest.mark.parametrize("text", ["", "GET / HT", "GET / HTTP/1.1\r\nHost: {}\r\nX: ", "POST"])
def test_a_request_that_does_not_come_is_not_waited_for(served, monkeypatch, caplog, text):
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.3)
    if text == "POST":  # its body never comes
        client = served.client()
        headers = {"Content-Length": "100", "Host": served.authority, **client.headers}
        cookies = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if name.lower() != "connection")
        text = f"POST /api/words HTTP/1.1\r\n{cookies}\r\n{{{{"
    assert is_closed(half_a_request(served, text.format(served.authority)))
    assert {record.name for record in caplog.records} <= {connections.__name__}  # no traceback of a request
    assert served.client().get("/api/queue").status_code == 200


def test_a_request_that_comes_in_pieces_is_answered(served):
    with half_a_request(served) as connection:
        rest = served.authority.removeprefix("127")
        connection.sendall(f"{rest}\r\nConnection: close\r\n\r\n".encode())
        assert b" 200 " in connection.recv(1000)


def test_posts_that_wait_for_a_lock_keep_no_reader_waiting(served, word):
    client = served.client()
    rows = queue(client)
    with ThreadPoolExecutor(45) as threads, closing(sqlite3.connect(served.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        words = [word(rows[number % len(rows)], verdict="not_product") for number in range(45)]
        posts = [threads.submit(client.post, "/api/words", json={"words": [each]}) for each in words]
        wait_until(lambda: any(post.running() for post in posts))
        for path in ("/", "/api/queue", "/api/progress", f"/image/{rows[0]['item']}/240.jpg"):
            assert served.client().get(path).status_code == 200
        assert not any(post.done() for post in posts)
        other.rollback()
        assert {post.result().status_code for post in posts} == {200}


def wait_until(is_so):
    until = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.01)
