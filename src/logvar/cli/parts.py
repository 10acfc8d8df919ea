"""`logvar parts`: print the catalogue of all parts."""

from logvar.catalogue.parts import LISTED, PRESET_KIND, heading, lines_of, preset_lines, summary
from logvar.cli.console import console


def show(kind: str | None, name: str | None) -> None:
    """Print all kinds, one kind, or one part.

    Raises:
        LogvarError: there is no such kind, part or preset.
    """
    if kind == PRESET_KIND:
        lines = list(preset_lines(name))
    elif kind is not None and name is not None:
        lines = list(lines_of(kind, name))
    else:
        lines = [line for each in ([kind] if kind else LISTED) for line in _of_kind(each)]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _of_kind(kind: str) -> list[str]:
    return [heading(kind), *(f"  {text}: {formula}" for text, formula, _ in summary(kind))]
