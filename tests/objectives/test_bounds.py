"""MIWAE, PIWAE, CIWAE and Rényi's bound, against NumPy and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

import logvar
from tests.objectives.tiny import batch_of, gradients, linear_model, some_rows

pytestmark = pytest.mark.usefixtures("float64")
WEIGHT = np.array([1.0, 0.5, 2.0])
SAMPLES = 6


def log_weights(encoder, decoder, rows, eps, sigma):
    """log p(x, z)/q(z | x) of the tiny model, (rows, samples), by SciPy."""
    mean, raw = np.split(rows @ encoder[:-1] + encoder[-1], 2, axis=1)
    z = mean[:, None] + np.exp(raw)[:, None] * eps
    location = z @ decoder[:-1] + decoder[-1]
    log_p = norm.logpdf(rows[:, None], location, sigma).sum(-1) + norm.logpdf(z).sum(-1)
    return log_p - norm.logpdf(z, mean[:, None], np.exp(raw)[:, None]).sum(-1)


def log_mean(log_w):
    return logsumexp(log_w, axis=-1) - np.log(log_w.shape[-1])


def power_mean(log_w, alpha):
    return log_mean((1 - alpha) * log_w) / (1 - alpha)


BOUNDS = {
    "miwae(outer=3, inner=2)": lambda w: log_mean(w.reshape(3, 3, 2)).mean(1),
    "miwae(outer=2, inner=3)": lambda w: log_mean(w.reshape(3, 2, 3)).mean(1),
    "ciwae(beta=0.3, samples=6)": lambda w: 0.3 * w.mean(1) + 0.7 * log_mean(w),
    "renyi(alpha=0.6, samples=6)": lambda w: power_mean(w, 0.6),
    "renyi(alpha=-1, samples=6)": lambda w: power_mean(w, -1),
    "renyi(alpha=2.5, samples=6)": lambda w: power_mean(w, 2.5),
}


@pytest.fixture
def setting():
    model = linear_model(2)
    noise = np.random.default_rng(2).normal(size=(3, SAMPLES, 2))
    return model, np.asarray(some_rows(3)), noise


def of_model(text, setting):
    model, rows, noise = setting
    objective = logvar.objectives.get(text)
    found = gradients(objective, model, batch_of(jnp.asarray(rows), WEIGHT))
    loss, gradient = found(jnp.asarray(noise)[None])
    return float(loss[0]), {part: np.asarray(leaves[0]) for part, leaves in gradient.items()}


def sigma_of(model):
    noise = model.likelihood.noise
    return float(noise.scale.sigma(noise.raw))


def stacked(layer):
    return np.concatenate([np.asarray(layer.kernel), np.asarray(layer.bias)[None]])


@pytest.mark.parametrize("text", BOUNDS)
def test_value_and_gradient(text, setting):
    model, rows, noise = setting
    encoder, decoder = stacked(model.encoder), stacked(model.decoder)

    def loss(encoder, decoder):
        bound = BOUNDS[text](log_weights(encoder, decoder, rows, noise, sigma_of(model)))
        return -np.sum(WEIGHT * bound) / WEIGHT.sum()

    got, gradient = of_model(text, setting)
    assert got == pytest.approx(loss(encoder, decoder), rel=1e-12)
    step = 1e-5
    for name, at in (("encoder", 0), ("decoder", 1)):
        for place in np.ndindex((encoder, decoder)[at].shape):
            losses = []
            for sign in (1, -1):
                moved = [encoder.copy(), decoder.copy()]
                moved[at][place] += sign * step
                losses.append(loss(*moved))
            slope = (losses[0] - losses[1]) / (2 * step)
            flat = np.ravel_multi_index(place, (encoder, decoder)[at].shape)
            assert gradient[name][flat] == pytest.approx(slope, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("miwae(outer=1, inner=6)", "iwae(samples=6)"),
        ("miwae(outer=6, inner=1)", "elbo(samples=6, analytic_kl=false)"),
        ("ciwae(beta=1, samples=6)", "elbo(samples=6, analytic_kl=false)"),
        ("ciwae(beta=0, samples=6)", "iwae(samples=6)"),
        ("renyi(alpha=0, samples=6)", "iwae(samples=6)"),
        ("piwae(outer=1, inner=6)", "iwae(samples=6)"),
    ],
)
def test_identities(one, other, setting):
    (a, slopes_of_a), (b, slopes_of_b) = of_model(one, setting), of_model(other, setting)
    assert a == pytest.approx(b, rel=1e-12)
    for part, slope in slopes_of_a.items():
        np.testing.assert_allclose(slope, slopes_of_b[part], rtol=1e-8, atol=1e-10)


def test_renyi_near_one_is_the_elbo_to_its_last_digits(setting):
    near = of_model("renyi(alpha=0.999999, samples=6)", setting)[0]
    at = of_model("elbo(samples=6, analytic_kl=false)", setting)[0]
    assert near == pytest.approx(at, abs=1e-4)
    assert near < at


def test_piwae_teaches_the_encoder_as_miwae_and_the_rest_as_iwae(setting):
    loss, slopes = of_model("piwae(outer=3, inner=2)", setting)
    of_miwae = of_model("miwae(outer=3, inner=2)", setting)[1]
    value, of_iwae = of_model("iwae(samples=6)", setting)
    assert loss == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(slopes["encoder"], of_miwae["encoder"], rtol=1e-9)
    for part in ("decoder", "likelihood"):
        np.testing.assert_allclose(slopes[part], of_iwae[part], rtol=1e-9)
    for part in ("encoder", "decoder"):  # the two differ, or this would show nothing
        assert np.abs(of_miwae[part] - of_iwae[part]).max() > 1e-3


def test_renyi_keeps_its_digits_in_float32():
    """α near 1: the plain formula divides rounding errors by 1 − α."""
    with jax.enable_x64(False):
        model = linear_model(2)
        rows = some_rows(1).astype(jnp.float32) * 5
        noise = np.random.default_rng(2).normal(size=(1, SAMPLES, 2)).astype(np.float32)
        objective = logvar.objectives.get("renyi(alpha=0.99999, samples=6)")
        loss = gradients(objective, model, batch_of(rows))(jnp.asarray(noise)[None])[0]
    encoder, decoder = (stacked(layer).astype(float) for layer in (model.encoder, model.decoder))
    log_w = log_weights(encoder, decoder, np.asarray(rows, float), noise.astype(float), 2.0)
    expected = -float(power_mean(log_w, 0.99999)[0])
    assert abs(expected) > 50
    assert float(loss[0]) == pytest.approx(expected, rel=3e-6)
