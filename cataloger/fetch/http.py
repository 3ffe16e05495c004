"""Images over HTTP and HTTPS (RFC 9110), with bounds on everything that a server decides.

What goes wrong becomes a `Failure` with one of these codes:

    fetch.not_found          404 or 410
    fetch.http_status        another status that is no success, named in the message; again for 408, 429 and 5xx
    fetch.timeout            no connection, or no complete image, in time; again
    fetch.connection         the name does not resolve, the connection fails or breaks before the answer; again
    fetch.truncated          the connection ends before the image does; again
    fetch.tls                no secure connection, e.g. the certificate is not one for this host
    fetch.private_address    the host has an address that is not public (see `cataloger.fetch.ssrf_guard`)
    fetch.redirect           more than five redirects, one from https to http, or one to no valid address
    fetch.scheme             neither http nor https, also in a redirect
    fetch.bad_url            not a URL
    fetch.encoding           the body is compressed, which was not asked for and could be a bomb; other encodings,
                             such as aws-chunked, none and utf-8, say nothing of its bytes: they are read as they are
    decode.too_many_bytes    larger than `Limits.max_bytes`, by its header or while it arrives (permanent)
    fetch.error              a library failed in a way that is not foreseen; again in the next run
    io.error                 this machine cannot write its temporary file

"Again" means up to `WebOptions.attempts` times in all, after a random part of a wait that doubles each time, or what
the server asks for in Retry-After, at most a minute. Messages hold hosts and paths, never user info or query strings.
netrc and cookies are not used, nor proxies unless `WebOptions.proxy` says so; SSL_CERT_FILE and SSL_CERT_DIR name
other certificate authorities.
"""

import hashlib
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from tempfile import SpooledTemporaryFile
from typing import Self

import httpcore
import httpx

from cataloger import __version__
from cataloger.errors import ImageError
from cataloger.fetch.download_buffer import BUFFER_BYTES, Downloaded
from cataloger.fetch.host_places import HostPlaces
from cataloger.fetch.ssrf_guard import CheckedBackend, CheckedTransport
from cataloger.options import Limits, WebOptions
from cataloger.records import Failure, Item
from cataloger.utils import printable, without_query
from cataloger.web_options import headers_for

