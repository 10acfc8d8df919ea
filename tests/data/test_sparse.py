"""Sparse matrices: the same bytes as their dense copies, and never dense as a whole."""

import subprocess
import sys

import jax
import numpy as np
import pytest
from scipy import sparse

import logvar
from logvar.backend.sparse import SparseRows
from logvar.data.examples import Examples
from logvar.data.sources import fingerprint
from logvar.data.sparse import read_sparse, sparse_rows

random = np.random.default_rng(0)
ROWS = random.poisson(random.gamma(0.4, 2.0, (90, 12))).astype(np.float32)
ROWS[:, 0] += 1
SETTINGS = {
    "latent_dim": 2, "network": "mlp(hidden=[4])", "likelihood": "negative-binomial",
    "epochs": 2, "batch_size": 32, "validation_fraction": 0.3, "random_state": 0,
}  # fmt: skip


def forms():
    """The same matrix in the forms of SciPy; one is neither sorted nor without zeros."""
    csr = sparse.csr_array(ROWS)
    doubled = sparse.coo_array(
        (
            np.concatenate([csr.data - 1, np.ones(csr.nnz), [0.0]]),
            tuple(np.concatenate([i, i, [3]]) for i in csr.tocoo().coords),
        ),
        shape=ROWS.shape,
    )
    twice = sparse.csr_array(  # in CSR, values of one cell are added up only when asked
        (np.repeat(csr.data / 2, 2), np.repeat(csr.indices, 2), csr.indptr * 2), ROWS.shape
    )
    whole = sparse.csr_matrix(ROWS.astype(np.int64))
    return [csr, sparse.csc_matrix(ROWS), doubled, twice, whole]


@pytest.mark.parametrize("index", range(5))
def test_every_form_is_the_same_rows(index):
    X = forms()[index]
    before = X.data.copy()
    rows = sparse_rows(X)
    np.testing.assert_array_equal(rows.dense(), ROWS)
    np.testing.assert_array_equal(X.data, before)
    assert rows.shape == ROWS.shape and len(rows.values) == np.count_nonzero(ROWS)
    assert fingerprint(rows) == fingerprint(sparse_rows(sparse.csr_array(ROWS)))
    for some in (slice(5, 40), slice(None, None, -3), np.array([7, 7, 0]), ROWS[:, 1] > 1):
        np.testing.assert_array_equal(rows[some].dense(), ROWS[some])
    np.testing.assert_array_equal(rows.totals(), ROWS.sum(1))
    np.testing.assert_array_equal(rows.padded().dense(), ROWS)
    order = np.array([88, 3, 3, 0], np.int32)
    batch = jax.jit(lambda stored, order: stored[order].dense())(rows.stored(), order)
    np.testing.assert_array_equal(batch, ROWS[order])


def test_the_noise_of_a_row_is_keyed_as_that_of_its_dense_copy():
    rows = sparse_rows(sparse.csr_array(ROWS))
    np.testing.assert_array_equal(Examples(rows, rows).words, Examples(ROWS, ROWS).words)
    small = sparse_rows(sparse.csr_array(ROWS.astype(np.uint8)))
    assert small.dtype == np.uint8
    few = ROWS.astype(np.uint8)
    np.testing.assert_array_equal(Examples(small, small).words, Examples(few, few).words)


@pytest.fixture(scope="module")
def both():
    whole = logvar.VAE(**SETTINGS).fit(ROWS)
    return whole, logvar.VAE(**SETTINGS).fit(sparse.csc_array(ROWS))


def test_a_sparse_matrix_trains_and_scores_to_the_same_bytes(both):
    whole, few = both
    assert whole.history_ == few.history_
    for one, other in zip(*(jax.tree.leaves(vae.model_) for vae in both), strict=True):
        np.testing.assert_array_equal(one, other)
    X = sparse.coo_matrix(ROWS)
    for method in ("transform", "reconstruct", "elbo"):
        np.testing.assert_array_equal(getattr(few, method)(X), getattr(whole, method)(ROWS))


