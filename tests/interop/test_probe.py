"""The probe names the faults of public code from re-typed formulas, and is silent on right code."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import logvar
from logvar.interop.probing.calling import Called
from tests.cases import every_value_once
from tests.contracts.test_scales import NAMES

HALF_LOG_TWO_PI = 0.5 * np.log(2 * np.pi)


def softplus(x):
    return np.logaddexp(0.0, x)


def normal_log_prob(sigma, log_sigma=None):
    """A Normal's density with σ(raw); log σ may be written apart from it."""
    log_sigma = log_sigma or (lambda raw: np.log(sigma(raw)))
    return lambda z, mean, raw: (
        -0.5 * ((z - mean) / sigma(raw)) ** 2 - log_sigma(raw) - HALF_LOG_TWO_PI
    )


# pythae's HVAE: draws with softplus(log_var), everything else means log σ².
def test_pythaes_hvae():
    found = logvar.probe(
        sample=lambda mean, log_var, eps: mean + softplus(log_var) * eps,
        log_prob=normal_log_prob(lambda lv: np.exp(0.5 * lv), lambda lv: 0.5 * lv),
        kl=lambda mean, log_var: -0.5 * (1 + log_var - mean**2 - np.exp(log_var)),
    )
    assert not found.consistent
    assert found.problems[0].startswith(
        "sample reads the raw output as softplus, log_prob and kl as log-variance"
    )


def test_pythaes_hvae_with_a_sampler_that_draws_its_own_noise():
    rng = np.random.default_rng(0)
    found = logvar.probe(
        sample=lambda mean, lv: mean + softplus(lv) * rng.standard_normal(mean.shape),
        kl=lambda mean, lv: -0.5 * (1 + lv - mean**2 - np.exp(lv)),
        n_samples=20,
    )
    assert "softplus" in found.problems[0] and "kl as log-variance" in found.problems[0]


# Efficient-VDVAE's log-std KL: σ = 2^r, but the logarithm forgets the ln 2.
def test_efficient_vdvaes_log_std_kl():
    found = logvar.probe(
        sample=lambda mean, r, eps: mean + np.exp(np.log(2) * r) * eps,
        kl=lambda mean, r: -0.5 - r + 0.5 * (np.exp(np.log(2) * r) ** 2 + mean**2),
    )
    assert any("σ² reads the raw output as log-std in base 2" in p and "log σ as log-std" in p
               for p in found.problems)  # fmt: skip
    negative = next(p for p in found.problems if "never negative" in p)
    assert "falls to -0.043" in negative  # at σ = 2^0.2644 = 1.2011
    assert "raw = 0.2644" in negative


# keras#9972, keras#3283: drawn as if the layer were log σ, penalized as if it were log σ².
def test_keras_mix_up():
    found = logvar.probe(
        sample=lambda mean, z_log, eps: mean + np.exp(z_log) * eps,
        kl=lambda mean, z_log: -0.5 * (1 + z_log - mean**2 - np.exp(z_log)),
    )
    assert len(found.problems) == 1
    assert found.problems[0].startswith(
        "sample reads the raw output as log-std, kl as log-variance"
    )


# semi-supervised-pytorch: log_var = softplus(layer), then used as a log-variance everywhere.
def test_softplus_of_a_log_variance():
    found = logvar.probe(
        sample=lambda mean, r, eps: mean + np.exp(0.5 * softplus(r)) * eps,
        log_prob=normal_log_prob(lambda r: np.exp(0.5 * softplus(r)), lambda r: 0.5 * softplus(r)),
        kl=lambda mean, r: -0.5 * (1 + softplus(r) - mean**2 - np.exp(softplus(r))),
    )
    assert len(found.problems) == 1
    assert "softplus of a log-variance" in found.problems[0]
    assert "cannot fall below 1" in found.problems[0]


# PyTorch Geometric's VGAE: documented as log σ², computed as log σ. Consistent, and named.
def test_a_documented_log_variance_that_is_a_log_std_is_named():
    found = logvar.probe(
        sample=lambda mean, logstd, eps: mean + eps * np.exp(logstd),
        kl=lambda mean, logstd: -0.5 * (1 + 2 * logstd - mean**2 - np.exp(logstd) ** 2),
    )
    assert found.consistent
    assert found.readings["sample"].means == found.readings["kl"].means == ("log-std",)


def test_a_density_whose_height_forgets_the_half():
    found = logvar.probe(log_prob=normal_log_prob(lambda lv: np.exp(0.5 * lv), lambda lv: lv))
    assert "log_prob's square reads the raw output as log-variance" in found.problems[0]
    assert "log_prob's height as log-std" in found.problems[0]


def test_sigma_equal_to_the_raw_output():
    found = logvar.probe(sample=lambda mean, r, eps: mean + r * eps)
    assert any("negative at" in problem for problem in found.problems)
    assert any("nothing keeps it positive" in problem for problem in found.problems)


def test_a_wrong_sign_a_wrong_mean_and_no_normal_are_named():
    kl = lambda mean, lv: -0.5 * (1 + lv - mean**2 - np.exp(lv))  # noqa: E731
    assert "returns −KL" in logvar.probe(kl=lambda m, r: -kl(m, r)).problems[0]
    assert "a mean of 1 adds" in logvar.probe(kl=lambda m, r: kl(2 * m, r)).problems[0]
    laplace = logvar.probe(log_prob=lambda z, m, r: -np.abs(z - m) / np.exp(r) - r)
    assert "no Normal density" in " ".join(laplace.problems)


