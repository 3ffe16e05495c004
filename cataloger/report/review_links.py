"""Addresses of the review page: from a report to the images that it shows or counts."""

from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from cataloger.errors import UsageError
from cataloger.report.gather import CatalogReport


@dataclass(frozen=True, slots=True)
class ReviewLinks:
    """Where the review page is. base: its address; "" for no links. run: only current results of this run.

    source: the only one that is reported, so that the links name it. Raises UsageError for what is no web address.
    """

    base: str
    run: int | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        if self.base and not _is_web_address(self.base):
            raise UsageError(f"--review-url {self.base}: give the address of the review page, http:// or https://")

    @classmethod
    def of(cls, report: CatalogReport, base: str) -> "ReviewLinks":
        """Return the links for a report."""
        source = report.sources[0].name if len(report.sources) == 1 else None
        return cls(base, None if report.holds_now else report.run.id, source)

    def filtered(self, **filters: str) -> str | None:
        """Return the address of a queue of images, as a report counts them. filters: of the review page, by name."""
        own = {"by": "image", "run": "" if self.run is None else str(self.run), "source": self.source or ""}
        return self._address({**own, **filters})

    def image(self, source: str, item_id: int | None, product_key: str | None = None) -> str | None:
        """Return where an image is reviewed, with those of its product; None if it is no longer in the ledger."""
        if item_id is None:
            return None
        which = {"product": product_key} if product_key else {"image": str(item_id), "by": "image"}
        return self._address({**which, "source": source, "reviewed": "any"})

    def _address(self, filters: dict[str, str]) -> str | None:
        if not self.base:
            return None
        query = urlencode({name: value for name, value in filters.items() if value}, errors="replace")
        return f"{self.base.rstrip('/')}/?{query}" if query else f"{self.base.rstrip('/')}/"


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query and not parts.fragment
    except ValueError:
        return False
