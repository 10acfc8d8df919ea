"""Formats whose rows stay where they are: AnnData, HDF5, zarr, folders of images."""

import numpy as np
import pytest
import scipy.sparse as sp

from logvar.assembly.tables import taken_in, taken_in_again
from logvar.backend.streamed import StreamedRows
from logvar.data import sources
from logvar.data.streamed import is_streamed, streamed_rows
from logvar.errors import LogvarError

rng = np.random.default_rng(0)
X = rng.poisson(1.0, (60, 5)).astype(np.float32)
WHERE = [slice(None), slice(3, 40), [59, 0, 7, 7], np.arange(60) % 2 == 0, np.arange(0, 60, 5)]


def same_rows(rows, expected=X):
    assert isinstance(rows, StreamedRows) and rows.shape == expected.shape
    for where in WHERE:
        np.testing.assert_array_equal(rows[where], expected[where])


@pytest.mark.parametrize("matrix", [X, sp.csr_matrix(X)], ids=["dense", "sparse"])
def test_cells_stay_in_their_file(tmp_path, matrix):
    anndata = pytest.importorskip("anndata")
    cells = anndata.AnnData(matrix)
    cells.var_names = list("abcde")
    cells.write_h5ad(tmp_path / "x.h5ad")
    dataset = sources.load(str(tmp_path / "x.h5ad"), window=20)
    given = taken_in(dataset.train, "poisson", window=20)
    same_rows(given.rows)
    assert given.features == tuple("abcde") and len(given.row_names) == 60
    again = taken_in_again(dataset.train, None, features=("e", "b"))
    same_rows(again.rows, X[:, [4, 1]])
    with pytest.raises(LogvarError, match="lacks 1 of 2 genes"):
        taken_in_again(dataset.train, None, features=("e", "z"))
    assert not isinstance(taken_in(dataset.train, "poisson", window=60).rows, StreamedRows)
    dataset.train.file.close()


def test_arrays_of_hdf5_and_zarr(tmp_path):
    h5py, zarr = pytest.importorskip("h5py"), pytest.importorskip("zarr")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["X"] = X
        assert is_streamed(file["X"])
        same_rows(streamed_rows(file["X"]))
    path = str(tmp_path / "x.zarr")
    zarr.create_array(store=path, data=X, chunks=(7, 5))
    assert is_streamed(path) and is_streamed(zarr.open(path, mode="r"))
    same_rows(streamed_rows(path))
    dataset = sources.load(path)
    assert dataset.name == "x"
    same_rows(dataset.train)
    chunk = next(path for path in sorted((tmp_path / "x.zarr" / "c").rglob("*")) if path.is_file())
    chunk.write_bytes(b"no chunk")
    with pytest.raises(LogvarError, match=r"x\.zarr .*cannot be read at rows 0 to 0 .Zstd"):
        streamed_rows(path)
    (tmp_path / "none.zarr").mkdir()
    with pytest.raises(LogvarError, match=r"none\.zarr cannot be read"):
        streamed_rows(tmp_path / "none.zarr")


def test_images_are_decoded_when_they_are_needed(tmp_path):
    Image = pytest.importorskip("PIL.Image")
    for i in range(60):
        mode = "RGB" if i == 31 else "L"
        pixels = rng.integers(0, 256, (6, 5, 3) if mode == "RGB" else (6, 5)).astype(np.uint8)
        (tmp_path / "train" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "train" / "ab"[i % 2] / f"{i}.png")
    (tmp_path / "test").mkdir()
    Image.fromarray(pixels).save(tmp_path / "test" / "0.png")
    for resize in ("", "4"):
        memory = sources.load(str(tmp_path), resize=resize)
        streamed = sources.load(str(tmp_path), resize=resize, window=20)
        same_rows(streamed.train, memory.train)
        np.testing.assert_array_equal(streamed.test, memory.test)
        np.testing.assert_array_equal(streamed.train_labels, memory.train_labels)
        assert streamed.reading == memory.reading and streamed.names == memory.names
        again = sources.load(str(tmp_path), reading=memory.reading.as_text(), window=20)
        same_rows(again.train, memory.train)
    assert isinstance(sources.load(str(tmp_path), window=60).train, np.ndarray)
    Image.fromarray(pixels[:3]).save(tmp_path / "train" / "a" / "40.png")
    with pytest.raises(LogvarError, match=r"sizes|another size"):
        sources.load(str(tmp_path), window=20)
    (tmp_path / "train" / "a" / "40.png").write_bytes(b"no image")
    with pytest.raises(LogvarError, match=r"40\.png"):
        sources.load(str(tmp_path), window=20)


def test_an_image_that_changes_while_it_is_read_is_named(tmp_path):
    Image = pytest.importorskip("PIL.Image")
    for i in range(8):
        Image.fromarray(np.full((6, 5), i, np.uint8)).save(tmp_path / f"{i}.png")
    rows = sources.load(str(tmp_path), window=4).train
    Image.fromarray(np.full((6, 5), 200, np.uint8)).save(tmp_path / "3.png")
    assert rows[:3].max() == 2
    for where in (slice(2, 5), [3, 7]):
        with pytest.raises(LogvarError, match=r"3\.png changed while it was read"):
            rows[where]


@pytest.mark.parametrize("X", ["x.txt", ["x.csv"], ["x.npy", "x.parquet"]], ids=str)
def test_paths_that_are_not_read_are_named_as_such(X):
    with pytest.raises(LogvarError, match=r"X is .*'x\..*expected numbers, or the path of"):
        taken_in(X, "normal")


def test_a_pattern_is_several_files(tmp_path):
    parts = [X[:10], X[10:30], X[30:]]
    for number, part in zip((1, 2, 10), parts, strict=True):
        np.save(tmp_path / f"part-{number}.npy", part)
    dataset = sources.load(str(tmp_path / "part-*.npy"))
    same_rows(dataset.train)
    assert dataset.name == "part"
    images = sources.load(str(tmp_path / "part-*.npy"), shape="1x5")
    same_rows(images.train, X.astype(np.uint8).reshape(60, 1, 5))
    np.save(tmp_path / "wide.npy", np.repeat(X, 40, axis=1))
    memory = sources.load(str(tmp_path / "wide.npy"), shape="20x10")
    streamed = sources.load(str(tmp_path / "wide.npy"), shape="20x10", window=20)
    same_rows(streamed.train, memory.train)
    assert streamed.reading == memory.reading and streamed.notes == memory.notes
    with pytest.raises(LogvarError, match="no file matches"):
        sources.load(str(tmp_path / "none-*.npy"))
    (tmp_path / "part-3.csv").write_text("a\n1\n")
    with pytest.raises(LogvarError, match="have the same ending"):
        sources.load(str(tmp_path / "part-*"))
    with pytest.raises(LogvarError, match=r"end in \.csv, of which one at a time is read"):
        sources.load(str(tmp_path / "part-*.csv"))
