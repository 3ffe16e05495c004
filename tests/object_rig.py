"""A server that speaks S3, moto, in a process of its own, and a door in front of it that can be disturbed.

And Azurite, a server that speaks what Azure does, where it is installed.
"""

import base64
import hashlib
import hmac
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote, urlsplit

import httpx

# moto asks whose request it is, and checks no signature.
OWNER = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=OWNER/20260101/us-east-1/s3/aws4_request, Signature=x",
    "x-amz-acl": "public-read",
}
# Those that Azurite has for everybody.
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your request rate</Message></Error>"


class Door(ThreadingHTTPServer):
    """Passes requests on to the server behind it, counts them, and refuses what it is told to.

    refuse, refuse_writing: path -> answers 503 SlowDown so many times. asked: requests by method and path, without
    query.
    """

    daemon_threads = True

    def __init__(self, behind):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = httpx.Client(base_url=behind, timeout=60)
        self.refuse = Counter()
        self.refuse_writing = Counter()
        self.asked = Counter()
        self.headers = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def put(self, bucket, objects):
        """Make a bucket with objects, by key; keys of any kind."""
        self.behind.put(f"/{bucket}", headers=OWNER).raise_for_status()
        for key, data in objects.items():
            self.behind.put(f"/{bucket}/{quote(key, safe='/')}", content=data, headers=OWNER).raise_for_status()

    def read(self, bucket, key):
        """Return the bytes of an object."""
        return self.behind.get(f"/{bucket}/{quote(key, safe='/')}", headers=OWNER).raise_for_status().content

    def delete(self, bucket, key):
        """Delete an object."""
        self.behind.delete(f"/{bucket}/{quote(key, safe='/')}", headers=OWNER).raise_for_status()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        self.server.asked[self.command, path] += 1
        self.server.headers.append(dict(self.headers))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))  # also of what is refused
        refused = self.server.refuse_writing if self.command in ("PUT", "POST") else self.server.refuse
        if refused[path] > 0:
            refused[path] -= 1
            return self._answer(503, {"Content-Type": "application/xml"}, SLOW_DOWN)
        kept = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection", "content-length")}
        answer = self.server.behind.request(self.command, self.path, headers=kept, content=body)
        gone = ("content-length", "connection", "transfer-encoding", "content-encoding", "date", "server")
        headers = {k: v for k, v in answer.headers.items() if k not in gone}
        return self._answer(answer.status_code, headers, answer.content, answer.headers.get("content-length"))

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

    def _answer(self, status, headers, body, length=None):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def s3_server():
    """Give the door of a new server."""
    code = "from moto.server import main; main(['-H', '127.0.0.1', '-p', '0'])"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        door = Door(_address(process))
        threading.Thread(target=door.serve_forever, daemon=True).start()
        yield door
        door.shutdown()
        door.server_close()
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def _address(process):
    """Read where the server listens, then go on reading, so that it never waits for us."""
    for line in process.stderr:
        if "http://127.0.0.1:" in line:
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return "http://127.0.0.1:" + line.rpartition(":")[2].strip().rstrip("/")
    raise AssertionError("the server of the tests does not start")


@contextmanager
def azure_server(program, container):
    """Give the endpoint of a new server of Azure's kind, which has a container. program: `azurite-blob`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    flags = ("--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent")
    process = subprocess.Popen(
        [program, "--blobHost", "127.0.0.1", "--blobPort", str(port), *flags], stdout=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}/{AZURE_ACCOUNT}"
    try:
        _make_container(url, container, process)
        yield url
    finally:
        process.kill()
        process.wait()


def _make_container(url, name, process):
    """Make a container as soon as the server answers; its client has no call for that."""
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-12-02"}
    signed = "".join(f"{key}:{value}\n" for key, value in headers.items())
    text = "PUT" + "\n" * 12 + signed + f"/{AZURE_ACCOUNT}/{AZURE_ACCOUNT}/{name}\nrestype:container"
    digest = hmac.new(base64.b64decode(AZURE_KEY), text.encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey {AZURE_ACCOUNT}:{base64.b64encode(digest).decode()}"
    while process.poll() is None:
        with suppress(httpx.TransportError):
            httpx.put(f"{url}/{name}?restype=container", headers=headers).raise_for_status()
            return
        time.sleep(0.1)
    raise AssertionError("Azurite does not start")
