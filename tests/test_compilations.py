"""Which programs are compiled, counted, and where they are kept."""

import contextlib
from collections import Counter

import jax
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV

import logvar
from logvar.data.order import padded, padded_size
from logvar.evaluation.elbo import HeldOut, elbo_terms, held_out_rows
from logvar.networks.initialization import uniform
from logvar.storage.compiled import keep_compiled_programs
from logvar.training.state import partition

X = load_iris().data.astype(np.float32)
TWICE = np.concatenate([X, X + 0.1])


@contextlib.contextmanager
def compilations():
    """The names of all programs compiled meanwhile, those of single operations too."""
    names = Counter()

    def listen(event, seconds, fun_name="", **_):
        if event == "/jax/core/compile/backend_compile_duration":
            names.update([fun_name])

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def fit(rows=X, **settings):
    """A fit of a width that no other test has: what they compiled would not be counted here."""
    return logvar.VAE(
        **({"latent_dim": 2, "network": "mlp(hidden=[11])", "epochs": 2} | settings)
    ).fit(rows)


def use(vae, rows):
    vae.transform(rows), vae.score(rows), vae.sample(3)


def test_other_row_counts_and_numbers_compile_nothing():
    with compilations() as first:
        use(fit(), X)
        fit(optimizer="adamw(weight_decay=1e-2)")
    assert first["jit(take_steps)"] == 2  # the counter counts
    with compilations() as later:
        use(fit(X[:97]), X[:53])
        use(fit(TWICE), TWICE)
        fit(X, validation_fraction=0.2)
        for numbers in (
            {"learning_rate": 3e-3}, {"objective": "elbo(beta=4)"},
            {"objective": "elbo(warmup=1)"}, {"objective": "elbo(free_bits=0.1)"},
            {"clip_norm": 1.0}, {"patience": 1}, {"epochs": 3}, {"random_state": 5},
            {"initial_sigma": 0.5}, {"likelihood": "auto(sigma=0.5)"},
            {"likelihood": "normal(floor=1e-2)"},
            {"optimizer": "adamw(weight_decay=1e-3)"},
        ):  # fmt: skip
            fit(**numbers)
    assert not later


def test_a_grid_search_compiles_three_programs_a_width():
    """Steps, the end of an epoch, the score; for 60 fits and scores and a last fit on all rows."""
    use(fit(network="mlp(hidden=[5])"), X)  # what no width changes
    grid = {
        "network": ["mlp(hidden=[6])", "mlp(hidden=[7])", "mlp(hidden=[9])"],
        "learning_rate": [1e-3, 3e-3],
        "objective": ["elbo", "elbo(beta=2)"],
    }
    with compilations() as names:
        search = GridSearchCV(logvar.VAE(latent_dim=2, epochs=1), grid, cv=5).fit(X)
    assert len(search.cv_results_["params"]) == 12 and np.isfinite(search.best_score_)
    assert names == {"jit(take_steps)": 3, "jit(_end_epoch)": 3, "jit(_map_blocks)": 3}


@pytest.fixture
def no_cache_is_set():
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update(names[0], None)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_the_cache_is_in_the_users_folder(no_cache_is_set, tmp_path, monkeypatch):
    monkeypatch.delenv("LOGVAR_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    keep_compiled_programs()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "logvar" / "compiled")


def test_a_cache_set_by_the_user_stays(monkeypatch, tmp_path):
    before = jax.config.jax_compilation_cache_dir
    monkeypatch.setenv("LOGVAR_CACHE", str(tmp_path / "other"))
    keep_compiled_programs()
    assert before and jax.config.jax_compilation_cache_dir == before
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("where", ["", "file/below"])
def test_without_a_folder_to_write_to_there_is_no_cache(
    no_cache_is_set, where, tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LOGVAR_CACHE", where and str(tmp_path / where))
    fit(epochs=1)
    assert not jax.config.jax_compilation_cache_dir


def test_rows_are_padded_to_few_sizes_and_large_arrays_not_at_all():
    assert padded_size(2, 16) == padded_size(1000, 16) == 1024
    for bytes_per_row in (4, 784, 49_152):
        sizes = set()
        for n in np.unique(np.geomspace(1, 1e7, 3000).astype(int)).tolist():
            size, held = padded_size(n, bytes_per_row), n * bytes_per_row
            sizes.add(size if held <= 2**25 else 0)
            assert size >= n
            if held > 2**25:
                assert size == n
            elif held > 2**20:
                assert size <= n * 9 / 8
            else:
                assert size <= max(2 * n, 1024) and size * bytes_per_row <= 2**21
        assert len(sizes) < 70
    images = np.zeros((60_000, 784), np.uint8)
    assert padded(images) is images


@pytest.mark.parametrize("n", [2, 33, 129, 280])
def test_padding_counts_for_nothing_in_held_out_means(n):
    """Within a block, and in blocks of their own: 280 rows are three blocks, padded to four."""
    vae = fit()
    rows = TWICE[:n]
    params, static = partition(vae.model_)
    held_out = HeldOut.of(rows)
    evaluated = jax.jit(
        lambda held_out, seed: held_out_rows(
            params, static, held_out, vae.fitted_.preparation, seed
        )[0]
    )
    means = evaluated(held_out, 0)
    each = elbo_terms(vae.model_, rows, vae.fitted_.preparation, 0)
    assert held_out.weight.shape[0] == {129: 2, 280: 4}.get(n, 1)
    np.testing.assert_allclose(means.elbo, each.elbo.mean(dtype=np.float64), rtol=1e-5)


@pytest.mark.parametrize("shape", [(3, 5), (3, 3, 32, 64), (2**14,)])
def test_weights_are_those_of_jax_random_uniform(shape):
    key, limit = jax.random.key(3), 0.45
    expected = jax.random.uniform(key, shape, minval=-limit, maxval=limit)
    np.testing.assert_array_equal(uniform(key, shape, limit), expected)
    inside = jax.jit(lambda key: uniform(key, shape, limit))(key)
    np.testing.assert_array_equal(inside, expected)
