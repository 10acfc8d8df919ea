"""AnnData: layers, names of cells and genes, columns of obs; the command line on an .h5ad file."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

import logvar
from logvar.cli import fitting
from logvar.cli.main import main
from logvar.data.annotated import cells_of, is_annotated, obs_columns, read_h5ad
from logvar.data.sparse import is_sparse
from logvar.data.table.reading import read_table
from logvar.errors import LogvarError

anndata = pytest.importorskip("anndata")
pandas = pytest.importorskip("pandas")

random = np.random.default_rng(0)
COUNTS = random.poisson(random.gamma(0.5, 3.0, (60, 6))).astype(np.float32)
COUNTS[:, 0] += 1
GENES = ["CD3D", "MIR", "LYZ", "MIR", "MIR-1", "MIR"]
SETTINGS = {
    "latent_dim": 2, "network": "mlp(hidden=[4])", "likelihood": "negative-binomial",
    "epochs": 1, "batch_size": 32, "random_state": 0,
}  # fmt: skip


def annotated():
    batch = pandas.Categorical(np.where(np.arange(60) % 2, "second", "first"))
    batch = batch.set_categories(["first", "second"])
    obs = {
        "batch": batch,
        "age": np.arange(60.0),
        "kind": ["T" if i < 30 else "B" for i in range(60)],
    }
    obs = pandas.DataFrame(obs, index=[f"AAC-{i}" for i in range(60)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that names of genes repeat
        found = anndata.AnnData(np.log1p(COUNTS), obs, pandas.DataFrame(index=GENES))
    found.layers["counts"] = sparse.csr_matrix(COUNTS)
    return found


@pytest.fixture
def adata():
    return annotated()


@pytest.fixture(scope="module")
def whole():
    return logvar.VAE(**SETTINGS).fit(COUNTS)


def test_a_view_of_dense_cells_is_no_sparse_matrix(adata):
    adata.X = COUNTS
    some = adata[10:20].X
    assert hasattr(some, "toarray") and not is_sparse(some)


def test_bad_cells_and_genes_are_named(adata, whole):
    fresh = logvar.VAE(**SETTINGS)
    with pytest.raises(LogvarError, match=r"got 1.*row 0 \('AAC-0'\), column 0 \('CD3D'\)"):
        fresh.fit(adata)  # logarithms
    matrix = COUNTS.copy()
    matrix[41] = 0
    adata.layers["counts"] = sparse.csr_matrix(matrix)
    with pytest.raises(LogvarError, match=r"got row 41 \('AAC-41'\) .*without a count"):
        fresh.fit(adata, layer="counts")
    adata.layers["counts"][3, 5] = -4
    with pytest.raises(LogvarError, match=r"got -4 at row 3 \('AAC-3'\), column 5 \('MIR-3'\)"):
        fresh.fit(adata, layer="counts")
    with pytest.raises(LogvarError, match="row 41 "):
        whole.transform(anndata.AnnData(sparse.csc_matrix(matrix)))
    with pytest.raises(LogvarError, match="no matrix X"):
        cells_of(anndata.AnnData(obs=adata.obs))


def test_columns_of_obs_are_at_hand(adata):
    found = obs_columns(adata, ["batch", "age"])
    assert list(found["batch"][:3]) == ["first", "second", "first"]
    np.testing.assert_array_equal(found["age"], np.arange(60.0))
    with pytest.raises(
        LogvarError, match=r"no column 'donor' in obs \(columns: batch, age, kind\)"
    ):
        obs_columns(adata, ["donor"])
    assert is_annotated(adata) and is_annotated(adata[:3]) and not is_annotated(COUNTS)
    for kind, values in (("string", ["x", "y"]), ("boolean", [True, False])):
        adata.obs["some"] = pandas.array([*values, None] * 20, dtype=kind)
        assert obs_columns(adata, ["some"])["some"][:3].tolist() == [*map(str, values), None]
    adata.obs["some"] = pandas.array([1, None] * 30, dtype="Int64")
    np.testing.assert_array_equal(obs_columns(adata, ["some"])["some"][:2], [1, np.nan])


@pytest.mark.parametrize("of", [annotated, lambda: sparse.csr_matrix(COUNTS)])
def test_a_schema_is_for_tables(of):
    with pytest.raises(LogvarError, match="schema was given, and X is no table .*condition="):
        logvar.VAE(**SETTINGS, schema={"batch": "condition"}).fit(of())


def test_a_file_is_fitted_and_encoded_with_the_names_of_its_cells(adata, tmp_path, capsys, whole):
    path, run, out = tmp_path / "cells.h5ad", tmp_path / "run", tmp_path / "z.csv"
    adata.write_h5ad(path)
    flags = ["--layer", "counts", "--likelihood", "negative-binomial", "--latent-dim", "2"]
    flags += ["--network", "mlp(hidden=[4])", "--epochs", "1", "--batch-size", "32"]
    flags += ["--label", "kind", "--importance-samples", "2", "--out", str(run)]
    run_command("fit", path, *flags)
    assert "have got a number" in capsys.readouterr().out
    assert 'layer = "counts"' in (run / "recipe.toml").read_text()
    run_command("encode", run, "--out", out)
    table = read_table(out)
    assert table.names == ("cell", "kind", "z0", "z1")
    assert table["cell"][7].as_py() == "AAC-7" and table["kind"][40].as_py() == "B"
    codes = np.column_stack([table[name].to_numpy() for name in ("z0", "z1")])
    np.testing.assert_allclose(codes, whole.transform(COUNTS), rtol=1e-5)
    for flags, what in (
        (["--layer", "raw"], "no layer 'raw'"),
        (["--label", "donor"], "no column 'donor' in obs"),
        (["--drop", "kind"], "cannot be ignored"),
        (["--shape", "2x3"], "leave out --shape"),
    ):
        with pytest.raises(SystemExit, match="2"):
            run_command("fit", path, "--out", tmp_path / "no", *flags)
        assert what in capsys.readouterr().err


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A run that is told the batch and the age of each cell, and its folder."""
    folder = tmp_path_factory.mktemp("told")
    obs = {
        "batch": pandas.Categorical(["first", "second"] * 30),
        "age": np.arange(60.0),
        "kind": [None, "T", "B"] * 20,
        "tissue": ["blood"] * 60,
    }
    obs = pandas.DataFrame(obs, index=[f"AAC-{i}" for i in range(60)])
    genes = pandas.DataFrame(index=["a", "b", "c", "d", "e", "f"])
    cells = anndata.AnnData(sparse.csr_matrix(COUNTS), obs, genes)
    cells.write_h5ad(folder / "cells.h5ad")
    new = cells.copy()
    new.obs["batch"] = ["third"] * 60
    new.write_h5ad(folder / "new.h5ad")
    del new.obs["batch"]
    new.write_h5ad(folder / "without.h5ad")
    flags = ["--likelihood", "negative-binomial", "--latent-dim", "2", "--epochs", "1"]
    flags += ["--network", "mlp(hidden=[4])", "--batch-size", "32", "--importance-samples", "2"]
    flags += ["--condition", "batch", "age", "--prior", "conditional"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(fitting, "write_report", lambda *arguments: None)  # has tests of its own
        run_command("fit", "cells.h5ad", *flags, "--out", "run")
        yield cells


def test_columns_of_obs_are_told_to_the_model(told, capsys):
    vae = logvar.load("run")
    beside = {"batch": np.array(["first", "second"] * 30), "age": np.arange(60.0)}
    alone = logvar.VAE(**SETTINGS, prior="conditional").fit(COUNTS, condition=beside)
    np.testing.assert_allclose(
        vae.transform(told), alone.transform(COUNTS, condition=beside), rtol=1e-4, atol=1e-5
    )
    run_command("score", "run", "--importance-samples", "2", "--out", "scores.csv")
    found = read_table("scores.csv")["log_likelihood"].to_numpy()
    np.testing.assert_allclose(found, vae.score_samples(told, 2), rtol=1e-5)
    run_command(
        "sample", "run", "--condition", "batch=second, age=30", "--n", 4, "--out", "new.csv"
    )
    drawn = read_table("new.csv")
    assert drawn.names == ("a", "b", "c", "d", "e", "f") and len(drawn) == 4
    expected = vae.sample(4, condition={"batch": "second", "age": 30.0})
    np.testing.assert_array_equal(
        np.column_stack([drawn[n].to_numpy() for n in "abcdef"]), expected
    )


def test_a_new_batch_is_added_to_a_run_of_cells(told):
    second = logvar.VAE(from_run="run", epochs=1).fit(read_h5ad("new.h5ad"))
    assert second.fitted_.conditions.schema["batch"].levels == ("first", "second", "third")


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["sample", "run"], r'--condition "batch=…, age=…"'),
        (["sample", "run", "--condition", "batch=fourth, age=1"], "from_run=…, --from RUN"),
        (["sample", "run", "--condition", "batch=first"], "condition lacks 'age'"),
        (["score", "run", "without.h5ad"], "without.h5ad has no column 'batch' in obs"),
        (["score", "run", "new.h5ad"], "has the level 'third' at row 0 (60 such cells), which"),
        (["fit", "cells.h5ad", "--condition", "donor"], "no column 'donor' in obs"),
        (
            ["fit", "cells.h5ad", "--condition", "kind", "--likelihood", "poisson"],
            "no value in row 0, column 'kind'",
        ),
        (
            [
                "fit",
                "cells.h5ad",
                "--label",
                "tissue",
                "--objective",
                "labelled",
                "--likelihood",
                "poisson",
            ],
            "label 'tissue' has one class, 'blood', in 60 known labels",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_condition_that_cannot_be_told_is_one_line(told, words, what, capsys):
    with pytest.raises(SystemExit, match="2"):
        run_command(*words, "--out", "none.csv")
    error = capsys.readouterr().err
    assert what in error and error.count("\n") == 1, error
    assert not list(Path().glob("none*"))


def run_command(*words):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["logvar", *map(str, words)])
        main()


def test_what_is_no_such_file_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "cells.h5ad"
    path.write_bytes(b"no file of HDF5")
    with pytest.raises(LogvarError, match="cannot be read as an .h5ad file"):
        read_h5ad(path)
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(LogvarError, match=r"pip install 'logvar\[anndata\]'"):
        read_h5ad(path)
