"""Constants of the scales, from mpmath or from a derivation on paper, not from the package."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import logvar

# name: (r at σ = 1, ds/dr there, d at σ = 1e-3, 1, 10); None where σ is out of reach.
TABLE = {
    "log-variance": (0, 0.5, (0.5, 0.5, 0.5)),
    "log-std": (0, 1, (1, 1, 1)),
    "isometric": (0, 0.70711, (0.70711, 0.70711, 0.70711)),
    "softplus": (0.541325, 0.632121, (0.9995, 0.6321, 0.1)),
    "softplus-ln2": (0, 0.5, (0.693, 0.5, 0.1)),
    "softplus-variance": (0.541325, 0.316060, (0.5, 0.316, 0.005)),
    "exp-linear": (0, 1, (1, 1, 0.1)),
    "stdplus": (0, 0.707107, (3.58, 0.7071, 0.098)),
    "log-precision": (0, -0.5, (-0.5, -0.5, -0.5)),
    "softplus-precision": (0.541325, -0.316060, (-5e-7, -0.316, -0.4975)),
    "tanh-bounded": (0, 1, (None, 1, 0.788)),
}


@pytest.mark.parametrize("name", TABLE)
def test_raw_and_slopes_of_the_table(name, float64):
    scale = logvar.scales.get(name)
    at_one, growth, slopes = TABLE[name]
    assert float(scale.raw(1.0)) == pytest.approx(at_one, abs=1e-6)
    assert float(jax.grad(scale.sigma)(scale.raw(1.0))) == pytest.approx(growth, abs=1e-5)
    for sigma, slope in zip((1e-3, 1.0, 10.0), slopes, strict=True):
        if slope is None:
            with pytest.raises(ValueError, match="out of reach"):
                scale.raw(sigma)
        else:
            assert float(scale.slope(scale.raw(sigma))) == pytest.approx(slope, rel=5e-3)


@pytest.mark.parametrize(
    ("raw", "sigma"),
    [(-3, 0.006738099959), (-2, 0.08236389593), (-1, 0.3982390483), (-0.5, 0.6699119543),
     (0.5, 1.372120531), (1, 1.773751172), (2, 2.633789553), (3, 3.539486291)],
)  # fmt: skip
def test_stdplus_values(raw, sigma, float64):
    scale = logvar.scales.get("stdplus")
    assert float(scale.sigma(float(raw))) == pytest.approx(sigma, rel=1e-9)
    # σ = √(−W_k(−e^{−1−r²})), the other branch of Lambert's W for r > 0.
    branch = -1 if raw > 0 else 0
    exact = mpmath.sqrt(-mpmath.lambertw(-mpmath.exp(-1 - mpmath.mpf(raw) ** 2), branch).real)
    assert float(scale.sigma(float(raw))) == pytest.approx(float(exact), rel=1e-13)


@pytest.mark.parametrize(
    ("mean", "sigma", "kl"),
    [(0.0, 0.5, 0.3181471805599453), (1.0, 0.5, 0.8181471805599453),
     (0.0, 2.0, 0.8068528194400547), (2.0, 1e-3, None)],
)  # fmt: skip
@pytest.mark.parametrize("name", ["log-variance", "log-std", "softplus", "stdplus", "exp-linear"])
def test_kl_to_the_standard_normal(mean, sigma, kl, name, float64):
    if kl is None:
        kl = 0.5 * (sigma**2 + mean**2 - 1) - np.log(sigma)
    q = logvar.Normal(mean, logvar.scales.get(name).raw(sigma), name)
    assert float(q.kl()) == pytest.approx(kl, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "formula"),
    {
        "diffusers": lambda r: np.exp(np.clip(r, -30, 20) / 2),
        "nvae": lambda r: np.exp(5 * np.tanh(r / 5)) + 0.01,
        "vdvae": np.exp,
        "efficient-vdvae": lambda r: np.log1p(2.0**r) / np.log(2),
        "scvi": lambda r: np.sqrt(np.exp(r) + 1e-4),
        "tfp": lambda r: np.log1p(np.exp(r)) + 1e-5,
        "pyro": lambda r: np.log1p(np.exp(r)),
        "dreamer-v2": lambda r: 2 / (1 + np.exp(-r / 2)) + 0.1,
        "sac": lambda r: np.exp(np.clip(r, -20, 2)),
        "cleanrl": lambda r: np.exp(-5 + 3.5 * (np.tanh(r) + 1)),
    }.items(),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_presets_carry_their_sources_constants(name, formula, float64):
    raw = np.linspace(-40, 30, 281)
    np.testing.assert_allclose(logvar.scales.get(name).sigma(raw), formula(raw), rtol=1e-12)


def test_presets_that_bound_sigma_reach_what_their_sources_say(float64):
    low, high = logvar.scales.get("nvae").bounds
    assert (low, high) == (pytest.approx(0.0167, abs=5e-5), pytest.approx(148.42, abs=0.01))
    assert float(logvar.scales.get("cleanrl").sigma(0.0)) == pytest.approx(0.223, abs=5e-4)
    assert logvar.scales.initial_sigma("pyro") == 0.1


@pytest.mark.parametrize(
    ("name", "supremum", "at"), [("softplus", 1.136067, 2.514), ("softplus-ln2", 1.0863, 4.0075),
                                 ("softplus-variance", 0.206050, 0.163)],
)  # fmt: skip
def test_largest_curvature(name, supremum, at, float64):
    scale = logvar.scales.get(name)
    raw = jnp.linspace(-5.0, 10.0, 150_001)
    curvature = jax.jit(jax.vmap(jax.grad(jax.grad(scale.kl_excess))))(raw)
    assert float(curvature.max()) == pytest.approx(supremum, rel=1e-4)
    assert float(raw[curvature.argmax()]) == pytest.approx(at, abs=5e-3)


# Where float32 keeps σ² finite and positive on CPU, whose compiled code flushes subnormals.
FLUSHED = {
    "log-variance": (-87.34, 88.72),
    "log-std": (-43.67, 44.36),
    "isometric": (-61.76, 62.74),
    "softplus": (-43.67, 1.84e19),
    "softplus-variance": (-87.34, 3.4e38),
    "stdplus": (-9.29, 1.84e19),
}


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="states what holds on CPU")
@pytest.mark.parametrize("name", FLUSHED)
def test_safe_range_in_float32(name):
    low, high = logvar.scales.get(name).safe_range(jnp.float32)
    assert low == pytest.approx(FLUSHED[name][0], abs=0.01)
    assert high == pytest.approx(FLUSHED[name][1], rel=5e-3)


def test_safe_range_in_float16_matches_the_clamp_people_use():
    low, high = logvar.scales.get("log-variance").safe_range(jnp.float16)
    assert (low, high) == (pytest.approx(-17.33, abs=0.01), pytest.approx(11.09, abs=0.01))
    assert not (low <= -30 and high >= 20), "the clamp [−30, 20] is not float16-safe"


def test_fresh_network_outputs_cost_more_kl_under_log_std(float64):
    """Raw outputs N(0, ⅓): E[excess KL] is 0.091 nats under log-variance, 0.474 under log-std."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    for variance, of_log_variance, of_log_std in ((1 / 3, 0.091, 0.474), (1.0, 0.324, 3.19)):
        raw = nodes * np.sqrt(variance)
        for name, expected in (("log-variance", of_log_variance), ("log-std", of_log_std)):
            mean = np.sum(weights * logvar.scales.get(name).kl_excess(raw))
            assert mean == pytest.approx(expected, abs=6e-3)
