"""One picture, many inputs: what several of them share is fetched, decoded and classified once.

Inputs share a place (a file, an address or an object, of the same version), or only bytes (links, copies). The first
one is asked for; the others wait for what comes of it, and later ones are answered from what was kept. Each has a
result of its own: the scores are shared, and each answer follows the labels of the department of its product.
A lasting failure is one of every input that shares it. One that may pass is shared only by those that waited for it:
who comes later asks again.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import numpy as np

from cataloger.engine.executors.base import Executor, OnImage, RecordedPictures
from cataloger.inference import STORED, Ranked, Ranking
from cataloger.model import Calibration
from cataloger.records import Failure, Fetched, Item, PictureScores, Prediction, Result

KEPT = 8_192
"""Pictures whose scores are kept by each of the two classes here: some 6 MB."""
RANKED = 256
"""Pictures whose labels stay ranked."""
MOST_WAITING = 4_096
"""Inputs that wait for others, or have an answer that was not taken yet."""
MOST_ALIKE = 256
"""Inputs that wait for another one with the same bytes; more than these are decoded as well."""

Known = PictureScores | Failure
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class SharedAnswers:
    """Makes the answer of an item of what is known of its picture. labels: of the model, in the order of scores."""

    labels: Sequence[str]
    calibration_of: Callable[[Item], Calibration]
    top_k: int
    _ranked: "Recent[str, tuple[Calibration, Ranked]]" = field(default_factory=lambda: Recent(RANKED), repr=False)

    def of(self, item: Item, known: Known) -> Result:
        """Return the result of an item."""
        if isinstance(known, Failure):
            return replace(known, item=item, is_shared=True)
        answer = self._answer(self.calibration_of(item), known)
        return Prediction(
            item=item,
            content_hash=known.content_hash,
            width=known.width,
            height=known.height,
            labels=answer.labels,
            confidences=answer.confidences,
            logits=answer.logits,
            log_sum_exp=known.log_sum_exp,
            scores=known.scores,
            familiarity=known.familiarity,
            decision=answer.decision,
            decoder=known.decoder,
        )

    def _answer(self, calibration: Calibration, picture: PictureScores) -> Ranked:
        """Rank the labels; a picture that many items of one department share has them ranked once."""
        last = self._ranked.get(picture.content_hash)
        if last is not None and last[0] is calibration:
            return last[1]
        logits = np.frombuffer(picture.scores, STORED)
        answer = Ranking(self.labels, calibration, self.top_k).of(logits, picture.familiarity)
        self._ranked.keep(picture.content_hash, (calibration, answer))
        return answer


class Recent(Generic[K, V]):
    """The entries that were used last, as many as are kept. has_forgotten: there were more."""

    def __init__(self, most: int) -> None:
        self.has_forgotten = False
        self._most = most
        self._entries: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """Return the entry of a key; None if there is none."""
        found = self._entries.get(key)
        if found is not None:
            self._entries.move_to_end(key)
        return found

    def keep(self, key: K, value: V) -> None:
        """Keep an entry; the one that was not used for the longest time may go."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._most:
            self._entries.popitem(last=False)
            self.has_forgotten = True


class SharedBytes:
    """Has inputs with the same bytes decoded and classified once. It stands on both sides of that.

    recorded: asked for pictures that were not met yet, and for those that were forgotten; None where nothing that is
    recorded may be used.
    """

    def __init__(self, answers: SharedAnswers, recorded: RecordedPictures | None = None, *, kept: int = KEPT) -> None:
        self._answers = answers
        self._recorded = recorded
        self._recent: Recent[str, Known] = Recent(kept)
        self._first: dict[str, str] = {}  # key of an input on its way -> hash of its bytes
        self._waiting: dict[str, list[Item]] = {}  # hash -> the others

    def begin(self) -> None:
        """Forget what was on its way: it has ended without a result."""
        self._first.clear()
        self._waiting.clear()

    def learn(self, known: Mapping[str, PictureScores]) -> None:
        """Take what is recorded of pictures, by hash."""
        for hashed, picture in known.items():
            self._recent.keep(hashed, picture)

    def new(self, fetched: Iterable[Sequence[Fetched | Failure]]) -> Iterator[Fetched | Result]:
        """Yield of inputs those that have to be decoded, and the results of the others."""
        for together in fetched:
            self._ask({each.content_hash for each in together if isinstance(each, Fetched)})
            for each in together:
                if isinstance(each, Failure):
                    yield each
                elif (known := self._recent.get(each.content_hash)) is not None:
                    yield self._answers.of(each.item, known)
                elif not self._waits(each):
                    yield each

    def settle(self, results: Iterable[Result]) -> list[Result]:
        """Return results, with those of the inputs that waited for them."""
        settled: list[Result] = []
        for result in results:
            settled.append(result)
            if (hashed := self._first.pop(result.item.key, None)) is None:
                continue
            known = _known(result)
            if _is_lasting(known):
                self._recent.keep(hashed, known)
            settled += [self._answers.of(item, known) for item in self._waiting.pop(hashed, ())]
        return settled

    def _waits(self, fetched: Fetched) -> bool:
        """Let an input wait if another one with its bytes is on its way, and few enough do."""
        alike = self._waiting.get(fetched.content_hash)
        if alike is not None and len(alike) < MOST_ALIKE:
            alike.append(fetched.item)
            return True
        self._waiting.setdefault(fetched.content_hash, [])
        self._first[fetched.item.key] = fetched.content_hash
        return False

    def _ask(self, hashes: set[str]) -> None:
        """Have what is recorded of pictures that are not on their way kept here."""
        if self._recorded is None or not (self._recorded.has_any or self._recent.has_forgotten):
            return
        unknown = [each for each in hashes if each not in self._waiting and self._recent.get(each) is None]
        if unknown:
            self.learn(self._recorded.find(sorted(unknown)))


