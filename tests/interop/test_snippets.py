"""The printed code runs and agrees with the scale it was printed for, edge cases included."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import logvar
from logvar.interop.snippets.dialects import DIALECTS
from logvar.interop.snippets.listing import listing
from tests.cases import slow
from tests.contracts.test_scales import NAMES, PRESETS

SAMPLERS = {
    "numpy": lambda f, mean, raw: f(mean, raw, np.random.default_rng(0)),
    "jax": lambda f, mean, raw: f(mean, raw, jax.random.key(0)),
    "torch": lambda f, mean, raw: f(mean, raw),
    "tensorflow": lambda f, mean, raw: f(mean, raw),
}


def needs(framework):
    if framework in ("torch", "tensorflow") and importlib.util.find_spec(framework) is None:
        pytest.skip(f"{framework} is not installed")


def arrays(framework, values, dtype):
    values = np.asarray(values, dtype)
    if framework == "torch":
        import torch

        return torch.tensor(values, requires_grad=True)
    if framework == "tensorflow":
        import tensorflow

        return tensorflow.constant(values)
    return values if framework == "numpy" else jnp.asarray(values)


def plain(value):
    return np.asarray(value.detach() if hasattr(value, "detach") else value, float)


def gradient(framework, function, values):
    if framework == "jax":
        return np.asarray(jax.jit(jax.grad(lambda v: function(v).sum()))(values), float)
    if framework == "torch":
        import torch

        return torch.autograd.grad(function(values).sum(), values)[0].numpy()
    import tensorflow

    with tensorflow.GradientTape() as tape:
        tape.watch(values)
        out = function(values)
    return tape.gradient(out, values).numpy()


def raws(scale, dtype=np.float32):
    """Over the safe range, far out and close to σ = 1."""
    low, high = scale.safe_range(dtype)
    low, high = max(low, -80.0), min(high, 80.0)
    near = np.array([-1e-2, -1e-3, 0.0, 1e-3, 1e-2])
    bottom, top = (float(np.asarray(bound).max()) for bound in scale.bounds)
    root = float(scale.raw(1.0)) if bottom < 1 < top else 0.0
    inside = np.concatenate([np.linspace(low * 0.98, high * 0.98, 33), root + near, [root, 0.0]])
    return np.clip(inside, low, high)


def cases(frameworks):
    """Presets are for `make test-all`, except in NumPy."""
    return [
        slow(framework, name) if framework != "numpy" and name in PRESETS else (framework, name)
        for framework in frameworks
        for name in NAMES
    ]


@pytest.mark.parametrize(("framework", "name"), cases(DIALECTS))
def test_printed_code_agrees_with_the_scale(framework, name):
    needs(framework)
    scale, code = logvar.scales.get(name), {}
    exec(compile(listing(name, framework), name, "exec"), code)
    values = raws(scale)
    raw = arrays(framework, values, np.float32)
    mean = arrays(framework, np.full(len(values), 0.25), np.float32)
    z = arrays(framework, np.full(len(values), 0.5), np.float32)
    q = logvar.Normal(jnp.float32(0.25), jnp.asarray(values, jnp.float32), scale)
    for got, expected in (
        (code["log_sigma"](raw), q.log_sigma), (code["sigma"](raw), q.sigma),
        (code["log_prob"](z, mean, raw), q.log_prob(jnp.float32(0.5))),
        (code["kl"](mean, raw), q.kl()),
    ):  # fmt: skip
        got, expected = plain(got), np.asarray(expected, float)
        # The KL of a σ² near the largest float may overflow one rounding earlier or later.
        np.testing.assert_allclose(got, expected, rtol=2e-4, atol=2e-6)
    drawn = plain(SAMPLERS[framework](code["sample"], mean, raw))
    assert drawn.shape == values.shape and np.isfinite(drawn).all()


@pytest.mark.parametrize(("framework", "name"), cases(["jax", "torch", "tensorflow"]))
def test_gradients_of_printed_code_are_finite_and_right(framework, name):
    """Where a branch that was not taken overflows, careless code has NaN gradients."""
    needs(framework)
    scale, code = logvar.scales.get(name), {}
    exec(compile(listing(name, framework), name, "exec"), code)
    values = raws(scale)
    values = values[np.abs(np.asarray(scale.log_sigma(jnp.asarray(values, jnp.float32)))) < 20]
    if "hard" in name or name in ("diffusers", "sac"):  # the kink itself has no derivative
        values = values + 1e-3
    raw = arrays(framework, values, np.float32)
    expected = jax.jit(jax.vmap(jax.grad(scale.log_sigma)))(jnp.asarray(values, jnp.float32))
    got = gradient(framework, code["log_sigma"], raw)
    np.testing.assert_allclose(got, np.asarray(expected), rtol=2e-3, atol=1e-5)
    kl = gradient(framework, lambda r: code["kl"](0.0 * r, r), raw)
    assert np.isfinite(kl).all()


def test_draws_of_printed_code_have_the_right_spread():
    code = {}
    exec(listing("softplus", "numpy"), code)
    drawn = code["sample"](np.zeros(20_000), np.full(20_000, 1.0), np.random.default_rng(0))
    assert drawn.std() == pytest.approx(float(logvar.scales.get("softplus").sigma(1.0)), rel=0.03)


@pytest.mark.parametrize("framework", ["numpy", "jax"])
def test_far_below_the_logarithm_is_still_right(framework):
    """log(1 + e^r) is 0 in float32 from r = −104 on, and in float64 from −746."""
    for name, expected in (("softplus", -800.0), ("softplus-variance", -400.0)):
        code = {}
        exec(listing(name, framework), code)
        assert float(code["log_sigma"](arrays(framework, -800.0, np.float32))) == expected


def test_a_collapsed_latents_kl_keeps_its_digits_in_float32():
    """½(e^r − 1 − r) as people write it is 232 % off at r = 1e-4."""
    code = {}
    exec(listing("log-variance", "numpy"), code)
    r = np.float32(1e-4)
    assert float(code["kl"](np.float32(0), r)) == pytest.approx(float(r) ** 2 / 4, rel=1e-4)


def test_what_cannot_be_printed_is_refused():
    with pytest.raises(logvar.LogvarError, match="straight-through"):
        listing("clamped(log-std, low=-1, high=1, straight_through=True)", "numpy")
    with pytest.raises(logvar.LogvarError, match="did you mean 'torch'"):
        listing("log-std", "toch")
