"""A preset with the settings of one shop: the flags of `sync` that it stands for, and its other texts."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from cataloger.errors import UsageError
from cataloger.presets.preset import PLACEHOLDER, FlagValue, Preset, PresetSetting, PresetTarget, placeholders
from cataloger.utils import nearest_of

WRITE_FLAGS = ("write-table", "write-key", "write-where", "write-existing", "write-link")


@dataclass(frozen=True, slots=True)
class FilledPreset:
    """A preset with its placeholders replaced. preset: as it was read. values: of its settings, those that it has.

    flags: those of `sync` that it stands for, without dashes. targets: where is written.
    """

    preset: Preset
    values: Mapping[str, str]
    flags: Mapping[str, FlagValue]
    targets: tuple[PresetTarget, ...]
    categories: str
    privileges: Mapping[str, str]
    choices: Mapping[str, str]

    @property
    def missing(self) -> list[PresetSetting]:
        """Settings that must be given and were not."""
        return [each for name, each in self.preset.settings.items() if name not in self.values and not each.optional]


def fill(preset: Preset, given: Mapping[str, str], *, own: Collection[str] = (), strict: bool = True) -> FilledPreset:
    """Return a preset with the settings of a shop.

    given: settings by name. own: flags that the user gives; the preset's are left out, and settings that only these
    need. strict: what is missing is an error; else it stays as a placeholder. Raises UsageError.
    """
    values = _values(preset, given)
    flags = {name: value for name, value in preset.flags.items() if name not in own}
    writes = not any(flag in own for flag in WRITE_FLAGS)
    targets = [each for each in preset.targets if writes and (not each.needs or each.needs in values)]
    filler = _Filler(preset, values, strict=strict)
    filled = tuple(filler.target(each) for each in targets)
    return FilledPreset(
        preset=preset,
        values=values,
        flags={name: filler.flag(name, value) for name, value in flags.items()} | _write_flags(filled),
        targets=filled,
        categories=filler.text(preset.categories),
        privileges={filler.text(name): filler.text(text) for name, text in preset.privileges.items()},
        choices={name: filler.text(each.choices) for name, each in preset.settings.items() if each.choices},
    )


def _values(preset: Preset, given: Mapping[str, str]) -> dict[str, str]:
    for name in given:
        if name not in preset.settings:
            known = nearest_of(name, preset.settings)
            raise UsageError(f"--set {name}: the preset {preset.name} has no such setting; it has {known or 'none'}")
    found = {}
    for name, setting in preset.settings.items():
        if name in given:
            found[name] = setting.check(given[name], "--set")
        elif setting.default is not None:
            found[name] = setting.default
    return found


@dataclass(frozen=True, slots=True)
class _Filler:
    """Replaces placeholders."""

    preset: Preset
    values: Mapping[str, str]
    strict: bool

    def flag(self, name: str, value: FlagValue) -> FlagValue:
        """Return the value of a flag; one that is missing may be given as the flag itself."""
        if isinstance(value, bool):
            return value
        if isinstance(value, list):
            return [self.text(each, name) for each in value]
        return " ".join(self.text(value, name).split()) if name == "source-name" else self.text(value, name).strip()

    def target(self, target: PresetTarget) -> PresetTarget:
        """Return a table to write to."""
        return replace(
            target,
            link=self.text(target.link),
            table=self.text(target.table),
            key=self.text(target.key),
            where=self.text(target.where),
        )

    def text(self, text: str, flag: str = "") -> str:
        """Return a text with values. flag: that can be given instead."""
        if self.strict:
            for name in placeholders(text):
                self._require(name, flag)
        return PLACEHOLDER.sub(lambda found: found[0][0] if found[1] is None else self._value(found[1]), text)

    def _value(self, name: str) -> str:
        return self.values.get(name, f"{{{name}}}")

    def _require(self, name: str, flag: str) -> None:
        if name in self.values:
            return
        setting = self.preset.settings[name]
        seen = "; `cataloger presets check` lists what there is" if setting.choices else ""
        instead = f", or --{flag}" if flag else ""
        raise UsageError(
            f"the preset {self.preset.name} needs --set {name}=...: {setting.help}{instead}{seen}",
        )


def _write_flags(targets: Sequence[PresetTarget]) -> dict[str, FlagValue]:
    tables = [each for each in targets if each.table]
    found: dict[str, list[str]] = {
        "write-table": [each.table for each in tables],
        "write-key": [each.key for each in tables],
        "write-where": [each.where for each in tables] if any(each.where for each in tables) else [],
        "write-existing": list(dict.fromkeys(_name(each) for each in tables if not each.adds_rows)),
        "write-link": [each.link for each in targets if each.link],
    }
    return {name: value for name, value in found.items() if value}


def _name(target: PresetTarget) -> str:
    return target.table.partition(":")[0].strip()
