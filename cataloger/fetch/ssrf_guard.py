"""Connections to public addresses alone, so that a URL of a catalog cannot read what only this machine can reach.

`CheckedBackend` resolves each host name itself, refuses it if *any* of its addresses is not public, and connects to
the very address that it checked: a name that is public when looked at and private when connected to cannot slip
through. A kept connection stays with the address that was checked. The certificate is still that of the name.
"""

import ipaddress
import math
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from copy import copy
from pathlib import Path
from typing import Any

import httpcore
import httpx

from cataloger.errors import ImageError, UsageError
from cataloger.web_options import ProxyChoice

LOCAL_NAMES = (".localhost", ".local", ".internal", ".localdomain", ".home.arpa")
"""Ends of names that mean no public host (RFC 6761, 6762, 8375; ICANN for internal)."""
IDLE_CONNECTIONS = 100
IDLE_SECONDS = 5.0

Resolve = Callable[[str, int], list[str]]
"""From host and port to addresses as text, best first. Raises OSError or ValueError if there are none."""

# Not public: IANA IPv4 Special-Purpose Address Registry (RFC 6890), multicast (RFC 5771), and the address at which
# Azure serves its virtual machines.
_NOT_PUBLIC_4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# RFC 4291 and the IANA IPv6 registry: only 2000::/3 is assigned, and of it these are special. Teredo (RFC 4380, in
# 2001::/23) and 6to4 (RFC 3056) wrap IPv4 addresses and serve no public site: refused whatever they wrap.
_ASSIGNED_6 = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(
    ipaddress.IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)
# The address is judged by the IPv4 address in its last 32 bits: IPv4-mapped (RFC 4291), NAT64 (RFC 6052).
_WRAPPING_6 = tuple(ipaddress.IPv6Network(network) for network in ("::ffff:0:0/96", "64:ff9b::/96"))


def is_public(address: str) -> bool:
    """Tell whether an IP address, as text, is a global unicast one. Raises ValueError if it is no IP address."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address) and any(parsed in network for network in _WRAPPING_6):
        parsed = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
    if isinstance(parsed, ipaddress.IPv4Address):
        return not any(parsed in network for network in _NOT_PUBLIC_4)
    return parsed in _ASSIGNED_6 and not any(parsed in network for network in _NOT_PUBLIC_6)


def system_resolve(host: str, port: int) -> list[str]:
    """Ask the system, which has its own time limit. Raises OSError, and ValueError for an impossible name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _literal_address(name: str) -> str | None:
    """Return the IP address that a host is, also as 127.1, 0x7f000001 or 2130706433; None if it is a name."""
    with suppress(ValueError):
        return str(ipaddress.ip_address(name))
    with suppress(OSError, ValueError):
        return socket.inet_ntoa(socket.inet_aton(name))
    return None


def _private(text: str) -> ImageError:
    return ImageError("fetch.private_address", f"{text}; --allow-private is for your own servers")


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    context = httpx.create_ssl_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:  # the latter is one of the former, with no text for people
            raise UsageError(f"--ca-file {ca_file} holds no certificates in PEM: {_reason(error)}") from error
    return context


