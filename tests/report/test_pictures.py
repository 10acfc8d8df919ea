"""Pictures in a report are as bright as the pixels are. Nothing is trained."""

from types import SimpleNamespace

import numpy as np

from logvar import scales
from logvar.evaluation.summary import Evaluation, Figure, Protocol, RawOutputs
from logvar.recipe import Recipe
from logvar.report import figures, page

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 8, 8)).astype(np.uint8)


def test_pixels_and_what_a_model_gives_for_them_are_as_bright(monkeypatch):
    fitted = SimpleNamespace(is_binary=False, likelihood=SimpleNamespace(reads_intensities=True))
    vae = SimpleNamespace(
        fitted_=fitted,
        reconstruct=lambda images: images,
        sample=lambda n, mean: np.resize(PIXELS, (n, 8, 8)),
        inverse_transform=lambda codes: np.resize(PIXELS, (len(codes), 8, 8)),
        samplers_={},
    )
    shown = []
    monkeypatch.setattr(figures, "tiles", lambda images, *_, **__: shown.append(images) or "")
    page._image_sections(vae, PIXELS, (8, 8))
    page._manifold(vae, (8, 8))
    assert len(shown) == 3
    for images in shown:
        assert images.min() >= 0 and images.max() <= 1 and abs(images.mean() - 0.5) < 0.05
    holes = np.where(PIXELS < 99, np.nan, PIXELS / 255)
    page._image_sections(vae, holes, (8, 8))
    assert np.isfinite(shown[-2]).all()


def test_explained_variance_is_of_observed_cells_and_does_not_wrap_around(monkeypatch):
    drawn = []
    figure = SimpleNamespace()
    axes = SimpleNamespace(
        bar=lambda at, heights, **_: drawn.append(heights), set_ylim=lambda *_: None,
        set_xticks=lambda *_: None, set_xlabel=lambda *_, **__: None,
        set_ylabel=lambda *_, **__: None,
    )  # fmt: skip
    monkeypatch.setattr(figures, "_new", lambda *_: (figure, (axes,)))
    monkeypatch.setattr(figures, "_svg", lambda _: "")
    rows = np.array([[10, 0], [250, 4]], np.uint8)
    figures.feature_fit(rows, np.array([[11, 0], [251, 4]], np.uint8))
    np.testing.assert_allclose(drawn[-1], [1 - 1 / 120**2, 1])
    holes = np.array([[1.0, np.nan], [3.0, np.nan], [np.nan, 2.0]])
    figures.feature_fit(holes, np.array([[1.0, 0], [3.0, 0], [9.0, 2.0]]))
    np.testing.assert_allclose(drawn[-1], [1, 1])


def test_few_features_have_their_names_below_them():
    shown = figures.feature_fit(np.eye(3), np.eye(3) / 2, ("CD3D", "LYZ", "NKG7"))
    assert all(name in shown for name in ("CD3D", "LYZ", "NKG7"))


def test_what_the_model_is_told_and_starts_from_are_facts():
    vae = SimpleNamespace(
        recipe_=Recipe().replace(from_run="runs/first"),
        fitted_=SimpleNamespace(table=None, conditions="batch (a, b)"),
        decisions_=SimpleNamespace(network="mlp", likelihood="poisson"),
        model_=SimpleNamespace(scale=scales.get("log-variance")),
        data_={"rows": 100},
        ended_="finished",
        n_iter_=2,
    )
    facts = page._facts(vae, 2, (12,), [103.7])
    assert facts[0] == "100 training examples of 12 features"
    said = {"condition batch (a, b)", "weights start from runs/first", "104 s per epoch"}
    assert said <= set(facts)


def test_numbers_are_printed_as_everywhere_else():
    figure = Figure("elbo", -1e300, 1e299, "nats", "how")
    raw = RawOutputs({"0.5": 0.0}, -1.0, 1.0, 0.0, [1], [0.0, 1.0])
    evaluation = Evaluation(Protocol("held out", 3, "none", 0, 1), [figure], [0.1], 1, 1, raw)
    shown = page._numbers(evaluation)
    assert ">-1e+300<" in shown and ">± 1e+299<" in shown
    assert str(figure) == "-1e+300 ± 1e+299 nats"
