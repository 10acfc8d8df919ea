"""Commands on tables that are read in parts: 'part-*.parquet' is what one file is."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from logvar.cli import fitting, judging
from logvar.cli import outliers as commands
from logvar.estimator import VAE
from logvar.explaining import OddCell
from logvar.outliers import OutlierVAE
from tests.cli.test_outliers import SMALL
from tests.cli.test_tables import logvar, read

QUICK = "--epochs 1 --latent-dim 2 --network 'mlp(hidden=[8])' --importance-samples 2"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A table in one file and in two, and a run of each."""
    folder = tmp_path_factory.mktemp("in parts")
    rng = np.random.default_rng(0)
    table = pa.table({"x": rng.normal(size=90), "y": rng.normal(size=90)})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(fitting, "write_report", lambda *arguments: None)
        pq.write_table(table, "whole.parquet")
        pq.write_table(table.slice(0, 40), "part-1.parquet")
        pq.write_table(table.slice(40), "part-2.parquet")
        for data, out in (("whole.parquet", "whole"), ("'part-*.parquet'", "parts")):
            done = logvar(f"fit {data} {QUICK} --out {out}")
            assert done.code == 0, done.errors
        yield folder


def test_a_sampler_is_fitted_to_the_training_rows(place):
    for run in ("whole", "parts"):
        done = logvar(f"sample {run} --n 5 --from 'mixture(components=10)' --out {run}.csv")
        assert done.code == 0, done.errors
        assert "fitted mixture to 81 rows" in done.out
        again = logvar(f"sample {run} --n 5 --from 'mixture(components=10)' --out {run}.csv")
        assert again.code == 0 and "fitted" not in again.out
    assert read("parts.csv") == read("whole.csv")


def test_odd_rows_are_explained(place, monkeypatch):
    def small(**settings):
        return OutlierVAE(**SMALL | settings)

    def explained(vae, X, top, n_samples):
        return [[OddCell("x", 1.0, -4.1, 4.0)] for _ in range(len(X.rows))]

    monkeypatch.setattr(commands, "OutlierVAE", small)
    monkeypatch.setattr(VAE, "explain", explained)  # compiles for seconds, and has its own tests
    for data, out in (("whole.parquet", "one.csv"), ("'part-*.parquet'", "two.csv")):
        done = logvar(f"outliers {data} --out {out} --explain --importance-samples 3")
        assert done.code == 0, done.errors
    assert len(read("two.csv")[1]) == 90 and read("two.csv") == read("one.csv")


def test_factors_are_read(place, monkeypatch):
    found = []
    monkeypatch.setattr(judging, "print_evaluation", lambda evaluation: None)
    monkeypatch.setattr(judging, "evaluated", lambda *arguments: None)
    monkeypatch.setattr(
        judging, "disentanglement", lambda codes, known: found.append(known) or "fine"
    )
    for factors in ("whole.parquet", "'part-*.parquet'"):
        done = logvar(f"evaluate parts 'part-*.parquet' --factors {factors}")
        assert done.code == 0, done.errors
    assert found[0].keys() == found[1].keys() == {"x", "y"}
    for name in "xy":
        np.testing.assert_array_equal(found[0][name], found[1][name])
