"""The catalogue of parts: every kind, its parts, and their settings, from the registries.

python -m logvar.catalogue.parts docs/parts.md
"""

import inspect
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path

from logvar.assembly.parts import KINDS
from logvar.errors import unknown_name
from logvar.recipe import ABOUT, PRESETS
from logvar.registry import Entry, Registry
from logvar.samplers import SAMPLERS

SAMPLER_KIND = "samplers"
LISTED: Mapping[str, Registry] = types.MappingProxyType(dict(KINDS) | {SAMPLER_KIND: SAMPLERS})
"""The kinds in the catalogue: parts of a model, and samplers, which are fitted after training."""

ARGUMENTS = {
    "scale": "scale",
    "posterior": "posterior",
    "prior": "prior",
    "likelihood": "likelihood",
    "objective": "objective",
    "network": "network",
    "optimizer": "optimizer",
    "schedule": "learning_rate",
}
"""The argument of `VAE` that takes a part of each kind."""

_OPENING = """# The catalogue of parts

<!-- Written by `python -m logvar.catalogue.parts docs/parts.md`; change the parts instead. -->

A part is written as text, `name(setting=value, …)`, in Python and on the command line alike, and
the recipe of a run records that text. `logvar parts` prints this catalogue, `logvar parts KIND` one
kind, `logvar parts KIND NAME` one part. An object of your own is accepted wherever text is: see
[Parts of your own](extend.md). Scales have a [page of their own](scales.md), and so have
[optimizers and schedules](optimizers.md).
"""


_OF_SAMPLERS = (
    "Fitted to posterior draws after training and kept in the run, in the prior's place when "
    "drawing z: see [how good is a model?](evaluation.md)\n"
)

_OF_PRESETS = """## Presets: `logvar fit DATA --preset`

Settings of papers and libraries; `logvar parts presets NAME` prints them, and flags override them.
Published numbers are those of the sources; `benchmarks/published.py` measures ours.
"""

PRESET_KIND = "presets"
"""The catalogues that `logvar parts` lists beside the kinds of parts."""


def kind_of(name: str) -> Registry:
    """Return the registry of a kind.

    Raises:
        LogvarError: there is no such kind.
    """
    if name not in LISTED:
        raise unknown_name("kind of part", name, [*LISTED, PRESET_KIND])
    return LISTED[name]


def summary(kind: str) -> Iterator[tuple[str, str, str]]:
    """Yield (its text with settings, formula, source) of each part of a kind."""
    registry = kind_of(kind)
    for name, entry in registry.entries.items():
        yield written(registry, name), entry.formula, entry.reference


def written(registry: Registry, name: str) -> str:
    """Return a part's text with its settings at their defaults."""
    wrapped = ["SCALE"] if registry.entries[name].wraps else []
    settings = [
        f"{setting.name}={setting.default or '…'}" for setting in registry.setting_texts(name)
    ]
    inside = ", ".join([*wrapped, *settings])
    return f"{name}({inside})" if inside else name


def lines_of(kind: str, name: str) -> Iterator[str]:
    """Describe one part in full, line by line.

    Raises:
        LogvarError: there is no such part.
    """
    registry = kind_of(kind)
    if name not in registry.entries:
        raise unknown_name(kind, name, registry.entries)
    entry = registry.entries[name]
    yield written(registry, name)
    yield from (f"  {line}" for line in (_first_sentence(entry), entry.formula) if line)
    if entry.reference:
        yield f"  from {entry.reference}"
    for setting in registry.setting_texts(name):
        expected = f" ({setting.expected})" if setting.expected else ""
        default = f", default {setting.default}" if setting.default else ", must be given"
        yield f"  {setting.name}: {setting.help or 'a setting'}{expected}{default}"
    yield f"  in Python {_in_python(kind)}, on the command line {_on_command_line(kind)}"


def preset_lines(name: str | None) -> Iterator[str]:
    """Describe all presets, or one with its settings.

    Raises:
        LogvarError: there is no such preset.
    """
    if name is not None and name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    yield "presets (--preset)"
    for each in PRESETS if name is None else [name]:
        about = ABOUT[each]
        yield f"  {each}: {about.source}"
        yield f"    published: {about.published}"
        yield f"    differs: {about.differs}"
        if name is not None:
            flags = (f"--{key.replace('_', '-')} {value}" for key, value in PRESETS[each].items())
            yield from (f"    {flag}" for flag in flags)


def heading(kind: str) -> str:
    """Return a kind with its flag.

    Raises:
        LogvarError: there is no such kind.
    """
    kind_of(kind)
    return f"{kind} ({_on_command_line(kind)})"


def _in_python(kind: str) -> str:
    return "vae.fit_sampler(X, …)" if kind == SAMPLER_KIND else f"VAE({ARGUMENTS[kind]}=…)"


def _on_command_line(kind: str) -> str:
    return "logvar sample RUN --from" if kind == SAMPLER_KIND else f"--{_flag(kind)}"


def _as_given(kind: str) -> str:
    if kind == SAMPLER_KIND:
        return f"`{_in_python(kind)}`, `{_on_command_line(kind)}`"
    return f"`{ARGUMENTS[kind]}=`, `--{_flag(kind)}`"


def _flag(kind: str) -> str:
    return ARGUMENTS[kind].replace("_", "-")


def _first_sentence(entry: Entry) -> str:
    """Return the first line of a part's docstring."""
    documentation = inspect.getdoc(entry.build) if inspect.isclass(entry.build) else ""
    return (documentation or "").split("\n\n")[0].replace("\n", " ")


def page() -> str:
    """Return the page of the documentation, as Markdown."""
    sections = [_OPENING]
    for kind, registry in LISTED.items():
        if kind in ("scale", "optimizer", "schedule"):
            continue
        sections.append(f"## {kind.capitalize()}: {_as_given(kind)}\n")
        if kind == SAMPLER_KIND:
            sections.append(_OF_SAMPLERS)
        sections.append(_table(registry))
    return "\n".join([*sections, _OF_PRESETS, _presets_table()])


def _presets_table() -> str:
    lines = ["| preset | from | published | what differs |", "|---|---|---|---|"]
    for name, about in ABOUT.items():
        lines.append(f"| `{name}` | {about.source} | {about.published} | {about.differs} |")
    return "\n".join(lines) + "\n"


def _table(registry: Registry) -> str:
    lines = ["| part | what it is | formula | from |", "|---|---|---|---|"]
    for name, entry in registry.entries.items():
        cells = f"`{name}`", _first_sentence(entry), entry.formula, entry.reference
        lines.append(f"| {' | '.join(cell.replace('|', '∣') for cell in cells)} |")
    settings = [
        f"| `{name}` | `{setting.name}={setting.default}` | {setting.expected} | {setting.help} |"
        for name in registry.entries
        for setting in registry.setting_texts(name)
    ]
    if settings:
        lines += ["", "| part | setting | accepts | meaning |", "|---|---|---|---|", *settings]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the page to the file named on the command line."""
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
