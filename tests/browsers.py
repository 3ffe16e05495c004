"""Pages of one browser whose contexts are kept: a new context takes a second of a processor, a page in one less.

Between two tests a context loses what a page could leave in it: its cookies and what is stored for an origin.
"""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from patience import HANGS


@dataclass
class Kept:
    """A context; blank: a page that keeps the processes of the context alive; pages: those of the present test."""

    context: object
    blank: object
    pages: list = field(default_factory=list)

    def clear(self):
        """Close the pages and forget what they have left."""
        origins = {urlsplit(page.url)[:2] for page in self.pages if page.url.startswith("http")}
        for page in self.pages:
            page.close()
        self.pages.clear()
        self.context.clear_cookies()
        session = self.context.new_cdp_session(self.blank)
        for scheme, host in origins:
            wanted = {"origin": f"{scheme}://{host}", "storageTypes": "all"}
            session.send("Storage.clearDataForOrigin", wanted)
        session.detach()


class Contexts:
    """The contexts of a browser by their options."""

    def __init__(self, browser):
        self.browser = browser
        self.kept = {}

    def page(self, **options):
        """Open a page in a context with these options that no other page of this test is in."""
        known = self.kept.setdefault(repr(sorted(options.items())), [])
        free = next((each for each in known if not each.pages), None)
        if free is None:
            context = self.browser.new_context(**options)
            context.set_default_timeout(1000 * HANGS)
            free = Kept(context, context.new_page())
            known.append(free)
        free.pages.append(free.context.new_page())
        return free.pages[-1]

    def clear(self):
        """End a test."""
        for known in self.kept.values():
            for each in known:
                if each.pages:
                    each.clear()
