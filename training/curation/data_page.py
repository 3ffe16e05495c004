"""The data report as a page: images of each category and split, what is wrong with them, and how they look."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cataloger.training.curation.data_report import FEW, KINDS, PROBLEMS_FILE, DataReport
from cataloger.training.data import DataProblem, Example, LabelledImages, draw_thumbnails
from cataloger.utils import replacing
from cataloger.web import template_environment

TEMPLATE = "data.html.j2"
PAGE = "data.html"
LISTED = 100
"""Problems of a kind that the page lists."""
MOST_EXAMPLES = 900
"""Of all categories together, so that the page stays below 10 MB."""
PICTURED, ALIKE = 12, 4
"""Problems of a kind that the page shows with pictures, and images of each."""


@dataclass(frozen=True, slots=True)
class _Picture:
    """An image on the page. thumbnail: data URI; None where it cannot be read. about: its labels and its split."""

    file: str
    thumbnail: str | None
    about: str


@dataclass(frozen=True, slots=True)
class _Category:
    """A row of the table. counts: images of each split."""

    label: str
    counts: dict[str, int]
    pictures: list[_Picture]

    @property
    def images(self) -> int:
        """Images of all splits."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class _Problem:
    """A problem with the pictures of its images, where it is one of pictures."""

    problem: DataProblem
    pictures: list[_Picture]


@dataclass(frozen=True, slots=True)
class _Kind:
    """Problems of a kind. shown: the first of them."""

    name: str
    text: str
    total: int
    shown: list[_Problem]


def write_page(dataset: LabelledImages, report: DataReport, title: str, folder: Path, *, examples: int) -> Path:
    """Write the page of a data report into a folder. examples: images of each category on it. Raises OutputError."""
    path = folder / PAGE
    page = render_page(dataset, report, title, examples=examples)
    with replacing(path) as temporary:
        # The name of a file may contain bytes that are not UTF-8.
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace", newline="\n")
    return path


def render_page(dataset: LabelledImages, report: DataReport, title: str, *, examples: int) -> str:
    """Return the page as HTML that loads nothing. title: what the data are called."""
    names = _chosen(dataset, min(examples, MOST_EXAMPLES // len(report.labels)))
    kinds = report.by_kind()
    pictures = _draw(dataset, [*_of_problems(kinds), *(file for files in names.values() for file in files)])
    template = template_environment(__file__, {"share": _share}).get_template(TEMPLATE)
    return template.render(
        title=title,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        report=report,
        categories=[
            _Category(label, counts, [pictures[file] for file in names[label]])
            for label, counts in report.labels.items()
        ],
        kinds=[_kind(name, problems, pictures) for name, problems in kinds.items()],
        few=FEW,
        problems_file=PROBLEMS_FILE,
    )


def _chosen(dataset: LabelledImages, count: int) -> dict[str, list[str]]:
    """Return images of each label that are spread evenly over all that it has."""
    files: dict[str, list[str]] = {label: [] for label in dataset.labels}
    for example in dataset.examples:
        for label in example.labels:
            files[label].append(example.file)
    return {
        label: [mine[len(mine) * n // count] for n in range(min(count, len(mine)))] for label, mine in files.items()
    }


def _of_problems(kinds: dict[str, list[DataProblem]]) -> Iterator[str]:
    for problems in kinds.values():
        for problem in problems[:PICTURED]:
            yield from problem.files[:ALIKE]


def _draw(dataset: LabelledImages, files: Sequence[str]) -> dict[str, _Picture]:
    """Return how images are shown, by their file; each is read once."""
    known = {example.file: example for example in dataset.examples}
    chosen = [known[file] for file in dict.fromkeys(files)]
    drawn = zip(chosen, draw_thumbnails(chosen) if chosen else (), strict=True)
    return {each.file: _Picture(each.file, thumbnail, _about(each)) for each, thumbnail in drawn}


def _about(example: Example) -> str:
    return f"{' or '.join(example.labels) or 'no product'}, {example.split}"


def _kind(name: str, problems: Sequence[DataProblem], pictures: dict[str, _Picture]) -> _Kind:
    shown = [
        _Problem(problem, [pictures[file] for file in problem.files[:ALIKE]] if number < PICTURED else [])
        for number, problem in enumerate(problems[:LISTED])
    ]
    return _Kind(name, KINDS[name], len(problems), shown)


def _share(part: int, whole: int) -> str:
    """Return a count as a share in percent; one that is neither none nor all never reads 0% or 100%."""
    number = round(100 * part / whole)
    if part and not number:
        return "under 1%"
    return "over 99%" if number == 100 and part < whole else f"{number}%"
