"""docs/parts.md is what the registries say."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from logvar.assembly.parts import KINDS, specs
from logvar.catalogue import parts
from logvar.errors import LogvarError
from logvar.recipe import ABOUT, PRESETS, preset
from logvar.training import schedules
from logvar.training.schedules import Length
from tests.cli.in_process import run

PAGE = Path(__file__).parents[2] / "docs" / "parts.md"


def test_the_page_is_what_the_registries_say():
    """python -m logvar.catalogue.parts docs/parts.md"""
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
    assert any("components: Normals; at most the training rows" in line for line in lines)
    assert lines[-1].endswith("--prior")
    with pytest.raises(LogvarError, match="unknown prior 'mixtrue': did you mean 'mixture'"):
        list(parts.lines_of("prior", "mixtrue"))
    with pytest.raises(LogvarError, match="unknown kind of part 'priors': did you mean 'prior'"):
        list(parts.lines_of("priors", "mixture"))
    done = run(["parts", "likelihod"])
    assert done.code == 2 and "unknown kind of part 'likelihod': did you mean" in done.errors


def test_every_preset_has_a_source_and_says_what_differs():
    assert PRESETS.keys() == ABOUT.keys()
    lines = list(parts.preset_lines(None))
    for name, about in ABOUT.items():
        assert f"  {name}: {about.source}" in lines
        assert all(about)
        specs(preset(name))  # its parts can be read, and fit
    assert "    --objective iwae(samples=50)" in list(parts.preset_lines("iwae"))
    with pytest.raises(LogvarError, match="did you mean 'iwae'"):
        list(parts.preset_lines("iwea"))


def test_the_rates_of_the_iwae_preset_are_those_of_the_paper():
    """1e-3·10^(−i/7) for 3^i epochs."""
    rates = schedules.get(PRESETS["iwae"]["learning_rate"]).rates(1e-3, Length(3280, 1))
    ends = np.cumsum([3**i for i in range(8)])
    assert ends[-1] == PRESETS["iwae"]["epochs"]
    for i, end in enumerate(ends):
        for step in (end - 3**i, end - 1):
            assert float(rates(jnp.asarray(step))) == pytest.approx(1e-3 * 10 ** (-i / 7), rel=1e-4)
