"""Real values are standardized in float64: their offset and unit cost no digits."""

import numpy as np
import pytest

import logvar
from logvar import assembly
from logvar.data.preparation import as_float32, as_rows
from logvar.data.standardization import Standardization
from logvar.recipe import Recipe
from logvar.storage.run_folder import STANDARDIZATION

QUICK = {"latent_dim": 2, "network": "mlp(hidden=[8])", "epochs": 4, "validation_fraction": 0.0}
MIXED = np.array([[1.0, 0.5, 0.2], [0.0, 1.0, -0.4], [0.0, 0.0, 0.3]])
BASE = np.random.default_rng(0).normal(size=(300, 3)) @ MIXED
UNITS = {
    "an offset of 1e8": (1.0, 1e8),
    "epoch milliseconds": (5e4, 1.7e12),
    "1e-300": (1e-300, 0.0),
    "1e-40": (1e-40, 0.0),
    "1e-40 away from 0": (1e-40, 3e-38),
    "1e300": (1e300, 0.0),
}


@pytest.fixture(scope="module")
def plain():
    return logvar.VAE(**QUICK).fit(BASE)


@pytest.mark.parametrize("case", UNITS)
def test_offset_and_unit_change_the_density_by_the_units_logarithm_alone(case, plain):
    unit, offset = UNITS[case]
    X = unit * BASE + offset
    vae = logvar.VAE(**QUICK).fit(X)
    np.testing.assert_allclose(vae.transform(X), plain.transform(BASE), atol=1e-4)
    assert len(np.unique(vae.transform(X)[:, 0])) == len(X)
    eps = np.zeros((len(X), 2))
    change = vae.elbo(X, eps=eps) - plain.elbo(BASE, eps=eps)
    np.testing.assert_allclose(change, -3 * np.log(unit), atol=2e-3)
    for given, expected in (
        (vae.reconstruct(X), plain.reconstruct(BASE)),
        (vae.sample(20), plain.sample(20)),
    ):
        np.testing.assert_allclose((given - offset) / unit, expected, atol=2e-3)


@pytest.mark.parametrize("case", UNITS)
def test_a_saved_standardization_is_the_same_to_the_bit(case, tmp_path):
    unit, offset = UNITS[case]
    X = unit * BASE + offset
    vae = logvar.VAE(**(QUICK | {"epochs": 1})).fit(X)
    again = logvar.load(vae.save(tmp_path / "run"))
    for name in ("shift", "factor", "low", "high"):
        expected = getattr(vae.fitted_.units, name)
        assert expected.dtype == np.float64
        np.testing.assert_array_equal(getattr(again.fitted_.units, name), expected)
    assert again.sample(3).dtype == vae.sample(3).dtype
    np.testing.assert_array_equal(again.elbo(X), vae.elbo(X))


def test_a_changed_standardization_is_refused(tmp_path):
    path = logvar.VAE(**(QUICK | {"epochs": 1})).fit(BASE).save(tmp_path / "run")
    (path / STANDARDIZATION).write_bytes((path / STANDARDIZATION).read_bytes()[:-1])
    with pytest.raises(logvar.LogvarError, match="its hash differs"):
        logvar.load(path)
    (path / STANDARDIZATION).unlink()
    with pytest.raises(logvar.LogvarError, match=f"lacks {STANDARDIZATION}"):
        logvar.load(path)


def test_the_same_values_in_any_dtype_give_the_same_bytes(tmp_path):
    values = np.random.default_rng(0).integers(-50, 50, size=(80, 3))
    files = []
    for dtype in (np.float16, np.float32, np.float64, np.int8, np.int64, ">f8"):
        settings = {"validation_fraction": 0.2, "epochs": 2, "likelihood": "normal"}
        vae = logvar.VAE(**(QUICK | settings))
        path = vae.fit(values.astype(dtype)).save(tmp_path / np.dtype(dtype).str)
        files.append({f.name: f.read_bytes() for f in path.iterdir() if f.is_file()})
        files[-1]["scores"] = vae.elbo(values.astype(dtype)).tobytes()
        if len(files) > 1:
            assert files[-1] == files[0], dtype


def test_the_sign_of_zero_changes_no_score(plain):
    zeros = np.zeros((1, 3))
    np.testing.assert_array_equal(plain.elbo(-zeros), plain.elbo(zeros))


def test_statistics_are_those_of_numpy_and_of_extreme_values_exact():
    found = Standardization.of_rows(BASE)
    np.testing.assert_allclose(found.shift, BASE.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.factor, BASE.std(0), rtol=1e-12)
    seen, outside, _ = found.to_model(BASE)
    assert seen.dtype == np.float32 and not len(outside)
    np.testing.assert_allclose(seen.mean(0, dtype=float), 0, atol=1e-7)
    np.testing.assert_allclose(seen.std(0, dtype=float), 1, rtol=1e-6)
    for exponent in (-1000, 1000):
        extreme = Standardization.of_rows(np.ldexp(BASE, exponent))
        np.testing.assert_array_equal(np.ldexp(extreme.factor, -exponent), found.factor)
        np.testing.assert_array_equal(extreme.to_model(np.ldexp(BASE, exponent))[0], seen)


