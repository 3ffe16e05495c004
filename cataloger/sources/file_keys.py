"""Names of files as text that can be stored: every byte name has exactly one key, and no two share one."""

import re

_LOOKS_ESCAPED = re.compile(r"%(?=[0-9A-Fa-f]{2})")
_ESCAPED = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNDECODABLE = re.compile("[\udc80-\udcff]")


def key_of(name: bytes) -> str:
    """Return a name as text. Bytes that are not UTF-8 become %XX; a "%" that could be taken for that becomes %25."""
    text = name.decode("utf-8", "surrogateescape")
    text = _LOOKS_ESCAPED.sub("%25", text)
    return _UNDECODABLE.sub(lambda match: f"%{ord(match.group()) - 0xDC00:02X}", text)


def name_of(key: str) -> bytes:
    """Return the name that `key_of` made a key of."""
    return _ESCAPED.sub(lambda match: bytes.fromhex(match[1].decode()), key.encode("utf-8", "surrogateescape"))
