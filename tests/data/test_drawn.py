"""The drawn shapes: what is drawn is what the factors say."""

import numpy as np
import pytest

import logvar
from logvar.data import drawn, sources


def centre(images):
    grid = (np.arange(images.shape[1]) + 0.5) / images.shape[1]
    mass = images[..., 0].sum((1, 2))
    return (images[..., 0].sum(1) @ grid) / mass, (images[..., 0].sum(2) @ grid) / mass


def test_images_are_a_function_of_seed_and_size():
    images, factors = logvar.shapes(70, size=32, random_state=3)
    again = logvar.shapes(70, size=32, random_state=3)
    np.testing.assert_array_equal(images, again.images)
    small = logvar.shapes(70, size=16, random_state=3)
    for name, column in factors.items():
        np.testing.assert_array_equal(column, small.factors[name])
    # The same picture: pixels of the small one are means of four.
    means = images.reshape(70, 16, 2, 16, 2, 1).mean((2, 4))
    assert np.abs(means - small.images).mean() < 0.005
    assert not np.array_equal(images, logvar.shapes(70, size=32, random_state=4).images)
    assert images.dtype == np.float32 and images.min() == 0 and images.max() == 1


def test_each_factor_does_what_it_says():
    one = {
        "shape": np.array(["hook"]), "size": np.array([0.8]), "angle": np.array([0.0]),
        "x": np.array([0.5]), "y": np.array([0.5]),
    }  # fmt: skip

    def draw(**changes):
        return drawn._drawn(one | {k: np.array([v]) for k, v in changes.items()}, 64)[..., None]

    x, y = centre(draw())
    right, lower = centre(draw(x=1.0, y=1.0))
    half = 0.5 - drawn._RADIUS * 1.05
    assert right - x == pytest.approx(half, abs=4e-3) and lower - y == pytest.approx(half, abs=4e-3)
    for shape in drawn.SHAPES:
        area = draw(shape=shape).sum()
        assert draw(shape=shape, size=0.4).sum() / area == pytest.approx(0.25, rel=0.03)
        for angle in (22.5, 90.0):
            assert draw(shape=shape, angle=angle).sum() / area == pytest.approx(1, rel=0.03)
        # A quarter turn against the clock is NumPy's.
        quarter = draw(shape=shape, angle=90.0)[0, ..., 0]
        np.testing.assert_allclose(quarter, np.rot90(draw(shape=shape)[0, ..., 0]), atol=0.13)
        for turn in (90.0, 120.0, 180.0):
            assert np.abs(draw(shape=shape, angle=turn) - draw(shape=shape)).sum() > 0.2 * area


def test_no_shape_leaves_the_image_and_levels_are_even():
    images, factors = logvar.shapes(600, size=16)
    assert (images.sum((1, 2)) > 2.5).all()
    edges = drawn._drawn({"shape": np.array(drawn.SHAPES).repeat(4), "size": np.ones(12),
                          "angle": np.tile([0.0, 90.0, 180.0, 270.0], 3), "x": np.tile([0.0, 1.0], 6),
                          "y": np.tile([0.0, 1.0], 6)}, 64)  # fmt: skip
    assert edges[:, [0, -1]].max() == 0 and edges[:, :, [0, -1]].max() == 0
    for name, levels in (("shape", 3), ("size", 6), ("angle", 16), ("x", 16), ("y", 16)):
        values, counts = np.unique(factors[name], return_counts=True)
        assert len(values) == levels and counts.max() < 3 * 600 / levels


def test_the_built_in_data(monkeypatch):
    monkeypatch.setattr(drawn, "BUILT_IN_ROWS", 60)
    monkeypatch.setattr(drawn, "BUILT_IN_TEST", 50)
    data = sources.load("shapes")
    assert data.train.shape == (60, 32, 32, 1) and data.test.shape == (50, 32, 32, 1)
    assert set(data.train_labels) == set(drawn.SHAPES)


@pytest.mark.parametrize(("n", "size"), [(0, 32), (5, 15), (5, 65)])
def test_bad_sizes_are_refused(n, size):
    with pytest.raises(logvar.LogvarError, match="from 16 to 64 pixels"):
        logvar.shapes(n, size=size)
