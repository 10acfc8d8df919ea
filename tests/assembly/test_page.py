"""docs/parts.md is what the registries say."""

from pathlib import Path

import pytest

from logvar.assembly.parts import KINDS
from logvar.errors import LogvarError
from logvar.report import parts

PAGE = Path(__file__).parents[2] / "docs" / "parts.md"


def test_the_page_is_what_the_registries_say():
    """python -m logvar.report.parts docs/parts.md"""
    assert PAGE.read_text(encoding="utf-8") == parts.page()


def test_every_setting_of_a_part_has_a_help_text():
    for kind, registry in KINDS.items():
        if kind == "scale":  # whose settings are in docs/scales.md
            continue
        for name in registry.names():
            for setting in registry.setting_texts(name):
                assert setting.help, (kind, name, setting.name)


def test_one_part_in_full_names_its_settings_and_where_it_goes():
    lines = list(parts.lines_of("prior", "mixture"))
    assert lines[0] == "mixture(components=10, scale=log-std)"
    assert any("components: how many Normals (at least 1), default 10" in line for line in lines)
    assert lines[-1].endswith("--prior")
    with pytest.raises(LogvarError, match="unknown prior 'mixtrue': did you mean 'mixture'"):
        list(parts.lines_of("prior", "mixtrue"))
    with pytest.raises(LogvarError, match="unknown kind of part 'priors': did you mean 'prior'"):
        list(parts.lines_of("priors", "mixture"))
