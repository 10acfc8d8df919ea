"""Folders of images: which files, in which order, and what becomes of their pixels. No model."""

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

import logvar
from logvar.data import sources
from logvar.data.images.decoding import decode, resized
from logvar.data.images.reading import ImageReading, read_folder
from logvar.data.images.writing import encoded

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (8, 6, 3), dtype=np.uint8)
GREY = COLOURS[..., 0]
DEEP = RNG.integers(0, 65536, (5, 7, 3)).astype(np.uint16)


def save(path, array=GREY, **settings):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **settings)
    return path


def said(notes, *words):
    return [note for note in notes if all(word in note for word in words)]


def test_files_are_read_in_natural_order_and_the_others_are_counted(tmp_path):
    for i in (10, 2, 1):
        save(tmp_path / f"i{i}.png", np.full((8, 6), i, np.uint8))
    (tmp_path / "._i1.png").write_bytes(b"resource fork")
    (tmp_path / ".cache").mkdir()
    save(tmp_path / ".cache" / "thumb.png")
    (tmp_path / "notes.txt").write_text("no image")
    os.symlink(tmp_path / "gone.png", tmp_path / "dead.png")
    os.symlink(tmp_path, tmp_path / "loop")
    data = sources.load(str(tmp_path))
    assert data.names == ("i1.png", "i2.png", "i10.png")
    assert data.train[:, 0, 0, 0].tolist() == [1, 2, 10] and data.train.dtype == np.uint8
    (line,) = said(data.notes, "left out")
    assert line.startswith("4 files are left out: 1 a link to nothing (dead.png), 2 hidden")
    assert data.train_labels is None and data.test is None


def test_train_and_test_folders_are_two_sets_and_labels_are_names(tmp_path):
    for name in ("train/cats/1", "train/dogs/1", "train/dogs/2", "test/dogs/9", "extra/1"):
        save(tmp_path / f"{name}.png")
    data = sources.load(str(tmp_path))
    assert (len(data.train), len(data.test)) == (3, 1)
    assert data.train_labels.tolist() == ["cats", "dogs", "dogs"]
    assert data.names[0] == "train/cats/1.png" and data.test_names == ("test/dogs/9.png",)
    assert said(data.notes, "train/ (3 images) is the training set, test/ (1) the test set")
    assert said(data.notes, "1 images beside train/ and test/", "extra/1.png")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_as_exif_says(tmp_path, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    for ending in ("png", "tif"):
        path = save(tmp_path / f"a.{ending}", COLOURS, exif=exif)
        with Image.open(path) as image:
            from PIL import ImageOps

            expected = np.asarray(ImageOps.exif_transpose(image))
        found = decode(path)
        np.testing.assert_array_equal(found.array, expected)
        assert ("turned" in found.noticed) == (orientation > 1)
        assert found.size == expected.shape[1::-1]


def tiff(array, order, compression):
    """A TIFF file of 16-bit colours, which Pillow cannot write."""
    e = {"II": "<", "MM": ">"}[order]
    height, width, channels = array.shape
    content = array.astype(e + "u2").tobytes()
    content = zlib.compress(content) if compression == 8 else content
    bits = struct.pack(e + "HHH", 16, 16, 16)
    start = 8 + 2 + 12 * 9 + 4
    entries = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, start), (259, 4, 1, compression),
        (262, 4, 1, 2), (273, 4, 1, start + 6), (277, 4, 1, channels), (278, 4, 1, height),
        (279, 4, 1, len(content)),
    ]  # fmt: skip
    head = order.encode() + struct.pack(e + "HIH", 42, 8, len(entries))
    return (
        head
        + b"".join(struct.pack(e + "HHII", *entry) for entry in entries)
        + struct.pack(e + "I", 0)
        + bits
        + content
    )


def test_16_bits_are_kept(tmp_path):
    """Grey and colour, PNG and TIFF, either order of bytes: x / 65535 to rounding."""
    grey = DEEP[..., :1]
    save(tmp_path / "grey.png", grey[..., 0])
    save(tmp_path / "grey.tif", grey[..., 0])
    (tmp_path / "colours.png").write_bytes(encoded(DEEP))
    files = {"grey.png": grey, "grey.tif": grey, "colours.png": DEEP}
    for order in ("II", "MM"):
        for compression in (1, 8):
            name = f"{order}{compression}.tif"
            (tmp_path / name).write_bytes(tiff(DEEP, order, compression))
            files[name] = DEEP
    for name, expected in files.items():
        found = decode(tmp_path / name)
        assert found.values == "16-bit" and found.array.dtype == np.float32, name
        np.testing.assert_array_equal(np.round(found.array * 65535), expected, err_msg=name)
    images = read_folder(tmp_path)
    assert images.reading.values == "16-bit" and images.train.max() <= 1
    assert said(images.notes, "x / 65535")


def test_real_values_are_kept_and_not_mixed_with_levels(tmp_path):
    values = np.linspace(-3, 1840, 48, dtype=np.float32).reshape(8, 6)
    save(tmp_path / "a.tif", values)
    images = read_folder(tmp_path)
    np.testing.assert_array_equal(images.train[0, ..., 0], values)
    assert images.reading.values == "real" and said(images.notes, "from -3 to 1840")
    save(tmp_path / "b.png")
    with pytest.raises(logvar.LogvarError, match=r"a\.tif holds real numbers .*b\.png has 8-bit"):
        read_folder(tmp_path)
    save(tmp_path / "a.tif", values.clip(0, 1))
    images = read_folder(tmp_path)
    np.testing.assert_array_equal(images.train[1, ..., 0], (GREY / 255).astype(np.float32))
    save(tmp_path / "b.png", np.full((8, 6), np.nan, np.float32), format="TIFF")
    images = read_folder(tmp_path)  # without a warning of the image that is missing in all pixels
    assert images.reading.values == "unit" and np.isnan(images.train[1]).all()


