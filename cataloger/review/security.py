"""Who may use the review application, and what a browser may do with its pages.

Every request passes `Guard`: the name that it was sent to (against DNS rebinding), the token where one is asked for,
and, for whatever changes something, where it comes from and the page's own token (against request forgery).
"""

import hashlib
import hmac
import html
import ipaddress
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cataloger.errors import UsageError

CSP = (
    "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
CSRF_HEADER = "X-CSRF-Token"
SHORTEST_TOKEN = 16
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
ANY_ADDRESS = ("0.0.0.0", "::", "")  # noqa: S104 - only compared with


def is_loopback(host: str) -> bool:
    """True for an address that only this machine can reach."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def new_token() -> str:
    """Return a random token."""
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True)
class Access:
    """Who is let in. host: what the server listens on. token: None only for loopback. csrf: of this process.

    Raises UsageError for a host that others reach without token, and for a token that could be guessed.
    """

    host: str
    token: str | None = None
    csrf: str = field(default_factory=new_token)

    def __post_init__(self) -> None:
        if self.token is None and not is_loopback(self.host):
            raise UsageError(f"--host {self.host} can be reached from other machines: it needs a token")
        if self.token is not None and (len(self.token) < SHORTEST_TOKEN or not self.token.isascii()):
            raise UsageError(
                f"--token: at least {SHORTEST_TOKEN} characters, ASCII only; leave it out to get a random one"
            )

    @property
    def session(self) -> str:
        """What the cookie holds instead of the token."""
        return self._derived("session")

    @property
    def cookie(self) -> str:
        """Name of the cookie: cookies know no ports, and two applications may run on one machine."""
        return f"cataloger_review_{self._derived('cookie')[:8]}"

    def _derived(self, purpose: str) -> str:
        return hmac.new((self.token or "").encode(), purpose.encode(), hashlib.sha256).hexdigest()

    def knows_host(self, authority: str) -> bool:
        """True for a Host header that names us. A forwarded port may be another one, so only the name counts."""
        name = (urlsplit(f"//{authority}").hostname or "") if _is_authority(authority) else ""
        if self.host in ANY_ADDRESS:
            return bool(name)  # by any name; a foreign page that points one at us has no cookie for it
        return name in LOOPBACK_NAMES or name == self.host.lower()


def _is_authority(text: str) -> bool:
    try:
        urlsplit(f"//{text}").port  # noqa: B018 - raises for what is none
    except ValueError:
        return False
    return not any(c in text for c in "/\\@?# ")


def same_text(given: str, expected: str) -> bool:
    """Compare secrets in constant time."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode())


class Guard:
    """ASGI middleware around the whole application: lets requests in and adds the headers to every answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            answer = self._refusal(scope)
            await (answer or self._app)(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> Response | None:
        """Return the answer to a request that is not let in; None if it is."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._access.knows_host(hosts[0]):
            return PlainTextResponse("The server is not known under this host name.", 421)
        if self._access.token is not None and (answer := self._unknown(scope, headers, self._access.token)):
            return answer
        if scope["method"] not in ("GET", "HEAD") and not self._is_own_page(headers, hosts[0]):
            return PlainTextResponse("forged: the request is not from a page of this application; reload it.", 403)
        return None

    def _unknown(self, scope: Scope, headers: Headers, token: str) -> Response | None:
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in query if name == "token"]
        if given and scope["method"] == "GET" and same_text(given[0], token):
            return self._welcome(query)
        cookies = cookie_parser(headers.get("cookie", ""))
        if not given and same_text(cookies.get(self._access.cookie, ""), self._access.session):
            return None
        return PlainTextResponse("Open the address with the token that `cataloger review` printed.", 401)

    def _welcome(self, query: Iterable[tuple[str, str]]) -> Response:
        """Put the token into a cookie and out of the address.

        The page continues by itself. A redirect would not do: after a click in a mail, strict cookies are not sent.
        """
        rest = urlencode([pair for pair in query if pair[0] != "token"])
        url = html.escape("/" + (f"?{rest}" if rest else ""))
        page = (
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>cataloger review</title>'
            f'<meta http-equiv="refresh" content="0;url={url}"><p><a href="{url}">Continue to the review</a></p>'
        )
        answer = HTMLResponse(page)
        answer.set_cookie(self._access.cookie, self._access.session, httponly=True, samesite="strict")
        return answer

    def _is_own_page(self, headers: Headers, host: str) -> bool:
        origins = headers.getlist("origin")
        # Behind a proxy the scheme may be another one; the name and port are those that the browser knows.
        is_same = len(origins) == 1 and origins[0].partition("://")[2].lower() == host.lower()
        return is_same and same_text(headers.get(CSRF_HEADER, ""), self._access.csrf)


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(HEADERS)
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return send_with_headers