class CheckedBackend(httpcore.NetworkBackend):
    """TCP for an httpcore connection pool, with checked addresses and one time limit per thread.

    resolve: where addresses come from. tcp: what connects to a checked address.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        resolve: Resolve = system_resolve,
        tcp: httpcore.NetworkBackend | None = None,
    ) -> None:
        self._allow_private = allow_private
        self._resolve = resolve
        self._tcp = tcp or httpcore.SyncBackend()
        self._clock = _Clock()
        self._open = _OpenStreams()

    @contextmanager
    def time_limit(self, seconds: float) -> Iterator[None]:
        """End whatever this thread waits for on the network after so many seconds, with httpcore's timeouts."""
        self._clock.end = time.monotonic() + seconds
        try:
            yield
        finally:
            self._clock.end = math.inf

    def abort(self) -> None:
        """End what other threads wait for; every connection fails from now on."""
        self._open.abort()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of `host` that answers; `timeout` seconds are for all of them together.

        Raises ImageError (fetch.private_address) and httpcore's ConnectError and ConnectTimeout.
        """
        addresses = self.addresses_of(host, port)
        end = time.monotonic() + self._clock.left(timeout, httpcore.ConnectTimeout)
        for number, address in enumerate(addresses, 1):
            share = (end - time.monotonic()) / (len(addresses) - number + 1)
            try:
                stream = self._tcp.connect_tcp(address, port, max(share, 0.001), local_address, socket_options)
                return _Stream(stream, self._clock, self._open)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if number == len(addresses):
                    raise
        raise httpcore.ConnectError(f"{host} has no address")

    def addresses_of(self, host: str, port: int) -> list[str]:
        """Resolve a name and check every address. Raises ImageError (fetch.private_address), ConnectError."""
        try:
            addresses = self._resolve(host, port)
            private = [] if self._allow_private else [each for each in addresses if not is_public(each)]
        except (OSError, ValueError) as error:
            raise httpcore.ConnectError(f"the name cannot be resolved: {_reason(error)}") from error
        if private:
            raise _private(f"{host} has the address {private[0]}, which is not a public one")
        return addresses

    def check_name(self, host: str) -> None:
        """Check what a proxy is to connect to, as far as a name tells. Raises ImageError (fetch.private_address)."""
        if self._allow_private:
            return
        name = host.strip("[]").rstrip(".").lower()
        literal = _literal_address(name)
        if literal is not None:
            if not is_public(literal):
                raise _private(f"{host} is not a public address")
        elif "." not in name or name.endswith(LOCAL_NAMES):
            raise _private(f"{host} is the name of a host that is not public")

    def unchecked(self) -> "CheckedBackend":
        """Return one that connects to any address, for a proxy; time limits and `abort` are those of this one."""
        made = copy(self)
        made._allow_private = True
        return made


class CheckedTransport(httpx.BaseTransport):
    """httpx over connections of a `CheckedBackend`; raises httpcore's errors as they are.

    proxy: chooses the proxy of an address. What a name means, the proxy finds out, so that only the name is checked.
    ca_file: certificates of authorities that are trusted, too. Raises UsageError if it holds none.
    """

    def __init__(
        self, backend: CheckedBackend, *, proxy: ProxyChoice | None = None, ca_file: Path | None = None
    ) -> None:
        self._backend = backend
        self._proxy = proxy
        self._pools: dict[str | None, httpcore.ConnectionPool] = {}
        self._lock = threading.Lock()
        self._ssl = _trusting(ca_file)
        self._pool(None)

    def _pool(self, proxy: str | None) -> httpcore.ConnectionPool:
        """Return the connections through a proxy, or those without one."""
        with self._lock:
            if proxy not in self._pools:
                self._pools[proxy] = self._new_pool(proxy)
            return self._pools[proxy]

    def _new_pool(self, proxy: str | None) -> httpcore.ConnectionPool:
        options: dict[str, Any] = {
            "ssl_context": self._ssl,
            "max_connections": None,
            "max_keepalive_connections": IDLE_CONNECTIONS,
            "keepalive_expiry": IDLE_SECONDS,
        }
        if proxy is None:
            return httpcore.ConnectionPool(network_backend=self._backend, **options)
        url = httpx.URL(proxy)
        own = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=b"/")
        user = (url.username, url.password) if url.username or url.password else None
        if url.scheme == "https":
            options["proxy_ssl_context"] = self._ssl
        return httpcore.HTTPProxy(own, proxy_auth=user, network_backend=self._backend.unchecked(), **options)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and receive the header of its answer; the body is still to be read or closed."""
        url = request.url
        port = url.port or (443 if url.scheme == "https" else 80)
        proxy = None if self._proxy is None else self._proxy(url.scheme, url.host, port)
        if proxy is not None:
            self._backend.check_name(url.host)
        response = self._pool(proxy).handle_request(
            httpcore.Request(
                request.method,
                httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.read() or None,
                extensions=request.extensions,
            )
        )
        return httpx.Response(response.status, headers=response.headers, stream=_Body(response))

    def close(self) -> None:
        """Close the connections; none may be in use by another thread."""
        for pool in self._pools.values():
            pool.close()


class _Body(httpx.SyncByteStream):
    """The body of a response as httpx wants it."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        return self._response.iter_stream()

    def close(self) -> None:
        self._response.close()


class _Clock(threading.local):
    """When the time of this thread ends, on the monotonic clock."""

    end = math.inf

    def left(self, timeout: float | None, error: type[Exception]) -> float:
        """Return the seconds to wait at most; raise `error` if there are none."""
        left = min(self.end - time.monotonic(), math.inf if timeout is None else timeout)
        if left <= 0:
            raise error("the time is over")
        return min(left, threading.TIMEOUT_MAX)


class _OpenStreams:
    """The streams that are open, to end them from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._streams: set[_Stream] = set()
        self._aborted = False

    def add(self, stream: "_Stream") -> None:
        with self._lock:
            self._streams.add(stream)
            if self._aborted:
                stream.shut_down()

    def close(self, stream: "_Stream") -> None:
        # Under the lock: the number of a closed socket may belong to another one at once.
        with self._lock:
            self._streams.discard(stream)
            stream.inner.close()

    def abort(self) -> None:
        with self._lock:
            self._aborted = True
            for stream in self._streams:
                stream.shut_down()


class _Stream(httpcore.NetworkStream):
    """A stream whose every wait ends with the time of the thread that waits."""

    def __init__(self, inner: httpcore.NetworkStream, clock: _Clock, streams: _OpenStreams) -> None:
        self.inner = inner
        self._clock = clock
        self._streams = streams
        streams.add(self)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.inner.read(max_bytes, self._clock.left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.inner.write(buffer, self._clock.left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._streams.close(self)

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = self._clock.left(timeout, httpcore.ConnectTimeout)
        try:
            self.inner = self.inner.start_tls(ssl_context, server_hostname, left)
        except httpcore.ConnectError as error:
            self.close()
            cause = error.__cause__
            # A handshake that is cut off is like any cut connection; what TLS itself refuses stays refused.
            if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
                raise ImageError(
                    "fetch.tls", f"no secure connection to {server_hostname}: {_reason(cause)}"
                ) from None
            raise
        except BaseException:
            self.close()
            raise
        self._streams.add(self)  # the socket is another one, which an abort in between has not seen
        return self

    def get_extra_info(self, info: str) -> Any:
        return self.inner.get_extra_info(info)

    def shut_down(self) -> None:
        """Make a wait of another thread end as if the server had hung up."""
        sock = self.inner.get_extra_info("socket")
        with suppress(OSError):
            # Not SSLSocket.shutdown, which would take TLS away under the thread that reads.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _reason(error: Exception) -> str:
    """Return the reason of a system error, without its arguments."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted ({error.verify_message.rstrip('.')})"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "the handshake failed").lower().replace("_", " ")
    return (error.strerror if isinstance(error, OSError) else None) or "it is not a valid name"
