"""The summary of a run as a signed request to a web address (a webhook)."""

import hashlib
import hmac
import random
import time
from contextlib import closing

import httpcore
import httpx

from cataloger import __version__
from cataloger.errors import ImageError
from cataloger.fetch import CheckedBackend, CheckedTransport
from cataloger.options import WebOptions

ATTEMPTS = 4
SECONDS = 15.0
"""That one attempt may take."""
FIRST_WAIT = 1.0
"""Seconds before the second attempt, half of them at random; they double each time."""
AGAIN = (408, 425, 429)


def notify(url: str, body: bytes, secret: bytes, web: WebOptions) -> str | None:
    """Send a body; return what went wrong, without the address, None if nothing.

    An answer of 2xx is success. Redirects are not followed. Tried again after no answer, 5xx, 408, 425 and 429.
    """
    try:
        backend = CheckedBackend(allow_private=web.allow_private)
        transport = CheckedTransport(backend, proxy=web.proxy_choice(), ca_file=web.ca_file)
        with closing(httpx.Client(transport=transport, trust_env=False, follow_redirects=False)) as client:
            return _persist(client, backend, client.build_request("POST", url, content=body), secret)
    except Exception as error:  # noqa: BLE001 - a library may raise anything; the run itself is done
        return f"--notify failed: {_reason(error)}"


def _persist(client: httpx.Client, backend: CheckedBackend, request: httpx.Request, secret: bytes) -> str | None:
    problem = None
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(FIRST_WAIT * 2 ** (attempt - 1) * random.uniform(0.5, 1.0))
        request.headers.update(_headers(request.content, secret))
        try:
            with backend.time_limit(SECONDS), closing(client.send(request, stream=True)) as response:
                status = response.status_code
        except (
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.TimeoutException,
            httpcore.ProxyError,
        ) as error:
            problem = _reason(error)
            continue
        if 200 <= status < 300:
            return None
        problem = f"the server answered {status}"
        if status < 500 and status not in AGAIN:
            return f"--notify failed: {problem}"
    return f"--notify failed: {problem}, also in attempt {ATTEMPTS}"


def _headers(body: bytes, secret: bytes) -> dict[str, str]:
    """Return the headers of an attempt. The signature covers the time, so that an old request is found."""
    when = str(int(time.time()))
    return {
        "Content-Type": "application/json",
        "User-Agent": f"fashion-cataloger/{__version__}",
        "X-Cataloger-Timestamp": when,
        "X-Cataloger-Signature": f"sha256={signature(body, secret, when)}",
    }


def signature(body: bytes, secret: bytes, timestamp: str) -> str:
    """Return the HMAC-SHA256 of the timestamp, a dot and the body, in hexadecimal digits."""
    return hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _reason(error: Exception) -> str:
    """Return what went wrong without the address, which may hold a secret."""
    if isinstance(error, ImageError):
        return str(error)
    if isinstance(error, httpcore.TimeoutException):
        return "no answer in time"
    return "no connection" if isinstance(error, httpcore.ConnectError) else f"no answer ({type(error).__name__})"
