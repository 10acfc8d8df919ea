"""The tables of docs/optimizers.md are those of the registries."""

import dataclasses
import re
from pathlib import Path

import pytest

from logvar.training.optimizers import OPTIMIZERS
from logvar.training.schedules import SCHEDULES

PAGE = Path(__file__).parents[2] / "docs" / "optimizers.md"


def parts(registry):
    return [
        f"| `{name}` | {entry.formula} | {entry.reference} |"
        for name, entry in registry.entries.items()
    ]


def settings(registry):
    """A line for each setting, with its help and range from where it is declared."""
    lines = []
    for name in registry:
        for field in registry.settings(name).values():
            limits = field.metadata["limits"]
            must = field.default is dataclasses.MISSING
            default = "must be given" if must else f"`{field.default}`"
            lines.append(
                f"| `{name}({field.name})` | {default} | {limits.expected()} | {limits.help} |"
            )
    return lines


@pytest.mark.parametrize(
    ("marker", "expected"),
    [
        ("optimizers: held.*?", parts(OPTIMIZERS)),
        ("optimizers, settings", settings(OPTIMIZERS)),
        ("schedules: held.*?", parts(SCHEDULES)),
        ("schedules, settings", settings(SCHEDULES)),
    ],
    ids=["optimizers", "their settings", "schedules", "theirs"],
)
def test_the_table_is_that_of_the_registry(marker, expected):
    table = re.search(rf"<!-- {marker} -->\n(.*?)<!-- end -->", PAGE.read_text("utf-8"), re.S)
    lines = table[1].splitlines()[2:]
    assert lines == expected, "write instead:\n" + "\n".join(expected)
