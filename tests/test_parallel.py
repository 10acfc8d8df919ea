"""Two at once: parallel fits share nothing half-written, and a lock says who holds a run folder."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV

import logvar
from logvar.storage.files import UnfinishedFolder, unfinished
from tests.cases import slow

X = load_iris().data


@pytest.mark.parametrize(
    "grid",
    [
        {"scale": ["log-variance", "softplus"]},
        slow({"latent_dim": [1, 2], "scale": ["log-variance", "softplus"]}),
    ],
)
def test_a_parallel_grid_search_gives_the_numbers_of_a_serial_one(grid, monkeypatch):
    # The workers are processes of their own, and would compile it all again.
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", jax.config.jax_compilation_cache_dir)
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    vae = logvar.VAE(2, epochs=2, network="mlp(hidden=[8])")
    scores = [
        GridSearchCV(vae, grid, cv=2, n_jobs=jobs, refit=False)
        .fit(X)
        .cv_results_["mean_test_score"]
        for jobs in (1, 2)
    ]
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-6)


def test_two_processes_with_one_cold_cache_end_in_the_same_bytes(tmp_path):
    np.save(tmp_path / "table.npy", X.astype(np.float32))
    environment = os.environ | {"LOGVAR_CACHE": str(tmp_path / "cache")}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "logvar", "fit", "table.npy", "--epochs", "2", "--network", "mlp(hidden=[8])",
             "--out", name],
            cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for name in ("one", "two")
    ]  # fmt: skip
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    for name in ("weights.safetensors", "metrics.jsonl", "evaluation.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_lock_names_its_holder_and_goes_with_it(tmp_path):
    final = tmp_path / "run"
    held = UnfinishedFolder(final, overwrite=False, marker="manifest.json")
    with pytest.raises(logvar.LogvarError, match=f"another process \\(process {os.getpid()} on "):
        UnfinishedFolder(final, overwrite=False, marker="manifest.json")
    held.leave()
    again = UnfinishedFolder(final, overwrite=False, marker="manifest.json", keep=True)
    (again.path / "manifest.json").write_text("{}")
    again.publish()
    assert final.is_dir() and not unfinished(final).exists()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]  # no lock file is left
