"""PNG files out: in the data's own units, under the names of the inputs. No model is trained."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import logvar
from logvar.assembly import skeleton
from logvar.assembly.decisions import Decisions
from logvar.cli import pictures
from logvar.data.images.decoding import decode
from logvar.data.images.writing import encoded, file_names, own_units, pixels, write_pictures
from logvar.data.preparation import Preparation
from logvar.data.standardization import Standardization
from logvar.estimator import VAE
from logvar.fitted import Fitted
from logvar.recipe import Recipe

UNIT = np.random.default_rng(0).random((4, 5, 6, 3), np.float32)


def run(
    dtype="uint8", divisor=255.0, likelihood="bernoulli", rows=None, reading="", shape=(5, 6, 3)
):
    """An estimator as after fitting, but for its weights."""
    recipe = Recipe().replace(reading=reading)
    decisions = Decisions(likelihood, "mlp", divisor, ())
    found = None if rows is None else Standardization.of_rows(rows)
    fitted = Fitted(
        recipe, decisions, skeleton(recipe, decisions, shape), Preparation(divisor), found, shape,
        dtype, [], "finished", {},
    )  # fmt: skip
    return VAE.of(fitted)


def write(vae, out, values, names=()):
    """Write examples in two blocks."""
    with pictures.Examples(vae, out, len(values), names) as file:
        file.append(values[:3])
        file.append(values[3:])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_png_files_have_the_levels_they_were_given(tmp_path, kind, channels):
    image = np.random.default_rng(1).integers(0, np.iinfo(kind).max, (7, 5, channels)).astype(kind)
    (tmp_path / "a.png").write_bytes(encoded(image))
    with Image.open(tmp_path / "a.png") as found:
        found.load()
        assert found.size == (5, 7)
        if kind == np.uint8:
            np.testing.assert_array_equal(np.asarray(found).reshape(image.shape), image)
    if kind == np.uint16 and channels in (1, 3):
        np.testing.assert_array_equal(np.round(decode(tmp_path / "a.png").array * 65535), image)


def test_pixels_come_back_as_pixels(tmp_path):
    write(run(), tmp_path / "a.npy", UNIT)
    np.testing.assert_array_equal(
        np.load(tmp_path / "a.npy"), np.round(UNIT * 255).astype(np.uint8)
    )
    # A likelihood of levels gives levels, and one of real values may leave their range.
    found = own_units(np.array([-3.0, 7.4, 300.0]), "uint8", 1.0)
    assert found.tolist() == [0, 7, 255] and found.dtype == np.uint8
    # Of levels, a dark image is as much an image of levels as one beside it.
    assert own_units(np.array([0.2, 1.0]), "uint8", 1.0).dtype == np.uint8
    # Binary data: probabilities.
    assert own_units(UNIT, "uint8", 1.0, binary=True) is UNIT
    assert own_units(found, "uint8", 255.0) is found


def test_a_folder_gets_the_names_of_the_inputs(tmp_path):
    names = ("cats/1.jpg", "cats/2.png", "cats/2.gif", "dogs/1.png")
    write(run(), tmp_path / "new", UNIT, names)
    found = sorted(
        p.relative_to(tmp_path / "new").as_posix() for p in (tmp_path / "new").rglob("*.png")
    )
    assert found == ["cats/1.png", "cats/2.gif.png", "cats/2.png.png", "dogs/1.png"]
    np.testing.assert_array_equal(
        decode(tmp_path / "new" / "dogs/1.png").array, np.round(UNIT[3] * 255)
    )
    assert [p.name for p in tmp_path.iterdir()] == ["new"]
    with pytest.raises(logvar.LogvarError, match="has files already"):
        pictures.check_images(run(), tmp_path / "new")
    assert file_names(2) == ["00000.png", "00001.png"]


def test_a_grid_has_every_image(tmp_path):
    write(run(), tmp_path / "a.png", UNIT)
    with Image.open(tmp_path / "a.png") as grid:
        array = np.asarray(grid)
    assert array.shape == (11, 13, 3)
    np.testing.assert_array_equal(array[6:, 7:], np.round(UNIT[3] * 255))


def test_16_bits_and_channels_first_come_back(tmp_path):
    write(run("float32", 1.0, reading="shape=5x6x3 values=16-bit"), tmp_path / "a", UNIT)
    np.testing.assert_allclose(decode(tmp_path / "a" / "00000.png").array, UNIT[0], atol=1e-5)
    first = "shape=5x6x3 values=unit channels_first=yes"
    write(run("float32", 1.0, reading=first), tmp_path / "a.npy", UNIT)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), UNIT.transpose(0, 3, 1, 2))


def test_real_values_are_no_png_and_tables_no_images(tmp_path):
    real = run("float32", 1.0, "normal", rows=1000 * UNIT - 3)
    with pytest.raises(logvar.LogvarError, match=r"PNG holds only 0 to 255: give --out FILE.npy"):
        pictures.check_images(real, Path("new"))
    with pytest.raises(logvar.LogvarError, match=r"shape \(5,\), which are no images"):
        pictures.check_images(run(shape=(5,)), Path("new"))
    # Intensities under a likelihood of real values: those outside [0, 1] are cut.
    unit = run("float32", 1.0, "normal", rows=UNIT)
    assert not pictures.check_images(unit, tmp_path / "new")
    write(unit, tmp_path / "new", UNIT * 3 - 1)
    expected = np.round((UNIT[0] * 3 - 1).clip(0, 1) * 255)
    np.testing.assert_allclose(decode(tmp_path / "new" / "00000.png").array, expected, atol=1)


def test_pictures_of_intensities_show_the_mean_and_others_a_draw():
    assert pictures.check_images(run(), Path("new"))
    assert not pictures.check_images(
        run(likelihood="discretized-logistic", divisor=1.0), Path("new")
    )
    assert not pictures.check_images(run(), Path("new.npy"))


def test_writing_is_all_or_nothing(tmp_path):
    with pytest.raises(logvar.LogvarError, match="cannot write"):
        write_pictures(
            tmp_path / "a", pixels(UNIT, 0.0, 1.0), ["x/1.png", "x.png/2.png", "x.png", "y"]
        )
    assert not list(tmp_path.iterdir())
