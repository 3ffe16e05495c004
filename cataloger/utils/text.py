"""Text from outside, such as names of files and labels, made safe to display."""


def printable(text: str) -> str:
    """Return text with everything written out that a terminal or a page would act upon, e.g. as \\x1b or \\u202e."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def counted(number: int, noun: str) -> str:
    """Return a number and what it counts, e.g. "1 row", "2,000 rows". noun: in the singular, with a plural in s."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def one_line(text: object, longest: int | None = None) -> str:
    """Return text of others as one line that is safe to display. longest: characters, beyond which it is cut."""
    line = printable(" ".join(part.strip() for part in str(text).splitlines() if part.strip()))
    return line if longest is None or len(line) <= longest else line[: longest - 3] + "..."
