"""Addresses of images as people write them: what is one, how it is cleaned, and which part of its query counts.

An image is told apart by its address and by what its query asks for: `?v=3`, `?width=400`, `?id=17`. Signatures,
their times and the parameters of trackers change without the image, so they do not count. Parameters whose names are
not known and whose values look like a signature or a time count, and are reported as uncertain.
"""

import re
from urllib.parse import unquote_plus

from cataloger.utils import NOT_A_URL, without_query

WEB_ADDRESS = re.compile(r"https?://", re.IGNORECASE)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SCHEME_MISTYPED = re.compile(r"(https?)(?::[\\/]+|[\\/]{2,})(?=[^\\/])", re.IGNORECASE)
_HOST = r"(?:(?:[\w-]+\.)+(?P<top>[^\W\d_]{2,})|localhost|(?:\d{1,3}\.){3}\d{1,3}|\[[0-9A-Fa-f:.]+\])"
_AT_A_HOST = re.compile(rf"(?P<slashes>//)?{_HOST}(?::(?P<port>\d+))?(?=/.)", re.IGNORECASE)
# A folder may have a dot in its name, too; without "//" or "www." only what ends like a host is taken for one.
_TOP_LEVEL = _names(
    """
    com net org info biz shop store app dev cloud online site eu fashion example test localhost
    """
)

SIGNATURE = _names(
    """
    access_token accesskeyid api_key apikey auth auth_key auth_token authtoken awsaccesskeyid bcdn_token
    exp expire expires expiry googleaccessid hash-algorithm hdnea hdnts hmac jsessionid jwt key-pair-id
    hm keyname oe oh ossaccesskeyid phpsessid policy security-token sessionid sig sign signature signed
    token token_path urlprefix __gda__ __hdnea__ __token__ _nc_ohc _nc_oc
    """
)
SIGNATURE_PREFIXES = ("x-amz-", "x-goog-", "x-oss-", "x-cos-", "x-obs-", "x-ms-", "q-", "edge-cache-")
TRACKERS = _names(
    "fbclid gclid dclid msclkid mc_cid mc_eid srsltid utm_source utm_medium utm_campaign utm_term utm_content"
)
# Of a shared access signature of Azure: they mean that only where there is one.
BESIDE_A_SIGNATURE = _names(
    """
    sv ss srt sp se st spr sr sip si sdd ses skoid sktid skt ske sks skv saoid suoid scid rscc rscd rsce
    rscl rsct e ex is ts t timestamp time nonce expires_at validfrom validto
    """
)
VERSIONS = _names("v ver version versionid rev revision t ts timestamp _")
PART_OF_IMAGE = _names(
    """
    v ver version versionid rev revision w h width height size sz fit crop q quality format fm dpr id
    image img file name path src url alt product sku color colour variant view page x-oss-process
    """
)
_LOOKS_LIKE_SIGNATURE = re.compile(r"(?=.*\d)[\w+/=.~-]{20,}|\d{9,14}", re.ASCII)


def as_address(text: str) -> str | None:
    """Return a text without blanks around it as an address with a scheme; None where it cannot be meant as one.

    https is taken where it names none, http where it names a port that is not 443.
    """
    if mistyped := _SCHEME_MISTYPED.match(text):
        return f"{mistyped[1]}://{text[mistyped.end() :]}"
    host = _AT_A_HOST.match(text)
    if host is None:
        return None
    top = (host["top"] or "").lower()
    is_certain = host["slashes"] or host["port"] or text.lower().startswith("www.")
    if not is_certain and len(top) != 2 and top not in _TOP_LEVEL:
        return None
    scheme = "http" if host["port"] not in (None, "443") else "https"
    return f"{scheme}://{text.removeprefix('//')}"


def clean_address(url: str) -> str:
    """Return an address with a scheme as it is asked for: with slashes where backslashes make it none."""
    if "\\" not in url or without_query(url) != NOT_A_URL:
        return url
    end = next((match.start() for match in re.finditer(r"[?#]", url)), len(url))
    return url[:end].replace("\\", "/") + url[end:]


def query_identity(url: str, *, versions: bool = True) -> tuple[str, bool]:
    """Return what the query of an address says of the image, "" for nothing, and whether that is uncertain.

    versions: with what tells versions of one image apart, such as `?v=3`. The order of the parameters and the way in
    which they are escaped mean nothing.
    """
    query = url.partition("#")[0].partition("?")[2].replace("&amp;", "&")
    pairs = [unquote_plus(pair) for pair in query.split("&") if pair]
    names = {_name(pair) for pair in pairs}
    is_signed = any(_is_signature(name) for name in names)
    kept = [pair for pair in pairs if not _is_passing(_name(pair), is_signed=is_signed)]
    if not versions:
        kept = [pair for pair in kept if _name(pair) not in VERSIONS]
    return "&".join(sorted(kept)), any(map(_is_uncertain, kept))


def _name(pair: str) -> str:
    return pair.partition("=")[0].lower()


def _is_signature(name: str) -> bool:
    return name not in PART_OF_IMAGE and (name in SIGNATURE or name.startswith(SIGNATURE_PREFIXES))


def _is_passing(name: str, *, is_signed: bool) -> bool:
    return _is_signature(name) or name in TRACKERS or (is_signed and name in BESIDE_A_SIGNATURE)


def _is_uncertain(pair: str) -> bool:
    name, _, value = pair.partition("=")
    return name.lower() not in PART_OF_IMAGE and bool(_LOOKS_LIKE_SIGNATURE.fullmatch(value or name))
