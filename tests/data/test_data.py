"""Sources, bad files, binarization, order."""

import gzip
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import logvar
from logvar.data import arrays, idx, sources
from logvar.data.order import taken
from logvar.data.preparation import Preparation
from logvar.data.table.choices import Choices
from logvar.data.table.frame import Table

TABLE = np.random.default_rng(0).normal(size=(20, 3))


def idx_bytes(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def test_every_kind_of_table_reads_back(tmp_path):
    np.save(tmp_path / "a.npy", TABLE)
    np.savez(tmp_path / "a.npz", X=TABLE, y=np.zeros(20))
    for name in ("a.csv", "a.tsv.gz", "a.parquet", "a.feather"):
        arrays.write(tmp_path / name, TABLE)
    for name in ("a.npy", "a.npz", "a.csv", "a.tsv.gz", "a.parquet", "a.feather"):
        found = sources.load(str(tmp_path / name))
        rows = found.train
        if isinstance(rows, Table):
            assert rows.names == tuple(f"x{i}" for i in range(TABLE.shape[1]))
            rows = np.column_stack([column.to_numpy() for column in rows.columns])
        np.testing.assert_allclose(rows, TABLE, rtol=1e-12)
        assert found.name == "a"


def test_a_csv_without_header_keeps_its_first_row(tmp_path):
    (tmp_path / "a.csv").write_text("1,2\n3,4\n")
    table = sources.load(str(tmp_path / "a.csv")).train
    assert [column.to_pylist() for column in table.columns] == [[1, 3], [2, 4]]
    table = sources.load(str(tmp_path / "a.csv"), choices=Choices(header="yes")).train
    assert table.names == ("1", "2") and len(table) == 1


def test_a_table_of_pixels_gets_a_shape_and_keeps_its_label(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 6))
    names = ["digit", *(f"p{i}" for i in range(6))]
    arrays.write(tmp_path / "a.csv", np.column_stack([np.arange(5), pixels]), names)
    found = sources.load(
        str(tmp_path / "a.csv"), shape="2x3", choices=Choices(kinds={"digit": "label"})
    )
    assert found.train.dtype == np.uint8 and found.train_labels.tolist() == list("01234")
    np.testing.assert_array_equal(found.train.reshape(5, 6), pixels)


def test_digits_are_split_and_scaled():
    digits = sources.load("digits")
    assert digits.train.shape == (1500, 8, 8, 1) and digits.test.shape == (297, 8, 8, 1)
    assert digits.train.min() == 0 and digits.train.max() == 1


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    expected, digits = load_digits(), sources.load("digits")
    pixels = np.concatenate([digits.train, digits.test])[..., 0] * 16
    np.testing.assert_array_equal(pixels, expected.images)
    labels = np.concatenate([digits.train_labels, digits.test_labels])
    np.testing.assert_array_equal(labels, expected.target)
    assert labels.dtype == expected.target.dtype


@pytest.mark.parametrize("compressed", [False, True])
def test_mnist_is_found_in_the_data_folder(tmp_path, compressed, monkeypatch):
    folder = tmp_path / "mnist"
    folder.mkdir()
    arrays = [np.arange(4 * 28 * 28, dtype=np.uint8).reshape(4, 28, 28), np.zeros((2, 28, 28), np.uint8),
              np.arange(4, dtype=np.uint8), np.arange(2, dtype=np.uint8)]  # fmt: skip
    for name, array in zip(idx.FILES, arrays, strict=True):
        content = idx_bytes(array)
        path = folder / (f"{name}.gz" if compressed else name)
        path.write_bytes(gzip.compress(content) if compressed else content)
    data = sources.load("mnist", str(tmp_path))
    np.testing.assert_array_equal(data.train[..., 0], arrays[0])
    assert data.test.shape == (2, 28, 28, 1)
    np.testing.assert_array_equal(data.train_labels, arrays[2])
    monkeypatch.setenv("LOGVAR_DATA", str(folder))
    assert sources.load("mnist").train.shape == (4, 28, 28, 1)
    assert sources.load(str(folder)).train.shape == (4, 28, 28, 1)


def test_mnist_that_is_nowhere_says_where_it_may_be(tmp_path, monkeypatch):
    with pytest.raises(logvar.LogvarError, match="no MNIST in"):
        sources.load("mnist", str(tmp_path))
    monkeypatch.setattr(idx, "MIRRORS", ("http://127.0.0.1:9/",))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("LOGVAR_DATA", raising=False)
    with pytest.raises(
        logvar.LogvarError, match=r"cannot be downloaded.*--data-dir or LOGVAR_DATA"
    ):
        sources.load("mnist")


def test_a_download_with_another_checksum_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file.gz").write_bytes(gzip.compress(b"not the digits"))
    monkeypatch.setattr(idx, "MIRRORS", (f"file://{tmp_path}/",))
    with pytest.raises(logvar.LogvarError, match="checksum differs"):
        idx._download("file.gz", idx.MNIST_MD5[0])