@pytest.mark.slow
def test_all_other_figures_are_the_same_bytes(both):
    whole, few = both
    X = sparse.csr_matrix(ROWS)
    for method in ("score_samples", "score_cells"):
        one, other = (getattr(v, method)(x, n_samples=3) for v, x in ((few, X), (whole, ROWS)))
        np.testing.assert_array_equal(one, other)
    figures = few.evaluate(X, n_importance=2), whole.evaluate(ROWS, n_importance=2)
    assert figures[0] == figures[1]
    assert few.explain(X[:2], n_samples=2) == whole.explain(ROWS[:2], n_samples=2)
    weights = np.arange(90) % 3
    weighted = [
        logvar.VAE(**SETTINGS).fit(some, sample_weight=weights, validation_data=some[:9]).history_
        for some in (ROWS, sparse.csr_array(ROWS))
    ]
    assert weighted[0] == weighted[1]


def test_bad_values_are_named_by_row_and_column(both):
    fresh, fitted = logvar.VAE(**SETTINGS), both[1]
    for value, what in ((-2, "got -2 at"), (0.5, "got 0.5 at")):
        X = sparse.lil_array(ROWS)
        X[80, 7] = value
        for call in (fresh.fit, fitted.transform):
            with pytest.raises(logvar.LogvarError, match=rf"{what} row 80, column 7 \(counting"):
                call(X.tocsr())
    empty = sparse.lil_array(ROWS)
    empty[61] = 0
    for X in (empty.tocsr(), empty.toarray()):
        for call in (fresh.fit, fitted.transform):
            with pytest.raises(logvar.LogvarError, match="got row 61 .* without a count"):
                call(X)
    # A row that is left out has nothing to be refused, and the others keep their numbers.
    weights = np.ones(90)
    weights[[2, 61]] = 0
    X[7, 3] = 0.5
    with pytest.raises(logvar.LogvarError, match="got 0.5 at row 7, column 3"):
        fresh.fit(X, sample_weight=weights)
    frame = {f"gene {i}": ROWS[:, i].copy() for i in range(12)}
    frame["gene 4"][33] = -1
    with pytest.raises(logvar.LogvarError, match=r"row 33, column 4 \('gene 4'\)"):
        fresh.fit(frame)
    X = sparse.csr_array(ROWS)
    X.data[0] = np.nan
    with pytest.raises(logvar.LogvarError, match="NaN at row 0, column 0 .*no missing cells"):
        fresh.fit(X)
    with pytest.raises(logvar.LogvarError, match=r"at least one of each"):
        fresh.fit(sparse.csr_array((0, 4)))
    with pytest.raises(logvar.LogvarError, match="no missing cells"):
        fitted.impute(sparse.csr_array(ROWS))
    with pytest.raises(logvar.LogvarError, match="has 5 features, but VAE is expecting 12"):
        fitted.transform(sparse.csr_array(ROWS[:, :5]))


def test_likelihoods_of_real_values_ask_for_a_dense_array():
    with pytest.raises(logvar.LogvarError, match="Sparse data was passed.*negative-binomial"):
        logvar.VAE(likelihood="normal").fit(sparse.csr_array(ROWS))


def test_files_of_sparse_matrices_are_read(tmp_path):
    path = tmp_path / "counts.npz"
    sparse.save_npz(path, sparse.csc_array(ROWS))
    np.testing.assert_array_equal(read_sparse(path).dense(), ROWS)
    np.savez(path, X=ROWS)
    assert read_sparse(path) is None
    np.savez(path, format=np.array("csr"), shape=np.array([3, 3]), data=np.ones(2))
    with pytest.raises(logvar.LogvarError, match="no whole sparse matrix"):
        read_sparse(path)


LARGE = """
import resource, numpy as np, logvar
from scipy import sparse
rows, features, each = 5_000, 100_000, 12
columns = np.random.default_rng(0).integers(0, features, rows * each)
X = sparse.csr_array((np.ones(rows * each), columns, np.arange(rows + 1) * each), (rows, features))
vae = logvar.VAE(
    latent_dim=1, network="mlp(hidden=[2])", likelihood="poisson", epochs=1, batch_size=32,
    validation_fraction=0.02, random_state=0,
)
vae.fit(X)
assert np.isfinite(vae.transform(X)).all()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_rows_times_columns():
    """Of 5,000 rows and 100,000 columns, which are 2 GB as float32, beside 0.5 GB of JAX."""
    done = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1700, done.stdout


def test_a_place_among_stored_values_is_a_cell():
    rows = sparse_rows(sparse.csr_array(np.array([[0, 0, 5], [0, 0, 0], [7, 0, 8]])))
    assert [rows.place(i) for i in range(3)] == [(0, 2), (2, 0), (2, 2)]
    assert isinstance(rows, SparseRows) and rows.nbytes > 0
