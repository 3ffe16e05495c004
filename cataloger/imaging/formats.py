"""What a file is by its first bytes, for clear failure messages; Pillow alone decides what is decoded."""

# Offset, magic number, name. Names of allowed formats are Pillow's.
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (8, b"WEBP", "WEBP"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftypavis", "AVIF"),
    (4, b"ftyphei", "HEIC"),
    (4, b"ftyphev", "HEIC"),
    (4, b"ftypmif1", "HEIF"),
    (4, b"ftypmsf1", "HEIF"),
    (4, b"ftypcrx", "CR3"),
    (4, b"ftyp", "MP4 video"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (0, b"8BPS", "Photoshop (PSD)"),
    (0, b"\0\0\x01\0", "ICO"),
    (0, b"%PDF-", "PDF"),
    (0, b"%!PS", "PostScript"),
    (0, b"gimp xcf", "GIMP (XCF)"),
    (0, b"DDS ", "DDS"),
    (0, b"v/1\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"\x1aE\xdf\xa3", "Matroska or WebM video"),
)
_BMP_HEADER_SIZES = (12, 16, 40, 52, 56, 64, 108, 124)
_NOT_IMAGES: tuple[tuple[bytes, str], ...] = (
    (b"<!doctype html", "a web page (HTML)"),
    (b"<html", "a web page (HTML)"),
    (b"<head", "a web page (HTML)"),
    (b"<?xml", "XML"),
    (b"{", "JSON"),
    (b"version https://git-lfs", "a Git LFS pointer"),
    (b"pk\x03\x04", "a ZIP archive or office document"),
    (b"\x1f\x8b", "gzip data"),
)


def identify(data: bytes) -> str | None:
    """Name the image or video format that `data` begins like; None if it is unknown."""
    for offset, magic, name in _MAGIC:
        if data.startswith(magic, offset):
            return name
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADER_SIZES:
        return "BMP"
    return "SVG" if b"<svg" in data[:1024].lower() else None


def describe(data: bytes) -> str:
    """Return a short description of what `data` looks like."""
    start = data[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for magic, description in _NOT_IMAGES:
        if start.startswith(magic):
            return description
    if not data.strip(b"\0"):
        return "zeros only"
    try:
        text = data[:512].decode("utf-8")
    except UnicodeDecodeError:
        return "unknown binary data"
    return "text" if all(c.isprintable() or c.isspace() for c in text) else "unknown binary data"


def ends_early(data: bytes) -> bool:
    """True if the format's own end mark or length says that bytes are missing; False when in doubt."""
    name = identify(data)
    if name == "JPEG":
        return b"\xff\xd9" not in data[-4096:]
    if name == "PNG":
        return b"IEND" not in data[-4096:]
    if name == "WEBP":
        return len(data) < int.from_bytes(data[4:8], "little") + 8
    if name == "BMP":
        return len(data) < int.from_bytes(data[10:14], "little")
    return name == "GIF" and not data.rstrip(b"\0").endswith(b";")
