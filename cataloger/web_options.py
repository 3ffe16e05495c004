"""How images are downloaded."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from cataloger.errors import UsageError
from cataloger.references import dereferenced

HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:@([^=\s@]+))?=(.*)", re.DOTALL)
OUR_HEADERS = {
    *("accept-encoding", "connection", "content-length", "host", "keep-alive", "proxy-authorization"),
    *("proxy-connection", "range", "te", "trailer", "transfer-encoding", "upgrade", "user-agent"),
}
"""Headers that belong to the connection, or have a flag of their own."""
PRINTABLE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
"""Characters of a header's value (RFC 9110, 5.5)."""
SLOWEST, FASTEST = 0.001, 10_000
"""Requests a second."""
FROM_ENVIRONMENT = "env"
"""The value of --proxy that means the usual variables."""

ProxyChoice = Callable[[str, str, int], str | None]
"""From scheme, host and port to the URL of the proxy to ask, None for none."""


@dataclass(frozen=True, slots=True)
class RequestHeader:
    """A header of requests for images. host: that it is for; None for every host of the catalog."""

    name: str
    host: str | None
    value: str = field(repr=False)

    @property
    def title(self) -> str:
        """What it is and where it is for, without its value."""
        return self.name if self.host is None else f"{self.name}@{self.host}"


