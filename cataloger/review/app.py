"""The routes of the review application. Every request has passed `cataloger.review.security`."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import quote, unquote

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from cataloger.contracts import DECISIONS
from cataloger.db import Database, sanitize_text
from cataloger.errors import CatalogerError, DatabaseError, ImageError, UsageError
from cataloger.review import corrections, people
from cataloger.review.adapting import Adapting
from cataloger.review.image_cache import SIZES, Images, static_files
from cataloger.review.security import Access, Guard, is_loopback
from cataloger.review.turns import BusyError, Turns
from cataloger.review_queue import (
    ADAPTING,
    LARGEST_ID,
    ORDERS,
    REVIEWED,
    WHOSE,
    Filters,
    Queue,
    ShopColumns,
    read_categories,
    sources,
)
from cataloger.utils import printable
from cataloger.web import template_environment

LARGEST_BODY = 2**20
NAME_COOKIE = "cataloger_reviewer"
LONGEST_NAME = 100
YEAR = 365 * 24 * 3600
KEPT = "private, max-age=600"
WRITERS = 4
"""Posts that are recorded at once: while a lock holds them up, most connections to the database stay for the rest."""
CLAIMERS = 2
"""Claims that are written at once, beside those: a page goes on without an answer to one."""
DRAWERS = 16
PATIENCE = 20.0
"""Seconds that a post waits for its turn, or a picture."""


@dataclass(frozen=True, slots=True)
class Review:
    """What the routes work with. author: of corrections while the reviewer has entered no name.

    shop: what is shown of products beside their images. adapting: what the labels for an adaptation are worth; None
    where they are not asked for.
    """

    database: Database
    queue: Queue
    images: Images
    access: Access
    labels: corrections.Labels
    author: str
    shop: ShopColumns
    adapting: Adapting | None = None


class _TooLargeError(CatalogerError):
    """A request is larger than any that the page sends."""


def make_app(review: Review) -> ASGIApp:
    """Make the application."""
    routes = [
        Route("/", _page),
        Route("/static/{name}", _static),
        Route("/image/{item:int}/{size:int}.jpg", _image),
        Route("/map/{item:int}/{rank:int}.png", _map),
        Route("/api/session", _session),
        Route("/api/queue", _queue),
        Route("/api/progress", _progress),
        Route("/api/adapting", _adapting),
        Route("/api/facets", _facets),
        Route("/api/people", _people),
        Route("/api/categories/{source:int}", _categories),
        Route("/api/examples/{source:int}", _examples),
        Route("/api/words", _corrections, methods=["POST"]),
        Route("/api/name", _name, methods=["POST"]),
        Route("/api/claims", _claims, methods=["POST"]),
        Route("/api/assignments", _assignments, methods=["POST"]),
    ]
    handlers: dict[Any, Any] = {CatalogerError: _failed, ClientDisconnect: _left}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.state.review = review
    app.state.writing, app.state.drawing = Turns(WRITERS, PATIENCE), Turns(DRAWERS, PATIENCE)
    app.state.claiming = Turns(CLAIMERS, PATIENCE)
    app.state.static = static_files()
    app.state.templates = template_environment(__file__)
    return Guard(app, review.access)


def _of(request: Request) -> Review:
    review: Review = request.app.state.review
    return review


def _author(request: Request) -> str:
    return _clean_name(unquote(request.cookies.get(NAME_COOKIE, ""))) or _of(request).author


def _clean_name(text: str) -> str:
    return sanitize_text(" ".join(printable(text).split()))[:LONGEST_NAME]


def _json(values: Any, status: int = 200) -> Response:
    # ASCII: a key may contain half a surrogate pair, which UTF-8 cannot encode.
    return Response(json.dumps(values), status, media_type="application/json")


def _failed(request: Request, error: CatalogerError) -> Response:
    """Return what failed as plain text; the page shows it."""
    del request
    statuses = {_TooLargeError: 413, UsageError: 400, DatabaseError: 503, BusyError: 503, ImageError: 404}
    status = next((status for kind, status in statuses.items() if isinstance(error, kind)), 500)
    return PlainTextResponse(printable(str(error)), status)


def _left(request: Request, error: ClientDisconnect) -> Response:
    """Answer a request whose sender has left in its middle: nobody reads it."""
    del request, error
    return PlainTextResponse("", 400)


def _page(request: Request) -> Response:
    """Return the page; its list is loaded afterwards. A wrong filter is named on it, and the page stays usable."""
    review, problem, status, filters = _of(request), "", 200, Filters()
    assigned: dict[bool, list[Filters]] = {}
    try:
        filters = Filters.parse(request.query_params.multi_items())
        known = sources(review.database)
        filters = replace(filters, by=filters.by or _unit(review, filters))
        assigned = people.assigned_parts(review.database, _author(request))
    except CatalogerError as error:
        problem, status = printable(str(error)), _failed(request, error).status_code
        known = {}
    values = {
        "filters": filters,
        "query": filters.query(),
        "sources": known,
        "orders": ORDERS | ({ADAPTING: "for adapting"} if review.adapting else {}),
        "is_for_adapting": review.adapting is not None,
        "decisions": DECISIONS,
        "states": REVIEWED,
        "whose": WHOSE,
        "mine": [(part.query(), part.text()) for part in assigned.get(True, [])],
        "is_assigned": bool(assigned),
        "author": _author(request),
        "asks_name": not is_loopback(review.access.host) and NAME_COOKIE not in request.cookies,
        "problem": problem,
        "csrf": review.access.csrf,
    }
    text = request.app.state.templates.get_template("review.html.j2").render(values)
    return Response(text.encode("utf-8", "replace"), status, media_type="text/html; charset=utf-8")


def _unit(review: Review, filters: Filters) -> str:
    """Return what an entry of the queue is: a product where there are any. What is chosen for adapting are images."""
    is_by_product = filters.order != ADAPTING and review.queue.has_products(filters)
    return "product" if is_by_product else "image"


def _static(request: Request) -> Response:
    found = request.app.state.static.get(request.path_params["name"])
    if found is None:
        return PlainTextResponse("There is no such file.", 404)
    return Response(found[0], media_type=found[1], headers={"Cache-Control": "no-cache"})


async def _image(request: Request) -> Response:
    size = request.path_params["size"]
    if size not in SIZES:
        return PlainTextResponse(f"Images come with {', '.join(map(str, SIZES))} pixels.", 404)
    draw = _of(request).images.thumbnail
    data = await request.app.state.drawing.run(draw, request.path_params["item"], size)
    return Response(data, media_type="image/jpeg", headers={"Cache-Control": KEPT})


async def _map(request: Request) -> Response:
    rank = request.path_params["rank"]
    if not 1 <= rank <= 5:
        return PlainTextResponse("There are maps for the categories 1 to 5.", 404)
    draw = _of(request).images.activation_map
    data = await request.app.state.drawing.run(draw, request.path_params["item"], rank)
    return Response(data, media_type="image/png", headers={"Cache-Control": KEPT})


def _session(request: Request) -> Response:
    """Return what a page needs to continue after a restart of this process. No other site can read it."""
    return _json({"csrf": _of(request).access.csrf, "author": _author(request)})


def _queue(request: Request) -> Response:
    pairs = request.query_params.multi_items()
    filters = Filters.parse([pair for pair in pairs if pair[0] != "after"])
    rows, following = _of(request).queue.page(filters, request.query_params.get("after"), _author(request))
    if filters.by == "product":
        _of(request).shop.add(rows)
    return _json({"rows": rows, "after": following})


def _progress(request: Request) -> Response:
    filters = Filters.parse(request.query_params.multi_items())
    return _json(asdict(_of(request).queue.progress(filters, _author(request))))


def _adapting(request: Request) -> Response:
    """Return what the labels so far are worth; what is new in it is measured meanwhile."""
    adapting = _of(request).adapting
    return _json(None if adapting is None else adapting.state())


def _facets(request: Request) -> Response:
    """Return the values of each filter with their counts; sources by name."""
    review = _of(request)
    found = review.queue.facets(Filters.parse(request.query_params.multi_items()), _author(request))
    names = sources(review.database)
    found["source"] = [(names.get(int(number or 0), ""), count) for number, count in found["source"]]
    return _json(found)


def _categories(request: Request) -> Response:
    source = min(request.path_params["source"], LARGEST_ID)
    return _json(read_categories(_of(request).database, source))


def _examples(request: Request) -> Response:
    """Return images of a source that show a category; the pictures themselves are asked for afterwards."""
    source, label = request.path_params["source"], request.query_params.get("label", "")
    rows = _of(request).queue.examples(source, label)
    return _json([{name: row[name] for name in ("item", "result", "key_text", "product")} for row in rows])


async def _corrections(request: Request) -> Response:
    review, author = _of(request), _author(request)
    parsed = corrections.parse(await _body(request))
    save = request.app.state.writing.run
    return _json(
        {"outcomes": await save(corrections.save, review.queue.second_answers, review.labels, parsed, author)}
    )


async def _claims(request: Request) -> Response:
    """Give a page what it wants to review next and nobody else has. Asked again and again: what it has not, ends."""
    review = _of(request)
    wish, images = people.parse_wish(await _body(request), _author(request))
    give = request.app.state.claiming.run
    return _json(await give(people.declare, review.database, review.queue, wish, images))


def _people(request: Request) -> Response:
    """Return who is reviewing what, and what each has done on the last days."""
    review = _of(request)
    return _json(people.everybody(review.database, review.queue, request.query_params.get("zone", "")))


async def _assignments(request: Request) -> Response:
    """Assign a part of the queue to a person, or end an assignment."""
    sent, save = await _body(request), request.app.state.writing.run
    await save(people.change_assignments, _of(request).database, sent, _author(request))
    return _json({})


async def _name(request: Request) -> Response:
    sent = await _body(request)
    name = _clean_name(str(sent.get("name", "") if isinstance(sent, dict) else ""))
    if not name:
        raise UsageError("name: it is empty")
    answer = _json({"author": name})
    answer.set_cookie(NAME_COOKIE, quote(name), max_age=YEAR, httponly=True, samesite="strict")
    return answer


async def _body(request: Request) -> Any:
    """Read JSON, up to a size. Raises UsageError for anything else."""
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > LARGEST_BODY:
            raise _TooLargeError(f"the request has more than {LARGEST_BODY:,} bytes")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UsageError("the request is not JSON") from error