def test_an_infinite_pixel_is_refused_by_its_file(tmp_path):
    values = np.linspace(-3, 1840, 48, dtype=np.float32).reshape(8, 6)
    for name in "abc":
        save(tmp_path / f"{name}.tif", values)
    values[5, 2] = -np.inf
    save(tmp_path / "b.tif", values)
    said = r"b\.tif has infinity in 1 of 48 pixels, the first at row 5, column 2"
    for load in (read_folder, lambda folder: sources.load(str(folder), resize="4", window=2)):
        with pytest.raises(logvar.LogvarError, match=said):
            load(tmp_path)


def test_transparency_is_composited_on_white(tmp_path):
    opacity = np.full((8, 6, 1), 255, np.uint8)
    opacity[:4] = 0
    opacity[4] = 100
    save(tmp_path / "a.png", np.concatenate([COLOURS, opacity], -1))
    save(tmp_path / "b.png", np.concatenate([COLOURS, np.full_like(opacity, 255)], -1))
    indices = Image.new("P", (6, 8), 1)
    indices.putpalette([9, 9, 9, 200, 0, 0])
    indices.save(tmp_path / "c.gif", transparency=1)
    images = read_folder(tmp_path)
    assert (images.train[0, :4] == 255).all()
    expected = (COLOURS[4] * 100.0 + 255 * 155) / 255
    np.testing.assert_allclose(images.train[0, 4], expected, atol=0.5)
    np.testing.assert_array_equal(images.train[0, 5:], COLOURS[5:])
    np.testing.assert_array_equal(images.train[1], COLOURS)
    assert (images.train[2] == 255).all()
    assert said(images.notes, "2 images transparent in places", "white")
    assert said(images.notes, "1 image with an alpha channel that is opaque everywhere")


def test_sizes_are_counted_and_resize_covers_and_crops(tmp_path):
    stripes = np.zeros((40, 80), np.uint8)
    stripes[:, 20:60] = 200
    save(tmp_path / "a.png", stripes)
    save(tmp_path / "b.png", np.full((20, 20), 7, np.uint8))
    with pytest.raises(logvar.LogvarError, match=r"2 sizes \(80 × 40: 1, 20 × 20: 1\)"):
        read_folder(tmp_path)
    images = read_folder(tmp_path, "24")
    assert images.train.shape == (2, 24, 24, 1) and (images.train[0, :, 1:-1] == 200).all()
    assert images.reading == ImageReading((24, 24, 1), "8-bit", resized=True)
    assert said(images.notes, "resized from 2 sizes") and said(images.notes, "1 image smaller")
    assert read_folder(tmp_path, "32x16").train.shape == (2, 16, 32, 1)


def test_resizing_keeps_the_range_and_the_mean():
    image = RNG.random((60, 90, 3), np.float32)
    small = resized(image, (9, 6))
    assert small.dtype == np.float32 and small.min() > 0.3 and small.max() < 0.7
    assert small.mean() == pytest.approx(image.mean(), abs=0.01)


def test_another_folder_is_read_as_the_first_one_was(tmp_path):
    save(tmp_path / "one" / "a.png", COLOURS)
    save(tmp_path / "two" / "b.png", np.stack([GREY] * 2).reshape(16, 6))
    (tmp_path / "two" / "c.png").write_bytes(encoded(DEEP[..., :1]))
    fitted = read_folder(tmp_path / "one", 4).reading
    again = sources.load(str(tmp_path / "two"), None, "", "", fitted.as_text())
    assert again.train.shape == (2, 4, 4, 3) and again.train.dtype == np.uint8
    assert said(again.notes, "1 image of more than 8 bits")
    fitted = read_folder(tmp_path / "one").reading
    with pytest.raises(
        logvar.LogvarError, match=r"b\.png is 6 × 16, but this run reads images of 6 × 8"
    ):
        read_folder(tmp_path / "two", reading=fitted)


def test_broken_files_are_all_counted_in_one_line(tmp_path):
    save(tmp_path / "a.png")
    for name in ("b.png", "c.png"):
        (tmp_path / name).write_bytes((tmp_path / "a.png").read_bytes()[:60])
    with pytest.raises(
        logvar.LogvarError, match=r"b\.png is not a whole image .*, and 1 more of 3"
    ):
        read_folder(tmp_path)


def test_an_animation_gives_its_first_frame(tmp_path):
    frames = [Image.fromarray(np.full((8, 6), value, np.uint8)) for value in (10, 250)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    images = read_folder(tmp_path)
    assert (images.train == 10).all() and said(images.notes, "several frames")


@pytest.mark.parametrize(
    "text", ["shape=0x4", "size=4x4", "shape=4x4 values=9-bit", "shape=4x4 more=1", "x"]
)
def test_a_changed_reading_is_refused(text):
    with pytest.raises(logvar.LogvarError, match="recipe was changed|expected"):
        ImageReading.from_text(text)
