"""Flags that say what is read: database of the products, table or query, images and their downloads; or a preset.

A preset fills the other flags in, as `PresetCommand` does.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from cataloger.errors import UsageError
from cataloger.options import PresetUse
from cataloger.presets import fill, preset_names, read_preset

if TYPE_CHECKING:
    from cataloger.presets import FilledPreset, Preset

UserAgentOption = Annotated[
    str | None,
    typer.Option(
        "--user-agent",
        envvar="CATALOGER_USER_AGENT",
        metavar="TEXT",
        help="What downloads tell the host of who asks. Default: the name and version of cataloger.",
    ),
]
HeaderOption = Annotated[
    list[str] | None,
    typer.Option(
        "--header",
        envvar="CATALOGER_HEADER",
        metavar="NAME[@HOST]=VALUE",
        help="Header of downloads, for all hosts of the catalog or for one; env:NAME and file:PATH stand for a value "
        "that is kept there. May be repeated.",
    ),
]
ProxyOption = Annotated[
    str | None,
    typer.Option(
        "--proxy",
        envvar="CATALOGER_PROXY",
        metavar="URL|env",
        help="Proxy for what goes to the web; env: as HTTPS_PROXY, HTTP_PROXY and NO_PROXY say. Default: none.",
    ),
]
CaFileOption = Annotated[
    Path | None,
    typer.Option(
        "--ca-file",
        envvar="CATALOGER_CA_FILE",
        metavar="PEM",
        help="Certificates of authorities that are trusted besides the usual ones.",
    ),
]
RatePerHostOption = Annotated[
    float | None,
    typer.Option(
        "--rate-per-host",
        envvar="CATALOGER_RATE_PER_HOST",
        metavar="NUMBER",
        help="At most so many requests a second to one host. Default: no limit.",
    ),
]
AllowPrivateOption = Annotated[
    bool,
    typer.Option(
        "--allow-private",
        envvar="CATALOGER_ALLOW_PRIVATE",
        help="Also download from private and local addresses, such as the shop's own.",
    ),
]
PerHostOption = Annotated[
    int,
    typer.Option("--per-host", envvar="CATALOGER_PER_HOST", min=1, help="Downloads from one host at a time."),
]
DownloadTimeoutOption = Annotated[
    float,
    typer.Option(
        "--download-timeout", envvar="CATALOGER_DOWNLOAD_TIMEOUT", help="Longest time of a download, in seconds."
    ),
]
RevalidateOption = Annotated[
    bool,
    typer.Option(
        "--revalidate",
        envvar="CATALOGER_REVALIDATE",
        help="Ask for every unchanged URL whether it still shows the same image (one HEAD request each).",
    ),
]
ShopOption = Annotated[
    str,
    typer.Option(
        "--db",
        envvar="CATALOGER_DB",
        metavar="URL",
        help="Database of the products, e.g. postgresql://user@host/name.",
    ),
]
TableOption = Annotated[
    str | None,
    typer.Option(
        "--table",
        envvar="CATALOGER_TABLE",
        metavar="NAME",
        help='Table or view of the products: products, shop.products, or shop."My.Table".',
    ),
]
IdOption = Annotated[
    list[str] | None,
    typer.Option(
        "--id",
        envvar="CATALOGER_ID",
        metavar="COLUMN",
        help="Column that identifies a product; may be repeated. Default with --image-query: product_id.",
    ),
]
ImageOption = Annotated[
    str | None,
    typer.Option(
        "--image",
        envvar="CATALOGER_IMAGE",
        metavar="COLUMN",
        help="Column with the path, the URL or the bytes. Default with --image-query: image.",
    ),
]
ImageQueryOption = Annotated[
    str | None,
    typer.Option(
        "--image-query",
        envvar="CATALOGER_IMAGE_QUERY",
        metavar="SQL",
        help="In place of --table: one SELECT of product_id, image_id, image and, if wanted, version, department.",
    ),
]
ImageQueryFileOption = Annotated[
    Path | None,
    typer.Option(
        "--image-query-file",
        envvar="CATALOGER_IMAGE_QUERY_FILE",
        metavar="FILE",
        help="File with the SELECT of --image-query.",
    ),
]
ImageRootOption = Annotated[
    Path | None,
    typer.Option(
        "--image-root", envvar="CATALOGER_IMAGE_ROOT", metavar="DIR", help="Folder that relative paths start at."
    ),
]
ObjectRootOption = Annotated[
    list[str] | None,
    typer.Option(
        "--object-root",
        envvar="CATALOGER_OBJECT_ROOT",
        metavar="s3://BUCKET/PREFIX",
        help="Read objects (s3://, gs://, az://) that tables and manifests name, if they lie below this address. May "
        "be repeated. Default: none.",
    ),
]
ImageListOption = Annotated[
    str | None,
    typer.Option(
        "--image-list",
        envvar="CATALOGER_IMAGE_LIST",
        metavar="json|php|SEPARATOR",
        help="A cell holds several images: as a JSON array, a serialized array of PHP, or with this separator. "
        "json:KEY, php:KEY: an array of objects, whose KEY is the image.",
    ),
]
ImageTableOption = Annotated[
    str | None,
    typer.Option(
        "--image-table",
        envvar="CATALOGER_IMAGE_TABLE",
        metavar="NAME",
        help="Table with one row per image; then --image is a column of this table.",
    ),
]
ImageFkOption = Annotated[
    list[str] | None,
    typer.Option(
        "--image-fk",
        envvar="CATALOGER_IMAGE_FK",
        metavar="COLUMN",
        help="Column of --image-table with the product's id; one for each --id.",
    ),
]
ImageIdOption = Annotated[
    list[str] | None,
    typer.Option(
        "--image-id",
        envvar="CATALOGER_IMAGE_ID",
        metavar="COLUMN",
        help="Column of --image-table that identifies a row. Default: its primary key; with --image-query: image_id.",
    ),
]
VersionColumnOption = Annotated[
    str | None,
    typer.Option(
        "--version-column",
        envvar="CATALOGER_VERSION_COLUMN",
        metavar="COLUMN",
        help="Column that changes whenever the image does, e.g. updated_at. Default with --image-query: version.",
    ),
]
WhereOption = Annotated[
    str | None,
    typer.Option(
        "--where", envvar="CATALOGER_WHERE", metavar="SQL", help="Only products that fulfil this condition."
    ),
]
LabelMapOption = Annotated[
    Path | None,
    typer.Option(
        "--label-map",
        envvar="CATALOGER_LABEL_MAP",
        metavar="CSV",
        help="The shop's own codes: a file with columns label, code and optionally name, parent. The code 'ignore' "
        "says that the shop does not sell a category.",
    ),
]
TaxonomyOption = Annotated[
    str | None,
    typer.Option(
        "--taxonomy",
        envvar="CATALOGER_TAXONOMY",
        metavar="google|shopify",
        help="Codes without a file: ids and full paths of Google's or Shopify's product taxonomy. Lines of "
        "--label-map go before them.",
    ),
]
DepartmentColumnOption = Annotated[
    str | None,
    typer.Option(
        "--department-column",
        envvar="CATALOGER_DEPARTMENT_COLUMN",
        metavar="COLUMN",
        help="Column of the product table with the department of a product, e.g. men or shoes; see --departments. "
        "Default with --image-query: department.",
    ),
]
DepartmentsOption = Annotated[
    Path | None,
    typer.Option(
        "--departments",
        envvar="CATALOGER_DEPARTMENTS",
        metavar="TOML|CSV",
        help="The categories of each department: a file. Kept with the source; 'none' ends it.",
    ),
]
LedgerOption = Annotated[
    str | None,
    typer.Option(
        "--ledger-db",
        envvar="CATALOGER_LEDGER_DB",
        metavar="URL",
        help="Database of cataloger's own tables, if not that of the products.",
    ),
]
SourceNameOption = Annotated[
    str | None,
    typer.Option(
        "--source-name",
        envvar="CATALOGER_SOURCE_NAME",
        metavar="NAME",
        help="Name of the source in the results. Default: made from server, table and column, or of the server alone "
        "with --image-query.",
    ),
]

META = "cataloger.preset"
PREFIX = "prefix"


def complete_presets(incomplete: str) -> list[str]:
    """Return the presets whose names begin so, for the completion of a shell."""
    return [name for name in preset_names() if name.startswith(incomplete)]


PresetOption = Annotated[
    str | None,
    typer.Option(
        "--preset",
        envvar="CATALOGER_PRESET",
        metavar="NAME|FILE.toml",
        help="Take the query of the images and the tables to write to from a preset of a shop system "
        "(`cataloger presets list`), or from a file. Flags that are given go before it.",
        autocompletion=complete_presets,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        envvar="CATALOGER_SET",
        metavar="NAME=VALUE",
        help="A setting of the preset, e.g. folder=/var/www/shop; may be repeated.",
    ),
]
PrefixOption = Annotated[
    str | None,
    typer.Option(
        "--prefix",
        envvar="CATALOGER_PREFIX",
        metavar="TEXT",
        help="Beginning of the names of the shop's tables: the same as --set prefix=TEXT.",
    ),
]
PresetArgument = Annotated[
    str,
    typer.Argument(metavar="NAME|FILE.toml", help="Preset, or file of your own.", autocompletion=complete_presets),
]


def settings_of(texts: Sequence[str] | None, prefix: str | None) -> dict[str, str]:
    """Return settings by name. Raises UsageError."""
    found: dict[str, str] = {}
    for text in texts or ():
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise UsageError(f"--set {text}: write NAME=VALUE, e.g. --set folder=/var/www/shop")
        found[name.strip()] = value.strip()
    if prefix is not None:
        if found.get(PREFIX, prefix) != prefix:
            raise UsageError(f"--prefix {prefix} and --set prefix={found[PREFIX]} contradict each other")
        found[PREFIX] = prefix.strip()
    return found


def filled_preset(name: str, texts: Sequence[str] | None, prefix: str | None) -> "FilledPreset":
    """Return a preset to be looked at; what is missing stays as a placeholder. Raises UsageError."""
    return fill(read_preset(name), settings_of(texts, prefix), strict=False)


def preset_in_use(context: typer.Context) -> PresetUse | None:
    """Return the preset that flags of a command were filled in from, if any."""
    found: PresetUse | None = context.meta.get(META)
    return found


class PresetCommand(TyperCommand):
    """A command whose flags may come from a preset. What is typed, set or configured goes before it."""

    def invoke(self, ctx: Any) -> Any:
        """Call the command, with the values of the preset for flags that are not given."""
        if name := ctx.params.get("preset"):
            ctx.params.update(self._values(ctx, read_preset(name), name))
        elif ctx.params.get("settings") or ctx.params.get(PREFIX) is not None:
            raise UsageError("--set and --prefix are settings of a preset: give --preset, too")
        return super().invoke(ctx)

    def _values(self, ctx: Any, preset: "Preset", name: str) -> Mapping[str, Any]:
        if preset.file is not None:
            raise UsageError(
                f"--preset {name} is for a file, not for a database: `cataloger tag EXPORT.csv --preset {name}`; "
                f"`cataloger presets show {name}` shows the way"
            )
        by_flag = {option.removeprefix("--"): each for each in self.params for option in each.opts}
        given = [flag for flag, each in by_flag.items() if _is_given(ctx, str(each.name))]
        own = {*given, *(["image-query"] if "image-query-file" in given else [])}
        _refuse_other_source(preset, given)
        filled = fill(preset, settings_of(ctx.params.get("settings"), ctx.params.get(PREFIX)), own=own)
        is_written = bool(filled.targets)
        ctx.meta[META] = PresetUse(name, filled.categories if is_written else "")
        return {
            str(by_flag[flag].name): by_flag[flag].process_value(ctx, value) for flag, value in filled.flags.items()
        }


def _is_given(ctx: Any, name: str) -> bool:
    """True for what stands on the command line, in the environment or in the configuration."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _refuse_other_source(preset: "Preset", given: Sequence[str]) -> None:
    """Raise UsageError for flags of a product table beside a preset with a query, and the other way round."""
    of_table, of_query = ("table", "image-table", "image-fk", "where"), ("image-query", "image-query-file")
    others = of_table if "image-query" in preset.flags else of_query
    if wrong := [flag for flag in given if flag in others]:
        what = "a query" if "image-query" in preset.flags else "a table"
        raise UsageError(
            f"--{wrong[0]} does not go with --preset {preset.origin}, which reads the images by {what}; "
            "leave it out, or copy the preset into a file of your own"
        )
