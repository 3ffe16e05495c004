"""Serves the review application until it is interrupted."""

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp

from cataloger.db import Database
from cataloger.errors import CatalogerError, UsageError
from cataloger.report import Pictures
from cataloger.review.adapting import Adapting
from cataloger.review.app import Review, make_app
from cataloger.review.connections import BACKLOG, BoundedProtocol, no_repetitions
from cataloger.review.corrections import Labels
from cataloger.review.image_cache import Images
from cataloger.review.security import ANY_ADDRESS, Access
from cataloger.review_queue import ADAPTING, Filters, Queue, ShopColumns, sources
from cataloger.reviewers import ReviewSample

PATIENCE = 5.0
"""Seconds that a request waits for an unavailable database before it fails; the page tries again by itself."""
LONGEST_GOODBYE = 5


@dataclass(frozen=True, slots=True)
class ReviewOptions:
    """How to serve. author: of corrections while the reviewer has entered no name. port: 0 for any.

    model: for activation maps. source: shown first. allow_private: also images from private addresses. for_adapting:
    first so many images whose labels teach most about the source. show: columns of the product table to show. link:
    address of a product in the shop, with `{key}` in it. double: share of the products that two people review.
    """

    access: Access
    author: str
    port: int = 8765
    source: str | None = None
    model: str | None = None
    allow_private: bool = False
    for_adapting: int | None = None
    show: tuple[str, ...] = ()
    link: str = ""
    double: float = 0.0


def serve(database: Database, options: ReviewOptions, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM. ready: receives the address, with the token, once it can be opened.

    Raises UsageError for an unknown source, CatalogerError if the port is not available.
    """
    patient = Database(database.engine, patience=PATIENCE)
    filters, adapting = Filters(source=_known_source(database, options.source)), None
    if options.for_adapting is not None:
        adapting = Adapting.choose(patient, options.source, options.for_adapting)
        filters = Filters(source=adapting.source, order=ADAPTING)
    with (
        closing(_listen(options.access.host, options.port)) as listener,
        Pictures(patient, allow_private=options.allow_private) as pictures,
        Images(patient, pictures, options.model) as images,
    ):
        queue = Queue(patient, () if adapting is None else adapting.items, ReviewSample(options.double))
        shop = ShopColumns(pictures, options.show, options.link)
        shop.require(sources(patient))
        app = make_app(
            Review(patient, queue, images, options.access, Labels(patient), options.author, shop, adapting)
        )
        configuration = _configuration(app)  # which sets the logging up
        with _quiet_signals(), no_repetitions():
            ready(_address(listener, options.access, filters.query()))
            uvicorn.Server(configuration).run(sockets=[listener])


def _configuration(app: ASGIApp) -> uvicorn.Config:
    # An access log would hold tokens and names of products.
    return uvicorn.Config(
        app,
        loop="asyncio",  # whose way of accepting connections the bounds rely on
        http=BoundedProtocol,
        ws="none",
        backlog=BACKLOG,
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=LONGEST_GOODBYE,
    )


def _known_source(database: Database, name: str | None) -> str:
    known = sources(database)
    if name is not None and name not in known.values():
        shown = ", ".join(known.values()) or "none"
        raise UsageError(f"--source {name}: not tagged yet; known are {shown}")
    return name or ""


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.create_server((str(address[0]), port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CatalogerError(
            f"{host} port {port} is not available: {reason}; --port 0 takes any free port"
        ) from error
    # Connections have it from here. Otherwise the second part of each answer waits for the browser, 40 ms and more.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _address(listener: socket.socket, access: Access, query: str) -> str:
    host = socket.gethostname() if access.host in ANY_ADDRESS else access.host
    shown = f"[{host}]" if ":" in host else host
    pairs = "&".join(filter(None, (query, f"token={access.token}" if access.token else "")))
    return f"http://{shown}:{listener.getsockname()[1]}/" + (f"?{pairs}" if pairs else "")


@contextmanager
def _quiet_signals() -> Iterator[None]:
    """Let a signal end the server, and nothing but it: uvicorn raises it again once it has ended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
