"""What runs of the night have around them: cron's environment, a server that is told, a reader of metrics."""

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import forks
from log_lines import MAIN
from patience import HANGS
from prometheus_client.parser import text_string_to_metric_families

from cataloger.signals import FAMILIES

ROOT = Path(__file__).parents[1]
TOKEN = "token-in-the-path"


class Receiver(ThreadingHTTPServer):
    """A web address that notifications go to. statuses: of its answers, the last one from then on."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.statuses = [204]
        self.got = []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/{TOKEN}"


class Answer(BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        server.got.append((self.path, self.headers, self.rfile.read(int(self.headers["Content-Length"]))))
        status = server.statuses[min(len(server.got), len(server.statuses)) - 1]
        self.send_response(status)
        self.send_header("Content-Length", "0")
        if 300 <= status < 400:
            self.send_header("Location", server.url + "/other")
        self.end_headers()

    do_GET = do_POST  # noqa: N815 - the name that the server looks for

    def log_message(self, *_):
        pass


def run_as_cron(*arguments, code=MAIN, **env):
    """Run the command line as cron does: no HOME, no terminal, no language, nothing of ours but what is given."""
    cron = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "SHOP_DB": "sqlite:///catalog.db", "CATALOGER_WORKERS": "1"}
    cron |= {name: os.environ[name] for name in ("KILL_STORM_MARK", "PYTHONDONTWRITEBYTECODE") if name in os.environ}
    return forks.run(code, *arguments, env=cron | env, timeout=HANGS)


def metrics(name="m.prom"):
    """Return (name, labels) -> value of each sample as the reference parser reads it; all of it is documented."""
    text = Path(name).read_text()
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    families = list(text_string_to_metric_families(text))
    assert {each.type for each in families} == {"gauge"}
    for each in families:
        assert each.documentation == FAMILIES[each.name]
        assert f"| `{each.name}`" in page
    samples = [sample for each in families for sample in each.samples]
    found = {
        (sample.name.removeprefix("cataloger_"), frozenset(sample.labels.items())): sample.value for sample in samples
    }
    assert len(found) == len(samples)
    return found


def value(found, name, **labels):
    """Return the value of a sample; None without it."""
    return found.get((name, frozenset(labels.items())))
