"""`logvar scales`: the catalogue, facts, code and pictures; and the page that is made from them."""

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.datasets import load_iris

import logvar
from logvar.catalogue import scales as catalogue
from logvar.cli.scales import show
from logvar.report import scale_figure
from logvar.scales.facts import facts
from logvar.storage import run_folder

PAGE = Path(__file__).parents[2] / "docs" / "scales.md"


def test_the_catalogue_page_is_what_the_registry_says():
    """python -m logvar.catalogue.scales docs/scales.md"""
    number = re.compile(r"−?\d+(?:\.\d+)?(?:e[−+]?\d+)?")
    written, made = PAGE.read_text(), catalogue.page()
    assert number.sub("#", written) == number.sub("#", made)
    # Another processor may round the last digit of a bound another way.
    for a, b in zip(number.findall(written), number.findall(made), strict=True):
        assert float(a.replace("−", "-")) == pytest.approx(
            float(b.replace("−", "-")), rel=2e-3, abs=1e-9
        )


def test_every_scale_and_preset_is_on_the_page_with_its_reference():
    text = PAGE.read_text()
    for name, entry in logvar.scales.REGISTRY.items():
        if not entry.wraps:
            assert f"| {name} |" in text and entry.reference in text
        else:
            assert f"`{name}(" in text


def test_facts_are_printed_for_every_name(capsys):
    show(("softplus", "clamped(log-std, low=-2, high=1)"), None, None, None)
    out = capsys.readouterr().out
    assert "0.541325" in out and "clamped(log-std, low=-2, high=1)" in out
    assert out.count("safe raw outputs") == 2


def test_printed_code_runs_as_it_is_printed(capsys):
    show(("stdplus",), "numpy", None, None)
    names = {}
    exec(capsys.readouterr().out, names)
    assert float(names["sigma"](np.float64(1.0))) == pytest.approx(1.773751172, rel=1e-8)


@pytest.mark.parametrize("ending", [".png", ".svg", ".pdf"])
def test_pictures_are_drawn(tmp_path, ending):
    file = tmp_path / f"scales{ending}"
    show(("log-std", "tanh-bounded"), None, file, None)
    assert file.stat().st_size > 10_000


def test_a_runs_raw_outputs_are_drawn_beneath(tmp_path, capsys):
    X = load_iris().data
    vae = logvar.VAE(latent_dim=2, epochs=2, scale="log-std").fit(X)
    run = vae.save(tmp_path / "run")
    (run / run_folder.EVALUATION).write_text(
        run_folder.to_json(vae.evaluate(X, n_importance=2).as_dict())
    )
    file = tmp_path / "with run.svg"
    show(("softplus",), None, file, run)
    text = file.read_text()
    assert "raw outputs of" in text and "under log-std" in text
    assert "log-std, softplus" in capsys.readouterr().out


def test_curves_are_those_of_the_scale():
    """The curves as drawn, read back, against differences of ½(σ² − 1) − log σ."""
    panels = list(Figure().subplots(1, 4))
    raw = np.linspace(-6, 6, 601)
    scale_figure._curves(panels, "softplus", raw, "k", "-")
    sigma, slope, first, second = (panel.lines[0].get_data() for panel in panels)
    s = np.logaddexp(0, raw)
    np.testing.assert_allclose(sigma[1], s, rtol=1e-9)
    at_one = np.argmin(np.abs(slope[0] - 1))
    assert slope[1][at_one] == pytest.approx(0.6321, abs=0.02)
    kl = 0.5 * (s**2 - 1) - np.log(s)
    np.testing.assert_allclose(first[1][1:-1], (kl[2:] - kl[:-2]) / 0.04, atol=2e-3)
    bend = (kl[2:] - 2 * kl[1:-1] + kl[:-2]) / 0.02**2
    np.testing.assert_allclose(second[1][1:-1], bend, atol=2e-3)


@pytest.mark.parametrize(("name", "low"), [("softplus", -0.05), ("log-precision", -1.25)])
def test_slopes_below_zero_have_their_place_where_there_are_some(name, low):
    panels = list(Figure().subplots(1, 4))
    for each in ("log-std", name):
        scale_figure._curves(panels, each, np.linspace(-6, 6, 61), "k", "-")
    assert scale_figure._slope_limits(panels[1]) == (low, 1.6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((("nope",), None, None, None), "unknown scale 'nope'"),
        ((("softplus",), "toch", None, None), "did you mean 'torch'"),
        (((), "numpy", None, None), "--code got 0 scales"),
        ((("softplus", "log-std"), "numpy", None, None), "--code got 2 scales"),
        (((), None, Path("x.png"), None), "--plot got no scales"),
        ((("softplus",), None, Path("x.bmp"), None), "expected .png, .svg, .pdf"),
        ((("softplus",), None, Path("no such folder/x.png"), None), "is not a folder"),
        ((("softplus",), None, None, Path("run")), "--run goes with --plot"),
        ((("softplus",), None, Path("x.png"), Path("nowhere")), "expected a run folder"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(logvar.LogvarError, match=re.escape(message)):
        show(*arguments)
    assert not list(tmp_path.iterdir())


def test_facts_of_what_cannot_reach_one():
    assert facts("clamped(log-std, low=-3, high=-1, hard=True)").raw_at_one is None
    assert facts("clamped(log-std, low=-3, high=-1, hard=True)").curvature is None
