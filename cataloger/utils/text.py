"""Text from outside, such as names of files and labels, made safe to display, and names that are spelled alike."""

from collections.abc import Iterable, Sequence


def printable(text: str) -> str:
    """Return text with everything written out that a terminal or a page would act upon, e.g. as \\x1b or \\u202e."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def listed(names: Sequence[str], most: int = 8) -> str:
    """Return the first names, printable, and how many there are beside them: "Hat, Shoe and 3 more"."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return printable(", ".join(names[:most])) + more


def counted(number: int, noun: str) -> str:
    """Return a number and what it counts, e.g. "1 row", "2,000 rows". noun: in the singular, with a plural in s."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def one_line(text: object, longest: int | None = None) -> str:
    """Return text of others as one line that is safe to display. longest: characters, beyond which it is cut."""
    line = printable(" ".join(part.strip() for part in str(text).splitlines() if part.strip()))
    return line if longest is None or len(line) <= longest else line[: longest - 3] + "..."


def nearest_of(name: str, known: Iterable[str]) -> str:
    """Return the known names for a message about another one, and the one that is most like it."""
    from difflib import get_close_matches

    nearest = get_close_matches(name, known := sorted(known), n=1)
    return ", ".join(known) + (f"; the nearest is {nearest[0]!r}" if nearest else "")