def test_many_blocks_of_rows_are_as_one():
    rows = np.random.default_rng(0).normal(7, 3, size=(3000, 700)).astype(np.float32)
    found = Standardization.of_rows(rows)  # 1,497 rows at a time
    np.testing.assert_allclose(found.factor, rows.std(0, dtype=float), rtol=1e-12)
    seen, _, _ = found.to_model(rows)
    expected = (rows.astype(float) - found.shift) / found.factor
    np.testing.assert_array_equal(seen, expected.astype(np.float32))


def test_what_float64_cannot_resolve_is_named_as_constant():
    rng = np.random.default_rng(0)
    X = np.column_stack([
        BASE[:, 0], np.full(300, 0.1), 1e8 + 1e-7 * rng.normal(size=300), np.zeros(300),
    ])  # fmt: skip
    said = []
    settings = {"epochs": 1, "likelihood": "normal"}
    vae = logvar.VAE(**(QUICK | settings)).fit(X, announce=said.append)
    (note,) = [line for line in said if line.startswith("constant")]
    assert "column 1 (mean 0.1, spread 0)" in note and "column 3 (mean 0, spread 0)" in note
    assert "column 2 (mean 1e+08, spread 1" in note and "column 0" not in note
    assert vae.decisions_.notes == (note,)
    np.testing.assert_array_equal(vae.fitted_.units.factor[1:], 1)
    resolved = 1e8 + 1e-4 * rng.normal(size=(300, 1))
    assert Standardization.of_rows(resolved).factor[0] == pytest.approx(1e-4, rel=0.2)
    assert not Standardization.of_rows(resolved).note


def test_a_constant_column_of_many_rows_has_no_spread_from_rounding():
    """The sum of 0.1 a million times is off by more than 1e-13 of itself."""
    found = Standardization.of_rows(np.full((1_000_000, 1), 0.1))
    assert found.note and found.factor[0] == 1 and found.shift[0] == 0.1


def test_values_beyond_float32_are_for_likelihoods_that_standardize():
    assert as_rows(np.full((2, 1), 1e300)).dtype == np.float64
    pixels = np.random.default_rng(0).integers(0, 256, size=(40, 3))
    settings = QUICK | {"epochs": 1, "likelihood": "discretized-logistic"}
    with pytest.raises(logvar.LogvarError, match=r"1e\+300 \(too large for float32\) at row 1"):
        as_float32(np.vstack([pixels[:1], np.full((1, 3), 1e300)]))
    with pytest.raises(
        logvar.LogvarError, match=r"got 1e\+300 at row 1, column 0 .* from 0 to 255"
    ):
        logvar.VAE(**settings).fit(np.vstack([pixels[:1], np.full((1, 3), 1e300), pixels]))
    vae = logvar.VAE(**settings).fit(pixels)
    with pytest.raises(logvar.LogvarError, match="expects levels from 0 to 255"):
        vae.score_samples(pixels + 200)
    for bad in (np.inf, -np.inf):
        with pytest.raises(logvar.LogvarError, match="expected finite numbers"):
            logvar.VAE(**QUICK).fit(np.where(np.eye(300, 3) > 0, bad, BASE))


def test_dequantization_adds_one_level_in_the_units_of_the_model():
    integers = np.random.default_rng(0).integers(0, 9, size=(400, 2)) * [1, 100]
    recipe = Recipe().replace(**QUICK, likelihood="normal", dequantize=True)
    run = assembly.build_run(recipe, assembly.TrainingData(integers.astype(float)))
    import jax

    keys = jax.random.split(jax.random.key(0), 400)
    noisy = np.asarray(jax.vmap(run.prepared)(run.rows.values, keys), float)
    added = noisy * run.units.factor + run.units.shift - integers
    assert np.abs(added).max() <= 0.5 + 1e-4 and (np.abs(added).max(0) > 0.48).all()
    np.testing.assert_allclose(added.std(0), np.sqrt(1 / 12), rtol=0.1)


def test_a_failure_of_data_in_tiny_units_is_told_without_nan():
    vae = logvar.VAE(**(QUICK | {"epochs": 20}), optimizer="sgd", learning_rate=1e5)
    with pytest.raises(logvar.LogvarError, match="learning rate") as error:
        vae.fit(1e-300 * BASE)
    assert " nan " not in str(error.value) and "feature" not in vae.diagnosis_.cause


SIGNS = np.where(np.arange(40) % 4, 1.0, -1.0)[:, None]


@pytest.mark.parametrize(
    "rows",
    [
        np.where(SIGNS > 0, 5e-324, 0.0),  # their spread rounds to 0
        SIGNS * 1.7e308,  # their difference overflows
        1e300 * (1 + 1e-15 * SIGNS),  # constant but for rounding noise of 1e285
        np.full((40, 1), 2**63, np.uint64) + np.arange(40, dtype=np.uint64)[:, None] * 4096,
    ],
    ids=["denormals", "the ends of float64", "noise about 1e300", "large identifiers"],
)
def test_what_a_model_reads_of_its_training_rows_is_of_order_1(rows):
    found = Standardization.of_rows(rows)
    seen, outside, _ = found.to_model(rows)
    assert np.isfinite(seen).all() and np.abs(seen).max() < 10 and not len(outside)
    assert np.isfinite(found.log_factor).all()
    assert (found.low <= found.high).all()
