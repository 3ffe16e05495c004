"""Text from outside, such as names of files and labels, made safe to display."""


def printable(text: str) -> str:
    """Return text with everything written out that a terminal or a page would act upon, e.g. as \\x1b or \\u202e."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
