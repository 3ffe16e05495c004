"""Presets: what `sync` needs to know of a shop system, as data.

A preset is a TOML file: the query of the images, where results are written, the query of the shop's categories,
privileges, and settings such as the prefix of the tables; or the files of a shop. Those in `shops/` come with the
package. Imports `ledger`, `taxonomy`, `writeback`, `queries`, `sources`, `schema`, `db`, `utils`.
"""

from typing import TYPE_CHECKING

from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.presets.file_check import FileCheckInput, check_file
    from cataloger.presets.filling import FilledPreset, fill
    from cataloger.presets.label_maps import label_map_template
    from cataloger.presets.preset import Preset, PresetFile, PresetSetting, PresetTarget
    from cataloger.presets.preset_check import CheckInput, Finding, check_preset
    from cataloger.presets.privileges import grants
    from cataloger.presets.reading import file_format, preset_names, read_preset
    from cataloger.presets.shop_categories import ShopCategory, choices_of, read_categories, require_categories
    from cataloger.presets.shown_sql import statements

__all__ = [
    "CheckInput",
    "FileCheckInput",
    "FilledPreset",
    "Finding",
    "Preset",
    "PresetFile",
    "PresetSetting",
    "PresetTarget",
    "ShopCategory",
    "check_file",
    "check_preset",
    "choices_of",
    "file_format",
    "fill",
    "grants",
    "label_map_template",
    "preset_names",
    "read_categories",
    "read_preset",
    "require_categories",
    "statements",
]

__getattr__ = lazy_names(
    __name__,
    {
        "file_check": ("FileCheckInput", "check_file"),
        "filling": ("FilledPreset", "fill"),
        "privileges": ("grants",),
        "label_maps": ("label_map_template",),
        "preset": ("Preset", "PresetFile", "PresetSetting", "PresetTarget"),
        "preset_check": ("CheckInput", "Finding", "check_preset"),
        "reading": ("file_format", "preset_names", "read_preset"),
        "shop_categories": ("ShopCategory", "choices_of", "read_categories", "require_categories"),
        "shown_sql": ("statements",),
    },
)