class SharedPlaces:
    """An executor that asks another one for each place once; only the results tell that from that one."""

    def __init__(self, executor: Executor, answers: SharedAnswers, *, kept: int = KEPT) -> None:
        self._executor = executor
        self._answers = answers
        self._recent: Recent[bytes, tuple[str, Known]] = Recent(kept)  # place -> version and answer
        self._first: dict[str, bytes] = {}  # key of an input on its way -> its place
        self._waiting: dict[bytes, list[Item]] = {}
        self._ready: list[Result] = []
        self._unanswered = 0
        self._is_paused = False

    @property
    def device(self) -> str:
        """Where the model runs, e.g. "cpu"."""
        return self._executor.device

    def run(self, items: Iterable[Item | Failure], on_image: OnImage) -> Iterator[list[Result]]:
        """Yield a result for each input. `on_image` receives those that were asked for."""
        source = iter(items)
        while True:
            self._is_paused = False
            self._first.clear()
            self._waiting.clear()
            self._unanswered = 0
            for results in self._executor.run(self._firsts(source), on_image):
                yield self._settled(results)
            if self._ready:
                yield self._settled([])
            if not self._is_paused:
                return

    def _firsts(self, source: Iterator[Item | Failure]) -> Iterator[Item | Failure]:
        """Yield of inputs those that have to be asked for. It ends early when many others wait."""
        while not (is_full := self._unanswered >= MOST_WAITING) and (subject := next(source, None)) is not None:
            place = _place(subject) if isinstance(subject, Item) else None
            if place is None or isinstance(subject, Failure):
                yield subject
            elif (waiting := self._waiting.get(place)) is not None:
                waiting.append(subject)
                self._unanswered += 1
            elif (known := self._recent.get(place)) is not None:
                self._ready.append(self._answer(subject, *known))
                self._unanswered += 1
            else:
                self._waiting[place] = []
                self._first[subject.key] = place
                yield subject
        self._is_paused = is_full

    def _settled(self, results: Sequence[Result]) -> list[Result]:
        """Return results, with those of the inputs that waited for them, and those that are ready."""
        settled, self._ready = self._ready, []
        self._unanswered -= len(settled)
        for result in results:
            settled.append(result)
            if (place := self._first.pop(result.item.key, None)) is None:
                continue
            version, known = result.item.version, _known(result)
            if _is_lasting(known) and version:
                self._recent.keep(place, (version, known))
            waiting = self._waiting.pop(place)
            self._unanswered -= len(waiting)
            settled += [self._answer(item, version, known) for item in waiting]
        return settled

    def _answer(self, item: Item, version: str, known: Known) -> Result:
        """Return the result of an item. version: of the one that was asked for, with what its server said of it."""
        return self._answers.of(item if item.version == version else replace(item, version=version), known)


def _known(result: Result) -> Known:
    """Return what a result tells of every input that shares its picture; the input itself is forgotten."""
    if isinstance(result, Prediction):
        return result.picture()
    return replace(result, item=NO_ITEM)


NO_ITEM = Item("", "", "")


def _is_lasting(known: Known) -> bool:
    """True for an answer that the same bytes would have again."""
    return isinstance(known, PictureScores) or (known.content_hash is not None and not known.is_transient)


def _place(item: Item) -> bytes | None:
    """Return a digest of where the bytes of an item are, and of their version; None for bytes in a row of its own."""
    if item.blob is not None:
        return None
    if item.stored is not None:
        where = "o", item.stored.store, item.stored.key
    elif item.url is not None:
        where = "u", item.url, ""
    else:
        where = "f", "", repr(item.path)
    text = repr((*where, item.version)).encode("utf-8", "backslashreplace")
    return hashlib.blake2b(text, digest_size=16).digest()
