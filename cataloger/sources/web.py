"""Images on the web that are named one by one."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cataloger.errors import UsageError
from cataloger.records import Item
from cataloger.sources.image_references import Location, key_of_address, locate

_HOST = re.compile(r"([a-z]+)://([^/]*)", re.IGNORECASE)


@dataclass(slots=True)
class WebSource:
    """Images of one host. host: scheme, name and port. addresses: with all that is needed to download them.

    The key of an item is its address behind the host; what is secret in it is left out.
    """

    host: str
    addresses: Sequence[str] = field(repr=False)
    prefix: str = ""
    problems: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    uncertain_queries: int = 0

    kind = "web"
    without_image = 0
    sample = None
    within = None
    is_complete = False

    @property
    def root(self) -> str:
        """Identity of the source."""
        return self.host

    @property
    def keys(self) -> frozenset[str]:
        """The keys of all items."""
        return frozenset(item.key for item in self.scan())

    def scan(self) -> Iterator[Item]:
        """Yield the items."""
        self.uncertain_queries = 0
        for address in self.addresses:
            key, place = _place(address)
            self.uncertain_queries += place.is_uncertain
            yield Item(_HOST.sub("", key, count=1).lstrip("/"), place.uri, place.version, url=place.url)

    def can_be_missing(self, _key: str) -> bool:
        """No image leaves: nobody has said what else the host has."""
        return False

    def is_excluded(self, _key: str) -> bool:
        """No address is left out but by not being named."""
        return False

    def count(self) -> int:
        """Count the items; for a progress bar."""
        return len(self.addresses)

    def require_root(self) -> None:
        """Do nothing: there is no folder."""

    def nothing_found(self) -> str:
        """Return why a scan found nothing."""
        return f"no image of {self.host} was named"


def host_of(address: str) -> str:
    """Return scheme, name and port of an address. Raises UsageError, without the address, which may be secret."""
    _, place = _place(address)
    found = _HOST.match(place.uri)
    if found is None or not found[2]:
        raise UsageError("an address among the paths names no host; it must look like https://shop.example/a.jpg")
    return found[0].lower()


def _place(address: str) -> tuple[str, Location]:
    place = locate(address, None)
    key = key_of_address(place) if isinstance(place, Location) else place
    if not isinstance(place, Location) or not isinstance(key, str):
        raise UsageError(
            "an address among the paths is not a valid one; it must look like https://shop.example/a.jpg"
        )
    return key, place
