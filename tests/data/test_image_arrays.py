"""Arrays of pixels: shapes given, channels first, sizes that do not fit. No model is trained."""

import numpy as np
import pytest

import logvar
from logvar.assembly.decisions import decide
from logvar.data import arrays, sources
from logvar.data.images.shapes import fitting
from logvar.recipe import Recipe

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 12))


def test_a_csv_of_pixels_gets_a_shape_and_is_read_the_same_way_later(tmp_path):
    arrays.write(tmp_path / "a.csv", PIXELS)
    data = sources.load(str(tmp_path / "a.csv"), None, "", "4x3")
    assert data.train.shape == (5, 4, 3) and data.train.dtype == np.uint8
    np.testing.assert_array_equal(data.train.reshape(5, -1), PIXELS)
    assert any("pixels" in note for note in data.notes)
    # A row of 0 and 1 alone is two dark levels, as it would be beside the others.
    arrays.write(tmp_path / "dark.csv", PIXELS[:1] % 2)
    reading = data.reading.as_text()
    dark = sources.load(str(tmp_path / "dark.csv"), reading=reading)
    assert dark.train.dtype == np.uint8 and dark.train.shape == (1, 4, 3)
    arrays.write(tmp_path / "bad.csv", PIXELS[:1] + 0.5)
    with pytest.raises(logvar.LogvarError, match="this run reads pixels, integers from 0 to 255"):
        sources.load(str(tmp_path / "bad.csv"), reading=reading)


def test_a_shape_that_does_not_fit_says_what_would(tmp_path):
    for columns, words in ((13, "a label"), (16, "--shape 4x4"), (15, "another --shape")):
        np.save(tmp_path / "a.npy", np.zeros((2, columns)))
        with pytest.raises(
            logvar.LogvarError, match=f"{columns} columns: --shape 4x3 takes 12.*{words}"
        ):
            sources.load(str(tmp_path / "a.npy"), None, "", "4x3")
    for shape in ("4", "4x", "axb", "0x3", "1x2x3x4"):
        with pytest.raises(logvar.LogvarError, match="expected HEIGHTxWIDTH"):
            sources.load(str(tmp_path / "a.npy"), None, "", shape)
    with pytest.raises(logvar.LogvarError, match="is no folder of images"):
        sources.load(str(tmp_path / "a.npy"), None, "64")
    with pytest.raises(logvar.LogvarError, match="--resize scales them"):
        sources.load(str(tmp_path), None, "", "4x3")
    (tmp_path / "a.png").write_bytes(b"")
    for size in ("64x", "big", "1x2x3", "-4"):
        with pytest.raises(logvar.LogvarError, match="expected a number of pixels"):
            sources.load(str(tmp_path), None, size)


def test_channels_go_last_in_files_and_are_named_in_python(tmp_path):
    first = np.random.default_rng(0).random((2, 3, 9, 10), np.float32)
    np.save(tmp_path / "a.npy", first)
    data = sources.load(str(tmp_path / "a.npy"))
    np.testing.assert_array_equal(data.train, first.transpose(0, 2, 3, 1))
    assert data.reading.channels_first and "channels first" in data.notes[0]
    with pytest.raises(logvar.LogvarError, match=r"give X.transpose\(0, 2, 3, 1\)"):
        decide(Recipe(), first, custom_networks=False)
    asked = Recipe().replace(network="mlp")
    assert decide(asked, first, custom_networks=False).network == "mlp"


def test_rows_of_another_shape_are_refused_by_shape_even_with_as_many_values():
    model = (28, 28, 1)
    for fine in ((28, 28), (784,), (28, 28, 1)):
        assert fitting(np.zeros((2, *fine)), model).shape == (2, *model)
    with pytest.raises(logvar.LogvarError, match="32 × 32 × 1, but this model reads 28 × 28 × 1"):
        fitting(np.zeros((2, 32, 32, 1)), model)
    with pytest.raises(logvar.LogvarError, match=r"3 × 28 × 28.*transpose\(0, 2, 3, 1\)"):
        fitting(np.zeros((2, 3, 28, 28)), (28, 28, 3))
    with pytest.raises(logvar.LogvarError, match="X has 64 features, .* expecting 784 .*28 × 28"):
        fitting(np.zeros((2, 64)), model)