SCHEMES = {"http": 80, "https": 443}
MAX_REDIRECTS = 5
MAX_RETRY_AFTER = 60.0
FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0
LONGEST_REASON = 80
"""Characters of what a proxy says."""
SILENT_IMAGES = 8
SILENT_HOSTS = 10_000
# Unused responses up to this size are read, since that is cheaper than a new connection.
DRAIN_BYTES = 64_000
HEADERS = {"User-Agent": f"fashion-cataloger/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}

# Registered content codings, and their other names; "identity" and what servers make up change nothing.
COMPRESSIONS = (
    *("br", "brotli", "bzip2", "compress", "dcb", "dcz", "deflate", "exi", "gzip", "lzma"),
    *("pack200-gzip", "x-bzip2", "x-compress", "x-gzip", "xz", "zstd"),
)

logger = logging.getLogger(__name__)


class Downloader:
    """Downloads the images of one run, from as many threads at once as there are; a context manager."""

    def __init__(self, web: WebOptions, limits: Limits, *, backend: CheckedBackend | None = None) -> None:
        self._web = web
        self._limits = limits
        self._backend = backend or CheckedBackend(allow_private=web.allow_private)
        self._places = HostPlaces(web.per_host, web.rate_per_host)
        self._headers = web.request_headers()
        self._silences = _Silences()
        self._stop = threading.Event()
        self._client = httpx.Client(
            transport=CheckedTransport(self._backend, proxy=web.proxy_choice(), ca_file=web.ca_file),
            headers=HEADERS if web.user_agent is None else {**HEADERS, "User-Agent": web.user_agent},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            timeout=httpx.Timeout(web.timeout, connect=min(web.connect_timeout, web.timeout)),
            trust_env=False,
        )
        for name in ("httpx", "httpcore.connection", "httpcore.http11"):
            logging.getLogger(name).addFilter(_SILENCE)

    @property
    def options(self) -> WebOptions:
        """How it downloads."""
        return self._web

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop: waits and transfers of other threads end soon as failures. Any thread may call it, also twice."""
        self._stop.set()
        self._places.stop()
        self._backend.abort()
        self._close_idle()

    def get(self, item: Item) -> Downloaded | Failure:
        """Download `item.url`; the codes of its failures are those of the module."""
        return self._ask("GET", item)

    def validators(self, item: Item) -> str:
        """Request only the headers; return the validators of the version, "" if there are none or it failed."""
        answer = self._ask("HEAD", item)
        if isinstance(answer, Failure):
            return ""
        answer.close()
        return answer.validators

    def _ask(self, method: str, item: Item) -> Downloaded | Failure:
        _silent.here = True
        try:
            return self._persist(method, item)
        except ImageError as error:
            is_of_host = isinstance(error, _TransientError) or error.code == "fetch.tls"
            return Failure(item, error.code, str(error), may_be_outage=is_of_host)
        except OSError as error:  # httpcore's errors are none, so this is the temporary file's
            return Failure(item, "io.error", f"the temporary file cannot be written: {error.strerror}")
        except Exception as error:  # noqa: BLE001 - a library may raise anything, and late; it is about this image
            # Without its message, which may contain the address.
            return Failure(item, "fetch.error", f"the download failed unexpectedly ({type(error).__name__})")
        finally:
            _silent.here = False
            if self._stop.is_set():
                self._close_idle()

    def _close_idle(self) -> None:
        # A connection is closed by the thread that uses it; the last one out closes those that nobody uses.
        if self._places.all_free():
            self._client.close()

    def _persist(self, method: str, item: Item) -> Downloaded:
        assert item.url is not None, "only an item with a URL can be downloaded"
        request = self._request(method, item.url)
        with self._silences.noted(_place(request.url)) as is_silent:
            attempts = 1 if is_silent else self._web.attempts
            for attempt in range(1, attempts + 1):
                try:
                    downloaded = self._attempt(item, request)
                    _log(downloaded, attempt)
                    return downloaded
                except _TransientError as error:
                    values = {"event": "image.attempt_failed", "key": item.key, "code": error.code}
                    where = without_query(item.url)
                    logger.debug("attempt %d at %s: %s", attempt, where, error, extra=values)
                    if attempt == attempts or self._stop.wait(_wait(attempt, error.retry_after)):
                        raise
        raise AssertionError("the last attempt returns or raises")

    def _request(self, method: str, url: str) -> httpx.Request:
        try:
            parsed = httpx.URL(url)
            _check(parsed)
            own = headers_for(self._headers, parsed.host, is_of_catalog=True)
            return self._client.build_request(method, parsed, headers=own)
        except (httpx.InvalidURL, ValueError):  # also what idna raises, only when the host is asked for
            raise ImageError("fetch.bad_url", "the address is not a valid URL") from None

    def _attempt(self, item: Item, request: httpx.Request) -> Downloaded:
        """Follow redirects to the image, `timeout` seconds in all; waiting for a free place does not count."""
        left = self._web.timeout
        for _ in range(MAX_REDIRECTS + 1):
            with self._places.take(_place(request.url)):
                start = time.monotonic()
                with self._backend.time_limit(left), self._told(request.url.host, "fetch.connection"):
                    answer = self._exchange(item, request)
                left -= time.monotonic() - start
            if isinstance(answer, Downloaded):
                return answer
            request = answer
        raise ImageError("fetch.redirect", f"the server redirects more than {MAX_REDIRECTS} times")

    def _exchange(self, item: Item, request: httpx.Request) -> Downloaded | httpx.Request:
        """Send one request; return the body, or the request that a redirect leads to."""
        try:
            response = self._client.send(request, stream=True)
        except (httpx.RemoteProtocolError, httpx.InvalidURL, ValueError):
            raise ImageError("fetch.redirect", f"{request.url.host} redirects to what is not a URL") from None
        with closing(response):
            if response.is_success and response.status_code != HTTPStatus.PARTIAL_CONTENT:
                self._check_headers(response)
                with self._told(request.url.host, "fetch.truncated"):
                    return self._receive(item, response)
            _drain(response)
            if response.next_request is None:
                raise _status_error(response)
            _check_redirect(request.url, response.next_request.url)
            return self._redirected(request.url, response.next_request)

    def _redirected(self, origin: httpx.URL, request: httpx.Request) -> httpx.Request:
        """Take away the headers that are not for where a redirect leads."""
        if _place(origin) != _place(request.url) or origin.scheme != request.url.scheme:
            for header in self._headers:
                request.headers.pop(header.name, None)
            request.headers.update(headers_for(self._headers, request.url.host, is_of_catalog=False))
        return request

    def _check_headers(self, response: httpx.Response) -> None:
        named = response.headers.get("content-encoding", "").lower().split(",")
        if compressed := [encoding for encoding in map(str.strip, named) if encoding in COMPRESSIONS]:
            raise ImageError("fetch.encoding", f"the server sent the image compressed ({compressed[0]!r}), unasked")
        if _length(response) > self._limits.max_bytes:
            raise ImageError.too_many_bytes(self._limits.max_bytes)

    def _receive(self, item: Item, response: httpx.Response) -> Downloaded:
        digest = hashlib.sha256()
        size = 0
        body: SpooledTemporaryFile[bytes] = SpooledTemporaryFile(BUFFER_BYTES)  # noqa: SIM115
        try:
            for chunk in response.iter_raw():
                size += len(chunk)
                if size > self._limits.max_bytes:
                    raise ImageError.too_many_bytes(self._limits.max_bytes)
                digest.update(chunk)
                body.write(chunk)
        except BaseException:
            body.close()
            raise
        return Downloaded(item, digest.hexdigest(), size, _validators(response), body)

    @contextmanager
    def _told(self, host: str, code: str) -> Iterator[None]:
        """Turn httpcore's errors into ours; `code` is that of a connection that breaks here."""
        try:
            yield
        except httpcore.ConnectTimeout:
            limit = min(self._web.connect_timeout, self._web.timeout)
            message = f"{host} did not accept a connection in {limit:g} seconds"
            raise _TransientError("fetch.timeout", message) from None
        except httpcore.TimeoutException:
            message = f"{host} did not send the whole image in {self._web.timeout:g} seconds"
            raise _TransientError("fetch.timeout", message) from None
        except httpcore.ConnectError as error:
            raise _TransientError("fetch.connection", f"no connection to {host}: {error}") from None
        except httpcore.ProxyError as error:
            why = printable(str(error))[:LONGEST_REASON]
            raise _TransientError("fetch.connection", f"the proxy does not connect to {host}: {why}") from None
        except (httpcore.NetworkError, httpcore.ProtocolError):
            # Without httpcore's message, which may contain what the server sent.
            what = "before the image ended" if code == "fetch.truncated" else "without a valid answer"
            raise _TransientError(code, f"the connection to {host} ended {what}") from None


def _log(downloaded: Downloaded, attempt: int) -> None:
    if not logger.isEnabledFor(logging.DEBUG):
        return
    item, size = downloaded.item, downloaded.size
    values = {"event": "image.downloaded", "key": item.key, "uri": item.uri, "bytes": size, "attempt": attempt}
    where = without_query(item.url or "")
    logger.debug("%s: downloaded %d bytes in attempt %d", where, size, attempt, extra=values)


class _TransientError(ImageError):
    """A failure that is probably transient. retry_after: seconds that the server asks to wait."""

    def __init__(self, code: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(code, message)
        self.retry_after = retry_after


class _Silences:
    """Counts for each host the images in a row that brought no answer at all.

    After some of them another attempt at each image is hardly worth its time limit, until there is an answer again.
    """

    def __init__(self) -> None:
        self._in_a_row: Counter[str] = Counter()

    @contextmanager
    def noted(self, host: str) -> Iterator[bool]:
        """Give whether a host has been silent for some images, and note what becomes of the next one."""
        try:
            yield self._in_a_row[host] >= SILENT_IMAGES
        except _TransientError as error:
            if error.code in ("fetch.connection", "fetch.timeout"):
                self._note(host)
            raise
        except ImageError:
            self._in_a_row.pop(host, None)
            raise
        else:
            self._in_a_row.pop(host, None)

    def _note(self, host: str) -> None:
        if len(self._in_a_row) > SILENT_HOSTS:
            self._in_a_row.clear()
        self._in_a_row[host] += 1


class _LogFilter(logging.Filter):
    """Drops log records of httpx and httpcore about our requests, since they contain full URLs."""

    def filter(self, _record: logging.LogRecord, /) -> bool:
        return not _silent.here


class _Silent(threading.local):
    """Whether this thread is downloading."""

    here = False


_silent = _Silent()
_SILENCE = _LogFilter()


def _check(url: httpx.URL) -> None:
    if url.scheme and url.scheme not in SCHEMES:
        raise ImageError("fetch.scheme", "only http and https addresses are downloaded")
    if not url.scheme or not url.host or not 0 < _port(url) < 65536:
        raise ImageError("fetch.bad_url", "the address is not a full URL, such as https://shop.example/image.jpg")


def _check_redirect(url: httpx.URL, target: httpx.URL) -> None:
    try:
        _check(target)
    except ValueError:
        raise ImageError("fetch.redirect", f"{url.host} redirects to what is not a URL") from None
    if url.scheme == "https" and target.scheme == "http":
        raise ImageError("fetch.redirect", f"the server redirects from https to http: {without_query(str(target))}")


def _port(url: httpx.URL) -> int:
    return SCHEMES[url.scheme] if url.port is None else url.port


def _place(url: httpx.URL) -> str:
    return f"{url.host}:{_port(url)}"


def _length(response: httpx.Response) -> int:
    """Return the bytes that the header declares, which httpcore has checked to be a number; -1 without one."""
    return int(response.headers.get("content-length", -1))


def _validators(response: httpx.Response) -> str:
    """Return the validators of an image's version: its ETag, or its date and size."""
    headers = response.headers
    if "etag" in headers:
        return str(headers["etag"])
    return f"{headers['last-modified']} {_length(response)}" if "last-modified" in headers else ""


def _drain(response: httpx.Response) -> None:
    """Read a small answer, so that the connection can be used again."""
    if 0 <= _length(response) <= DRAIN_BYTES:
        with suppress(httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
            for _ in response.iter_raw():
                pass


def _status_error(response: httpx.Response) -> ImageError:
    status = response.status_code
    known = f"{status} {httpx.codes.get_reason_phrase(status)}".rstrip()
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return ImageError("fetch.not_found", f"the server does not have the image: {known}")
    message = f"the server answered {known}"
    if status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS) or status >= 500:
        return _TransientError("fetch.http_status", message, _retry_after(response.headers.get("retry-after", "")))
    return ImageError("fetch.http_status", message)


def _retry_after(value: str) -> float | None:
    """Return the seconds that a Retry-After header asks for (RFC 9110, 10.2.3), at most a minute; None if unclear."""
    if value.isascii() and value.isdigit():
        return min(float(value), MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max((moment - datetime.now(UTC)).total_seconds(), 0.0), MAX_RETRY_AFTER)


def _wait(attempt: int, retry_after: float | None) -> float:
    """Return the seconds to wait after attempt 1, 2, ...: with full jitter, so that not all come back at once."""
    jitter = random.uniform(0.0, min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempt - 1)))
    return jitter if retry_after is None else retry_after + jitter
