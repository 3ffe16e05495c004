"""Whether images that were there in the last run are missing because their folder or host is out.

A missing image is an answer about that image and no sign of an outage (see `cataloger.engine.outages`). But when more
than half of the images of one folder that were there in the last run are missing now, at least 100 of them, then a
volume that is not mounted is more likely than so many deleted files; and so for the addresses of one host that had
answered and are asked again. Such a folder or host is out: of what is missing there nothing is recorded and nothing
leaves the views. What can be read is tagged all the same. `RunOptions.accept_missing` says that the files are really
deleted.

A folder counts with the folders below it, but without those that are out themselves.
"""

from collections import defaultdict
from dataclasses import dataclass

from cataloger.engine.outages import Outage, Place, formatted

FEWEST = 100
PLACES = 50_000
"""Places told apart. With more folders than that, the lowest ones are counted as part of the folder above them."""


@dataclass(slots=True)
class _Count:
    known: int = 0
    missing: int = 0

    def add(self, other: "_Count") -> None:
        self.known += other.known
        self.missing += other.missing

    @property
    def is_outage(self) -> bool:
        return self.known >= FEWEST and 2 * self.missing > self.known


class Losses:
    """Counts what was there in the last run and what of it is missing, in bounded memory.

    is_concluded: no more is counted, and it is known which places are out.
    """

    def __init__(self) -> None:
        self.is_concluded = False
        self._known: dict[Place, int] = {}
        self._missing: dict[Place, int] = {}
        self._depth: int | None = None
        self._out: dict[Place, _Count] = {}

    @property
    def fewest_missing(self) -> int:
        """How many must be missing for an outage, at least."""
        return FEWEST // 2 + 1

    def know(self, place: Place | None) -> None:
        """Count an image that was there in the last run, and whose place is looked at in this one."""
        if place is None or (place[0] != "folder" and place not in self._known and len(self._known) > PLACES // 4):
            return
        self._count(self._known, place)
        if len(self._known) > PLACES:
            self._coarsen()

    def miss(self, place: Place | None) -> None:
        """Count one of these as missing."""
        self._count(self._missing, place)

    def conclude(self) -> None:
        """Find the places that are out."""
        self.is_concluded = True
        if sum(self._missing.values()) < self.fewest_missing:
            return
        self._out = _lost_folders({place: self._of(place) for place in self._known if place[0] == "folder"})
        hosts = ((place, self._of(place)) for place in self._known if place[0] != "folder")
        self._out |= {place: count for place, count in hosts if count.is_outage}

    def found(self) -> list[Outage]:
        """Return the places that are out."""
        return [
            Outage(
                formatted((place[0], place[1] or "/")),
                count.missing,
                f"{count.missing:,} of {count.known:,} images that were there in the last run are missing",
            )
            for place, count in self._out.items()
        ]

    def covers(self, place: Place | None) -> bool:
        """True for a place that is out, and for the folders below."""
        if place is None or not self._out:
            return False
        return place in self._out or (place[0] == "folder" and any(each in self._out for each in _above(place)))

    def _of(self, place: Place) -> _Count:
        return _Count(self._known[place], self._missing.get(place, 0))

    def _count(self, counts: dict[Place, int], place: Place | None) -> None:
        if place is None:
            return
        if self._depth is not None and place[0] == "folder":
            place = _cut(place, self._depth)
        counts[place] = counts.get(place, 0) + 1

    def _coarsen(self) -> None:
        """Count the lowest folders as part of those above them, as often as needed."""
        folders = [place for place in self._known if place[0] == "folder"]
        depth = max(map(_depth, folders), default=0)
        while depth > 0 and len({_cut(place, depth) for place in folders}) > PLACES // 2:
            depth -= 1
        self._depth = depth
        self._known = _merged(self._known, depth)
        self._missing = _merged(self._missing, depth)


def _lost_folders(counts: dict[Place, _Count]) -> dict[Place, _Count]:
    """Return the folders that are out, from the lowest up; one that is out does not count for the one above it."""
    lost: dict[Place, _Count] = {}
    below: defaultdict[Place, list[Place]] = defaultdict(list)  # folders that are out
    levels: defaultdict[int, dict[Place, _Count]] = defaultdict(dict)
    for place, count in counts.items():
        levels[_depth(place)][place] = count
    for depth in range(max(levels, default=0), -1, -1):
        for place, count in levels[depth].items():
            if count.known == 0 and len(below[place]) > 1:
                for each in below[place]:  # name it instead of all the folders in it
                    count.add(lost.pop(each))
            above = next(iter(_above(place)), None)
            if above is not None:
                total = levels[_depth(above)].setdefault(above, _Count())
                if count.is_outage:
                    below[above].append(place)
                else:
                    total.add(count)
            if count.is_outage:
                lost[place] = count
    return lost


def _depth(place: Place) -> int:
    return place[1].count("/") + 1 if place[1] else 0


def _above(place: Place) -> list[Place]:
    """Return the folders above one, the nearest first."""
    parts = place[1].split("/") if place[1] else []
    return [("folder", "/".join(parts[:end])) for end in range(len(parts) - 1, -1, -1)]


def _cut(place: Place, depth: int) -> Place:
    return "folder", "/".join(place[1].split("/")[:depth])


def _merged(counts: dict[Place, int], depth: int) -> dict[Place, int]:
    merged: dict[Place, int] = {}
    for place, count in counts.items():
        into = _cut(place, depth) if place[0] == "folder" else place
        merged[into] = merged.get(into, 0) + count
    return merged
