"""A report leads into the review: every link of its page is a queue with the image, or with all that it counts."""

import re
from html import unescape
from urllib.parse import parse_qsl, urlsplit

from typer.testing import CliRunner

from cataloger.cli.app import app


def test_every_link_of_a_report_is_a_queue_that_holds_its_image(steady, tmp_path):
    page = tmp_path / "page.html"
    arguments = ["report", "--db", f"sqlite:///{steady.path}", "--no-maps", "-q", "-o", str(page)]
    assert CliRunner().invoke(app, [*arguments, "--review-url", steady.url]).exit_code == 0
    links = {unescape(link) for link in re.findall(r'href="(http[^"]+)"', page.read_text(encoding="utf-8"))}
    client, single = steady.client(), []
    for link in links:
        assert link.startswith(f"{steady.url}/?")
        assert "by=image" in link or "product=" in link  # a report counts images
        found = client.get("/api/queue", params=parse_qsl(urlsplit(link).query))
        assert found.status_code == 200, link
        assert found.json()["rows"], link
        single += [row["item"] for row in found.json()["rows"]] if "image=" in link else []
    assert len(single) == len(set(single)) == 21


def test_an_image_that_is_none_is_named_and_the_page_stays_usable(steady):
    answer = steady.client().get("/", params={"image": "0"})
    assert answer.status_code == 400
    assert "image: give the number of an image" in answer.text
    assert steady.client().get("/api/queue", params={"image": str(2**63 - 1)}).json()["rows"] == []
