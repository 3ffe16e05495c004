"""The part of a URL that may be shown and recorded: its other parts may contain passwords and signatures."""

import re

NOT_A_URL = "(not a URL)"
"""What stands for an address that is none, since parts of it may be secret."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*\Z")
_HOST = re.compile(r"(\[[0-9A-Za-z:.%]+\]|[^\s:@\\\[\]]*)(:[0-9]*)?\Z")


def without_query(url: str) -> str:
    """Return a URL without user info, query and fragment (RFC 3986), or NOT_A_URL; never raises."""
    scheme, separator, rest = re.split(r"[?#]", url, maxsplit=1)[0].partition("://")
    authority, slash, path = rest.partition("/")
    _, at, host = authority.rpartition("@")
    # A password with a bare "/", "?" or "#" ends up as a host that is none; with "@" before that, as a host without
    # a dot and a path with the second "@".
    is_password = bool(at) and "." not in host and "@" in path
    if not separator or not _SCHEME.match(scheme) or not _HOST.match(host) or is_password:
        return NOT_A_URL
    return f"{scheme}://{host}{slash}{path}"