@dataclass(frozen=True, slots=True)
class WebOptions:
    """How images are downloaded.

    allow_private: also from hosts with private, loopback or link-local addresses, such as the shop's own.
    per_host: connections to one host and port at once. timeout: seconds that one attempt at an image may take
    altogether, redirects included. connect_timeout: seconds until a host must have accepted a connection.
    attempts: how often an image is tried in one run when the failure looks like a passing one. revalidate: ask for
    every unchanged address whether it still shows the same image.
    rate_per_host: requests to one host and port a second; None for no limit. user_agent: what requests say who asks;
    None for our name and version. headers: further ones, each NAME=VALUE or NAME@HOST=VALUE, whose value may be
    env:VARIABLE or file:PATH. proxy: the URL of a proxy, or where it is kept, or "env" for the variables HTTPS_PROXY,
    HTTP_PROXY and NO_PROXY; None for none. ca_file: certificates in PEM of authorities that are trusted, too.
    """

    allow_private: bool = False
    per_host: int = 8
    timeout: float = 30.0
    connect_timeout: float = 10.0
    attempts: int = 4
    revalidate: bool = False
    rate_per_host: float | None = None
    user_agent: str | None = None
    headers: tuple[str | RequestHeader, ...] = field(default=(), repr=False)
    proxy: str | None = field(default=None, repr=False)
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        _require(1 <= self.per_host <= 100, f"per_host must be between 1 and 100, not {self.per_host}")
        _require(0 < self.timeout <= 3600, f"timeout must be between 0 and 3600 seconds, not {self.timeout}")
        _require(
            0 < self.connect_timeout <= 3600,
            f"connect_timeout must be between 0 and 3600 seconds, not {self.connect_timeout}",
        )
        _require(1 <= self.attempts <= 20, f"attempts must be between 1 and 20, not {self.attempts}")
        rate = self.rate_per_host
        _require(
            rate is None or SLOWEST <= rate <= FASTEST, f"--rate-per-host must be {SLOWEST} to {FASTEST}, not {rate}"
        )
        agent = self.user_agent
        is_agent = agent is None or (agent.strip() != "" and agent.isascii() and bool(PRINTABLE.fullmatch(agent)))
        _require(is_agent, "--user-agent must be a text of one line in ASCII")
        if self.ca_file is not None:
            _require_certificates(self.ca_file)
        self.request_headers()
        self.proxy_choice()

    def request_headers(self) -> list[RequestHeader]:
        """Return the headers with their values. Raises UsageError, ConfigError; no message holds a value."""
        return [_header(each) if isinstance(each, str) else each for each in self.headers]

    def proxy_choice(self) -> ProxyChoice | None:
        """Return what chooses the proxy of an address; None without one. Raises UsageError, ConfigError."""
        if self.proxy == FROM_ENVIRONMENT:
            return _choice_of_environment()
        url = self._own_proxy()
        return None if url is None else lambda _scheme, _host, _port: url

    def _own_proxy(self) -> str | None:
        if self.proxy is None:
            return None
        return _proxy_url(dereferenced(self.proxy, "--proxy", "the URL of a proxy").strip(), "--proxy")

    def share(self, workers: int) -> Self:
        """Return what one of so many workers on other machines may do, with the secrets that are kept on this one.

        Proxies of the environment remain those of each machine, and ca_file is a file there.
        """
        return replace(
            self,
            per_host=max(1, self.per_host // workers),
            rate_per_host=None if self.rate_per_host is None else max(SLOWEST, self.rate_per_host / workers),
            headers=tuple(self.request_headers()),
            proxy=self.proxy if self.proxy == FROM_ENVIRONMENT else self._own_proxy(),
        )

    def as_json(self) -> dict[str, Any]:
        """Return the options as they are recorded: names of headers without values, a proxy without its password."""
        values: dict[str, Any] = {name: getattr(self, name) for name in PLAIN}
        values["headers"] = [each.title for each in self.request_headers()]
        values["proxy"] = None if self.proxy is None else _without_password(self.proxy)
        return values | {"ca_file": None if self.ca_file is None else str(self.ca_file)}


PLAIN = (
    *("allow_private", "per_host", "timeout", "connect_timeout", "attempts", "revalidate"),
    *("rate_per_host", "user_agent"),
)
"""Options that are recorded as they are."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(message)


def _require_certificates(path: Path) -> None:
    import ssl  # takes time, and is of no use for files

    _require(path.is_file(), f"--ca-file {path} is no file")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError as error:
        raise UsageError(f"--ca-file {path} holds no certificates in PEM") from error
    except OSError as error:
        raise UsageError(f"--ca-file {path} cannot be read: {error.strerror}") from error


def _header(text: str) -> RequestHeader:
    found = HEADER.fullmatch(text)
    if found is None:
        name = text.partition("=")[0] if "=" in text else "(without =)"
        raise UsageError(f"--header {name}: write NAME=VALUE or NAME@HOST=VALUE, e.g. Referer=https://shop.example/")
    name, host, value = found.groups()
    _require(name.lower() not in OUR_HEADERS, f"--header {name}: this header cannot be given")
    value = dereferenced(value, f"--header {name}", "the value of the header").strip()
    _require(bool(PRINTABLE.fullmatch(value)), f"--header {name}: its value has characters that no header may have")
    return RequestHeader(name, None if host is None else host.lower(), value)


def _choice_of_environment() -> ProxyChoice:
    # It brings http and email, a tenth of what a decoding process loads.
    from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

    proxies = getproxies_environment()
    known = {
        scheme: _proxy_url(url, f"{scheme.upper()}_PROXY") for scheme, url in proxies.items() if scheme in SCHEMES
    }
    everything = proxies.get("all")
    fallback = None if everything is None else _proxy_url(everything, "ALL_PROXY")

    def choose(scheme: str, host: str, port: int) -> str | None:
        address = f"[{host}]" if ":" in host else host
        if any(proxy_bypass_environment(each, proxies) for each in (host, f"{address}:{port}")):
            return None
        return known.get(scheme, fallback)

    return choose


SCHEMES = ("http", "https")


def _proxy_url(text: str, where: str) -> str:
    """Return the URL of a proxy with its scheme. Raises UsageError, without the URL, which may hold a password."""
    url = text if "://" in text else f"http://{text}"
    try:
        parsed = urlsplit(url)
        is_valid = parsed.scheme in SCHEMES and bool(parsed.hostname) and parsed.port != 0
    except ValueError:
        is_valid = False
    _require(is_valid, f"{where} is not the URL of an HTTP proxy; write e.g. http://proxy.example:3128")
    return url


def _without_password(text: str) -> str:
    return text if "@" not in text else f"{text.partition('://')[0]}://{text.rpartition('@')[2]}"


def headers_for(headers: list[RequestHeader], host: str, *, is_of_catalog: bool) -> Mapping[str, str]:
    """Return the headers of a request to a host. is_of_catalog: the catalog names it; no redirect has led there."""
    chosen = (each for each in headers if (is_of_catalog if each.host is None else each.host == host.lower()))
    return {each.name: each.value for each in chosen}