def test_a_folder_of_images_with_labels(tmp_path):
    for i, group in enumerate(["cats", "cats", "dogs"]):
        (tmp_path / group).mkdir(exist_ok=True)
        Image.fromarray(np.full((6, 5), 40 * i, np.uint8)).save(tmp_path / group / f"{i}.png")
    data = sources.load(str(tmp_path))
    assert data.train.shape == (3, 6, 5, 1) and data.train.dtype == np.uint8
    np.testing.assert_array_equal(data.train_labels, ["cats", "cats", "dogs"])
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "odd.png")
    with pytest.raises(
        logvar.LogvarError, match="2 sizes .*expected images of one size; give --resize"
    ):
        sources.load(str(tmp_path))


def bad_files(folder):
    def file(name, content):
        (folder / name).write_bytes(content)
        return str(folder / name)

    np.save(folder / "whole.npy", TABLE)
    pq.write_table(pa.table({"a": [1.0, 2.0]}), folder / "whole.parquet")
    np.save(folder / "objects.npy", np.array([{}, []], object), allow_pickle=True)
    images = folder / "images"
    images.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40), dtype=np.uint8)).save(
        images / "a.png"
    )
    (images / "a.png").write_bytes((images / "a.png").read_bytes()[:300])
    (folder / "nothing").mkdir()
    yield file("empty.csv", b""), r"is empty \(0 bytes\)"
    yield file("cut.npy", (folder / "whole.npy").read_bytes()[:200]), "whole .npy file"
    yield str(folder / "objects.npy"), "whole .npy file of numbers"
    yield file("cut.npz", b"PK\x03\x04 and no more"), "not a whole .npz archive"
    yield file("named.npz", (folder / "whole.npy").read_bytes()), "not a whole .npz archive"
    yield file("cut.parquet", (folder / "whole.parquet").read_bytes()[:50]), "a whole .parquet file"
    yield file("ragged.csv", b"a,b\n1,2\n3\n"), "1 of 2 rows do not have 2 cells"
    yield file("twice.csv", b"a,a\n1,2\n3,4\n"), "'a'"
    yield file("header.csv", b"a,b\n"), "no rows|0 rows"
    yield file("data.xlsx", b"PK"), "has the ending '.xlsx'"
    yield str(folder / "missing.csv"), "no file or folder"
    yield "digit", "did you mean 'digits'"
    yield str(images), "is not a whole image"
    yield str(folder / "nothing"), "has no images"


def test_every_bad_file_is_answered_in_one_line(tmp_path):
    for path, message in bad_files(tmp_path):
        with pytest.raises(logvar.LogvarError, match=message) as caught:
            sources.load(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", [0, 3, 9, 15, 100])
def test_a_truncated_idx_file(tmp_path, cut):
    content = idx_bytes(np.zeros((4, 5, 6), np.uint8))
    (tmp_path / "file").write_bytes(content[:cut])
    with pytest.raises(logvar.LogvarError, match="IDX"):
        idx.read(tmp_path / "file")


def test_an_idx_header_cannot_claim_memory(tmp_path):
    (tmp_path / "file").write_bytes(struct.pack(">BBBBII", 0, 0, 8, 2, 2**31, 2**31))
    with pytest.raises(logvar.LogvarError, match="too large to be real"):
        idx.read(tmp_path / "file")
    (tmp_path / "file").write_bytes(struct.pack(">BBBBI", 0, 0, 8, 1, 2**32 - 1) + b"abc")
    with pytest.raises(logvar.LogvarError, match="only 3 bytes"):
        idx.read(tmp_path / "file")


def test_threshold_is_the_tutorials():
    pixels = jnp.arange(256, dtype=jnp.uint8)
    got = Preparation(255.0, "threshold")(pixels, jax.random.key(0))
    np.testing.assert_array_equal(got, np.arange(256) >= 128)


def test_static_binarization_belongs_to_the_row():
    rows = np.random.default_rng(0).random((50, 30), np.float32)
    fixed = Preparation(1.0, "static").fix(rows, seed=0)
    assert set(np.unique(fixed)) == {0, 1}
    np.testing.assert_array_equal(
        Preparation(1.0, "static").fix(rows[::-1][:7], 0), fixed[::-1][:7]
    )
    assert abs(fixed.mean() - rows.mean()) < 0.05
    assert (Preparation(1.0, "static").fix(rows, 1) != fixed).any()


def test_dynamic_binarization_is_drawn_anew():
    rows = jnp.full((200, 10), 0.3)
    prepare = Preparation(1.0, "dynamic")
    one, two = (prepare(rows, jax.random.key(k)) for k in (0, 1))
    assert (one != two).any()
    assert float(one.mean()) == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_taken_rows_are_used_where_they_lie(kind):
    rows = np.random.default_rng(0).integers(0, 255, (50, 3, 7)).astype(kind)
    indices = np.array([49, 0, 7, 7, 31])
    found = taken(rows, indices)
    assert found.dtype == kind
    np.testing.assert_array_equal(found, rows[indices])
    if jax.default_backend() == "cpu":
        assert jax.device_put(found).unsafe_buffer_pointer() == found.ctypes.data
