"""Draws given some cells: against the exact conditional of linear models, and under every family."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import logvar
from logvar.distributions.mixture import NormalMixture
from logvar.errors import LogvarError
from logvar.evaluation import given_cells
from logvar.evaluation.given_cells import draw_given
from logvar.evaluation.proposals import (
    Normals,
    effective_size,
    fitted_normals,
    normalized,
    systematic,
    tempered,
)
from logvar.models.batch import Batch
from logvar.priors.base import Prior
from logvar.scales import Scale
from tests.cases import every_value_once
from tests.objectives.tiny import FEATURES, LinearEncoder, in_force, linear_model

LIKELIHOOD = "normal(noise=fixed, sigma=0.3)"
OBSERVED = np.array([True, False, True])


def given_row(*cells):
    return Batch(jnp.asarray(cells, jnp.float32), observed=jnp.asarray(OBSERVED))


def off_by(drawn, mean, deviation):
    """How many standard errors a mean is off."""
    return abs(drawn.mean() - mean) / (deviation / np.sqrt(len(drawn)))


def linear_and_exact():
    """A linear model of two latents whose encoder knows nothing, and its Normal of three cells."""
    model = linear_model(2, likelihood=LIKELIHOOD, seed=4)
    w, b = (np.asarray(a, float) for a in (model.decoder.kernel, model.decoder.bias))
    return model, b, w.T @ w + 0.3**2 * np.eye(FEATURES)


@pytest.fixture(scope="module")
def exact():
    return linear_and_exact()


def check_draws(exact, cells):
    """They are those of the exact conditional, although the encoder is wrong."""
    model, b, covariance = exact
    row = given_row(*cells)
    found = draw_given(model, row, row, 4000, 0)
    seen, x = OBSERVED, np.array(cells)[OBSERVED]
    gain = covariance[np.ix_(~seen, seen)] @ np.linalg.inv(covariance[np.ix_(seen, seen)])
    mean = (b[~seen] + gain @ (x - b[seen]))[0]
    deviation = np.sqrt((covariance[~seen][:, ~seen] - gain @ covariance[seen][:, ~seen])[0, 0])
    drawn = found.x(0, 4000)[:, 1].astype(float)
    # Twice the error of independent draws: those of z are weighted.
    assert off_by(drawn, mean, deviation) < 8
    assert drawn.std() == pytest.approx(deviation, rel=0.06)
    density = stats.multivariate_normal(b[seen], covariance[np.ix_(seen, seen)])
    assert found.log_probability == pytest.approx(density.logpdf(x), abs=0.05)
    assert 0.4 * found.draws < found.effective_samples <= found.draws


def test_draws_are_those_of_the_exact_conditional(exact):
    """Of cells that are far out: test_given_far_cells.py."""
    check_draws(exact, (0.5, 0.0, -0.5))


def test_everything_is_a_function_of_the_seed(exact):
    model, row = exact[0], given_row(0.5, 0.0, -0.5)
    one, same, other = (draw_given(model, row, row, 50, seed).x(0, 50) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any(axis=1).all()


class TwoPeaks(Prior):
    """Two narrow peaks far apart, in both of which the given cells are as probable."""

    raw: Scale = eqx.field(default_factory=lambda: logvar.scales.get("log-std"))

    def given(self, latent_dim, encode, condition=None):
        means = jnp.asarray([[-4.0] * latent_dim, [4.0] * latent_dim])
        raws = jnp.full((2, latent_dim), -1.5)
        return NormalMixture(jnp.asarray([0.0, np.log(3.0)]), means, raws, self.raw)


def test_two_peaks_keep_their_shares():
    model = linear_model(2, TwoPeaks(), "normal(noise=fixed, sigma=1)")
    kernel = jnp.asarray([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])  # the given cells know nothing of z
    model = eqx.tree_at(lambda m: m.decoder.kernel, model, in_force(kernel))
    row = given_row(0.2, 0.0, 0.1)
    found = draw_given(model, row, row, 4000, 0, mean=True)
    high = np.mean(found.x(0, 4000)[:, 1] > float(model.decoder.bias[1]))
    assert high == pytest.approx(0.75, abs=0.03)
    assert found.effective_samples > 0.5 * found.draws


def on(support):
    """Posteriors and priors on a set; what depends on a condition, or sees the encoder, is no such prior."""
    posteriors = [
        q for q in logvar.posteriors.names() if logvar.posteriors.get(q).support == support
    ]
    priors = {name: logvar.priors.get(name) for name in logvar.priors.names()}
    return posteriors, [
        n for n, p in priors.items() if p.support == support and not p.is_conditional
    ]


@pytest.mark.parametrize(
    ("posterior", "prior"), every_value_once(*on("real")) + every_value_once(*on("sphere"))
)
def test_it_works_under_every_family(posterior, prior):
    """log p of the cells is that of plain draws from the prior."""
    import jax

    q = logvar.posteriors.get(posterior).build(3, jax.random.key(2))
    p = logvar.priors.get(prior).build(3, jax.random.key(0))
    model = linear_model(3, p, "normal(noise=fixed, sigma=1)")
    outputs = sum(q.heads(3).values())
    encoder = LinearEncoder(jnp.zeros((FEATURES, outputs)), jnp.full(outputs, 0.3))
    model = dataclasses.replace(model, encoder=in_force(encoder), posterior=q)
    row = given_row(1.0, 0.0, -1.0)
    found = draw_given(model, row, row, 10, 0)
    keys = jax.random.split(jax.random.key(1), 20_000)
    z = jax.vmap(model.sample_latents)(keys)
    log_p = jax.vmap(lambda z: model.likelihood.total(row.x, model.decode(z), row.observed))(z)
    w = np.exp(np.asarray(log_p, float))
    error = w.std() / w.mean() / np.sqrt(len(w))
    assert abs(found.log_probability - np.log(w.mean())) < 5 * error + 0.05
    x = np.concatenate([found.x(0, 6), found.x(6, 10)])
    assert x.shape == (10, FEATURES) and np.isfinite(x).all()


def test_cells_of_probability_zero_are_refused(exact):
    row = given_row(3e30, 0.0, 0.0)
    with pytest.raises(LogvarError, match="have no probability under this model"):
        draw_given(exact[0], row, row, 5, 0)


def test_more_rows_rest_on_more_draws(exact, monkeypatch):
    row = given_row(0.5, 0.0, -0.5)
    monkeypatch.setattr(given_cells, "MOST_DRAWS", 8192)
    assert draw_given(exact[0], row, row, 3000, 0, mean=True).draws == 8192
    assert draw_given(exact[0], row, row, 20_000, 0, mean=True).draws == 8192


# The host's side.


def test_normals_have_the_density_of_their_draws():
    normals = Normals(
        np.array([0.3, 0.7]), np.array([[0.0, 1.0], [3.0, -1.0]]),
        np.array([[[1.0, 0.0], [0.5, 0.4]], [[0.6, 0.0], [-0.2, 1.1]]]),
    )  # fmt: skip
    z = normals.draw(5, np.random.default_rng(0))
    expected = sum(
        share * stats.multivariate_normal(mean, factor @ factor.T).pdf(z)
        for share, mean, factor in zip(*normals, strict=True)
    )
    np.testing.assert_allclose(np.exp(normals.log_prob(z)), expected, rtol=1e-10)
    many = normals.draw(40_000, np.random.default_rng(1))
    np.testing.assert_allclose(many.mean(0), [2.1, -0.4], atol=0.03)


def test_a_fit_finds_two_peaks_of_weighted_draws():
    rng = np.random.default_rng(0)
    target = Normals(
        np.array([0.25, 0.75]), np.array([[-3.0, 0.0], [3.0, 1.0]]), np.stack([0.4 * np.eye(2)] * 2)
    )
    z = 3 * rng.standard_normal((8000, 2))
    log_w = target.log_prob(z) - stats.multivariate_normal(np.zeros(2), 9 * np.eye(2)).logpdf(z)
    fitted = fitted_normals(z, normalized(log_w), np.random.default_rng(1))
    again = fitted.draw(4000, np.random.default_rng(2))
    share = effective_size(target.log_prob(again) - fitted.log_prob(again)) / 4000
    assert share > 0.85


def test_resampling_takes_each_as_often_as_its_weight_says():
    chosen = systematic(np.array([0.5, 0.3, 0.0, 0.2]), 20, np.random.default_rng(0))
    assert np.bincount(chosen, minlength=4).tolist() == [10, 6, 0, 4]
    assert chosen.tolist() != sorted(chosen)


def test_weights_are_tempered_until_enough_count():
    log_w = np.concatenate([np.linspace(-300, 0, 999), [-np.inf]])
    assert effective_size(log_w) < 10
    assert effective_size(tempered(log_w, 200.0)) == pytest.approx(200, rel=1e-3)
    assert np.isneginf(tempered(log_w, 200.0)[-1])
    np.testing.assert_array_equal(tempered(np.zeros(10), 5.0), np.zeros(10))