def functions(name):
    """Right functions under a scale, in JAX."""
    scale = logvar.scales.get(name)
    return {
        "sample": lambda mean, raw, eps: logvar.Normal(mean, raw, scale).reparameterize(eps),
        "log_prob": lambda z, mean, raw: logvar.Normal(mean, raw, scale).log_prob(z),
        "kl": lambda mean, raw: logvar.Normal(mean, raw, scale).kl(),
    }


def test_every_pair_of_different_scales_is_told_apart():
    names = [name for name, entry in logvar.scales.REGISTRY.items()
             if not entry.wraps and not entry.preset]  # fmt: skip
    for one in names:
        for other in names:
            if one != other:
                found = logvar.probe(sample=functions(one)["sample"], kl=functions(other)["kl"])
                assert f"sample reads the raw output as {one}, kl as {other}" in found.problems[0]


SAME = {"vdvae": "log-std", "efficient-vdvae": "softplus-ln2", "pyro": "softplus",
        "diffusers": "log-variance"}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_right_code_raises_no_alarm_and_is_named(name):
    found = logvar.probe(**functions(name))
    assert found.consistent, str(found)
    if name in logvar.scales.REGISTRY:
        expected = SAME.get(name, name)
        assert found.readings["sample"].means == (expected,)
        assert found.readings["log_prob's square"].means == (expected,)
        assert found.readings["kl"].means == (expected,)


@pytest.mark.parametrize(("name", "n_samples"), every_value_once(NAMES, [2, 20]))
def test_no_alarm_at_small_sample_sizes(name, n_samples):
    mine = functions(name)
    mine["sample"] = lambda mean, raw, key: logvar.Normal(mean, raw, name).sample(key)
    for seed in range(4):
        found = logvar.probe(**mine, n_samples=n_samples, seed=seed)
        assert found.consistent, str(found)


@pytest.mark.parametrize("n_samples", [2, 7])
def test_the_alarm_is_as_rare_as_it_says(n_samples):
    """300 right samplers, each with noise of its own: at a level of 5 % some 15 would be alarms."""
    for seed in range(300):
        rng = np.random.default_rng(seed)
        found = logvar.probe(
            sample=lambda m, r, rng=rng: m + np.exp(r) * rng.standard_normal(m.shape),
            kl=lambda mean, r: 0.5 * (np.expm1(2 * r) - 2 * r + mean**2),
            n_samples=n_samples,
        )
        assert found.consistent, str(found)


def test_summed_functions_and_rng_samplers_are_read_too():
    scale = logvar.scales.get("softplus")
    found = logvar.probe(
        sample=lambda mean, raw, rng: mean + softplus(raw) * rng.standard_normal(mean.shape),
        log_prob=lambda z, mean, raw: np.asarray(logvar.Normal(mean, raw, scale).log_prob(z)).sum(
            -1
        ),
        kl=lambda mean, raw: np.asarray(logvar.Normal(mean, raw, scale).kl()).sum(),
        n_samples=4000,
    )
    assert found.consistent and found.readings["sample"].means[0] == "softplus"


def test_a_scale_of_ones_own_is_consistent_without_a_name():
    sigma = lambda raw: softplus(raw) + 0.3  # noqa: E731
    found = logvar.probe(
        sample=lambda mean, raw, eps: mean + sigma(raw) * eps,
        log_prob=normal_log_prob(sigma),
        kl=lambda mean, raw: 0.5 * (sigma(raw) ** 2 + mean**2 - 1) - np.log(sigma(raw)),
    )
    assert found.consistent and found.readings["sample"].means == ()
    wrong = logvar.probe(
        sample=lambda mean, raw, eps: mean + (softplus(raw) + 0.31) * eps,
        log_prob=normal_log_prob(sigma),
    )
    assert not wrong.consistent


def test_float32_and_half_precision_code_is_not_called_wrong():
    for dtype in (np.float32, np.float16):
        found = logvar.probe(
            sample=lambda m, r, e, d=dtype: (m + np.exp(0.5 * r.astype(d)) * e).astype(d),
            kl=lambda m, r, d=dtype: (0.5 * (np.exp(r) + m**2 - 1 - r)).astype(d),
        )
        assert found.consistent, str(found)


def test_pytorch_functions():
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    import torch

    def kl(mean, logvar_):
        return -0.5 * torch.sum(1 + logvar_ - mean.pow(2) - logvar_.exp(), dim=-1)

    def draw(mean, logvar_):
        return mean + torch.exp(0.5 * logvar_) * torch.randn_like(mean)

    assert logvar.probe(sample=draw, kl=kl).consistent
    wrong = logvar.probe(sample=lambda m, r: m + torch.exp(r) * torch.randn_like(m), kl=kl)
    assert "log-std" in wrong.problems[0] and "kl as log-variance" in wrong.problems[0]


def test_jax_functions_under_jit():
    found = logvar.probe(
        sample=jax.jit(
            lambda mean, raw, key: mean + jnp.exp(raw) * jax.random.normal(key, mean.shape)
        ),
        kl=jax.jit(lambda mean, raw: 0.5 * (jnp.exp(2 * raw) + mean**2 - 1) - raw),
    )
    assert found.consistent and found.readings["kl"].means == ("log-std",)


def test_what_cannot_be_probed_is_refused():
    with pytest.raises(logvar.LogvarError, match="nothing to look at"):
        logvar.probe()
    with pytest.raises(logvar.LogvarError, match="expected a function"):
        Called(3, "kl")
    with pytest.raises(logvar.LogvarError, match=r"expected kl\(mean, raw\)"):
        logvar.probe(kl=lambda mean: mean)
    with pytest.raises(logvar.LogvarError, match="at least 2"):
        logvar.probe(kl=lambda m, r: r, n_samples=1)
