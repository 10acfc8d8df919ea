"""Draws given some cells: against the exact conditional of linear models, and under every family."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

import logvar
from logvar.distributions.mixture import NormalMixture
from logvar.errors import LogvarError
from logvar.evaluation import given_cells
from logvar.evaluation.given_cells import draw_given
from logvar.evaluation.modes import around_modes
from logvar.evaluation.proposals import (
    DEGREES,
    Students,
    effective_size,
    fitted_students,
    normalized,
    systematic,
    tempered,
)
from logvar.models.batch import Batch
from logvar.models.labelled import LabelledVAE
from logvar.priors.base import Prior
from logvar.scales import Scale
from tests.cases import every_value_once, slow
from tests.objectives.tiny import (
    FEATURES,
    LinearEncoder,
    at_its_optimum,
    in_force,
    linear_model,
)

LIKELIHOOD = "normal(noise=fixed, sigma=0.3)"
OBSERVED = np.array([True, False, True])


def given_row(*cells):
    return Batch(jnp.asarray(cells, jnp.float32), observed=jnp.asarray(OBSERVED))


def off_by(drawn, mean, deviation):
    """How many standard errors a mean is off."""
    return abs(drawn.mean() - mean) / (deviation / np.sqrt(len(drawn)))


@pytest.fixture(scope="module")
def exact():
    """A linear model of two latents whose encoder knows nothing, and its Normal of three cells."""
    model = linear_model(2, likelihood=LIKELIHOOD, seed=4)
    w, b = (np.asarray(a, float) for a in (model.decoder.kernel, model.decoder.bias))
    return model, b, w.T @ w + 0.3**2 * np.eye(FEATURES)


@pytest.mark.parametrize("cells", [(0.5, 0.0, -0.5), (6.0, 0.0, 7.0)], ids=["usual", "far"])
def test_draws_are_those_of_the_exact_conditional(exact, cells):
    """Also where no draw from the prior comes near, and the encoder is wrong."""
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


@pytest.mark.parametrize("seed", [1, slow(2)])
@pytest.mark.parametrize(
    ("latent", "sigma", "far"),
    [
        (2, 0.3, 30),
        (8, 0.3, 10),
        slow(2, 0.3, 10),
        slow(2, 0.05, 10),
        slow(2, 0.05, 30),
        slow(8, 0.3, 30),
    ],
)
def test_z_far_from_the_training_rows_is_that_of_the_exact_posterior(latent, sigma, far, seed):
    """Cells that lie 10 and 30 standard deviations out, whatever the seed."""
    model = linear_model(latent, likelihood=f"normal(noise=fixed, sigma={sigma})", seed=4)
    w, b = (np.asarray(a, float) for a in (model.decoder.kernel, model.decoder.bias))
    of_seen = w[:, OBSERVED].T @ w[:, OBSERVED] + sigma**2 * np.eye(2)
    cells = np.zeros(FEATURES)
    cells[OBSERVED] = b[OBSERVED] + far * np.linalg.cholesky(of_seen) @ [0.6, -0.8]
    row = given_row(*cells)
    off = np.asarray(row.x, float)[OBSERVED] - b[OBSERVED]
    found = draw_given(model, row, row, 4000, seed, mean=True)
    assert found.effective_samples > 0.6 * found.draws
    exact = stats.multivariate_normal(np.zeros(2), of_seen).logpdf(off)
    assert found.log_probability == pytest.approx(exact, abs=0.02)
    # E[x | z] is linear in z, and of two latents tells all.
    covariance = np.linalg.inv(np.eye(latent) + w[:, OBSERVED] @ w[:, OBSERVED].T / sigma**2)
    mean = b + w.T @ covariance @ w[:, OBSERVED] @ off / sigma**2
    covariance = w.T @ covariance @ w
    drawn = found.x(0, 4000).astype(float)
    deviations = np.sqrt(np.diag(covariance))
    rounding = 1e-6 * np.abs(mean).max()
    error = np.sqrt(1 / 4000 + 1 / found.effective_samples)
    assert (np.abs(drawn.mean(0) - mean) < 4.5 * deviations * error + rounding).all()
    scale = np.outer(deviations, deviations)
    np.testing.assert_allclose(np.cov(drawn.T) / scale, covariance / scale, atol=8 * error)


class Bent(eqx.Module):
    """A decoder whose posterior given the outer cells is bent, and has several modes."""

    def __call__(self, z):
        return jnp.stack([z[1] + 0.3 * z[0] ** 2, z[0], z[0] * z[1]])


@pytest.mark.parametrize("seed", [0, slow(1), slow(2)])
@pytest.mark.parametrize("cells", [(4.0, 0.0, 2.0), (15.0, 0.0, 10.0)], ids=["far", "very far"])
def test_no_mode_is_missed(cells, seed):
    """Given so narrow cells, p(z | cells) has up to three modes; log p(cells) is an integral."""
    sigma = 0.05
    model = linear_model(2, likelihood=f"normal(noise=fixed, sigma={sigma})")
    model = eqx.tree_at(lambda m: m.decoder, model, Bent())
    row = given_row(*cells)
    found = draw_given(model, row, row, 2000, seed, mean=True)
    # Given the first latent, the density is Normal in the second, which is integrated out.
    first, step = np.linspace(-9, 9, 100_001, retstep=True)
    off = 0.3 * first**2 - cells[0]
    precision = 1 + (1 + first**2) / sigma**2
    slope = (first * cells[2] - off) / sigma**2
    log_joint = 0.5 * (slope**2 / precision - (off**2 + cells[2] ** 2) / sigma**2 - first**2)
    log_joint -= 0.5 * np.log(2 * np.pi * precision) + np.log(2 * np.pi * sigma**2)
    log_p = logsumexp(log_joint) + np.log(step)
    error = 1 / np.sqrt(found.effective_samples)
    assert found.effective_samples > 200
    assert found.log_probability == pytest.approx(log_p, abs=4 * error)
    p = np.exp(log_joint - log_joint.max())
    share = (p * (first > 0)).sum() / p.sum()
    assert np.mean(found.x(0, 2000)[:, 1] > 0) == pytest.approx(share, abs=3 * error)


class ByLabel(eqx.Module):
    """A linear decoder whose outer cells lie apart by label."""

    def __call__(self, z):
        last = z.shape[0] - 3
        return jnp.stack([z[0], z[1], z[0]]) + z[last:] @ jnp.asarray(
            [[0.0, 0.0, 0.0], [3.0, 5.0, -1.0], [0.0, 9.0, 0.0]]
        )


@pytest.mark.parametrize("far", [0.0, 40.0])
def test_a_label_that_is_not_given_is_summed_out(far):
    """As by Bayes' rule from the Normals of each label."""
    sigma, shares = 0.5, np.array([0.2, 0.5, 0.3])
    base = linear_model(2, likelihood=f"normal(noise=fixed, sigma={sigma})")
    encoder = LinearEncoder(jnp.zeros((FEATURES + 3, 4)), jnp.full(4, 0.3))
    parts = {field.name: getattr(base, field.name) for field in dataclasses.fields(base)}
    parts |= {"encoder": in_force(encoder), "decoder": ByLabel(), "condition_size": 3}
    classifier = in_force(LinearEncoder(jnp.zeros((FEATURES, 3)), jnp.zeros(3)))
    log_prior = jnp.asarray(np.log(shares), jnp.float32)
    model = LabelledVAE(**parts, classifier=classifier, log_prior=log_prior, known=jnp.asarray(1.0))
    cells = (1.0 + far, 0.0, 0.5 + far)
    row = given_row(*cells)
    found = draw_given(model, row, row, 4000, 1, mean=True)
    apart, middle = np.array([[0.0, 0], [3, -1], [0, 0]]), np.array([0.0, 5, 9])
    covariance = np.ones((2, 2)) + sigma**2 * np.eye(2)
    x = np.array(cells)[OBSERVED]
    log_p = np.log(shares) + [stats.multivariate_normal(m, covariance).logpdf(x) for m in apart]
    assert found.log_probability == pytest.approx(logsumexp(log_p), abs=0.05)
    assert found.effective_samples > 0.5 * found.draws
    given = np.exp(log_p - logsumexp(log_p))
    drawn = found.x(0, 4000)[:, 1]  # N(0, 1) around the middle of its label
    assert drawn.mean() == pytest.approx(given @ middle, abs=0.3)
    variance = 1 + given @ middle**2 - (given @ middle) ** 2
    assert drawn.var() == pytest.approx(variance, rel=0.1)


def test_draws_of_an_exact_encoder_count_as_what_they_are():
    """Half of the draws are of the prior: weights must have the density of both."""
    model = at_its_optimum(linear_model(1, likelihood="normal(noise=fixed, sigma=1.5)"))
    row = Batch(jnp.asarray([0.3, -0.2, 0.4]), observed=jnp.ones(FEATURES, bool))
    found = draw_given(model, row, row, 2000, 0, mean=True)
    w, b = np.asarray(model.decoder.kernel, float)[0], np.asarray(model.decoder.bias, float)
    exact = stats.multivariate_normal(b, np.outer(w, w) + 1.5**2 * np.eye(FEATURES)).logpdf(row.x)
    assert found.log_probability == pytest.approx(exact, abs=0.02)
    assert found.effective_samples > 0.5 * found.draws


@pytest.mark.parametrize("broken", ["wide", "nan"])
def test_an_encoder_beyond_float32_does_no_harm(exact, broken):
    model, row = exact[0], given_row(0.5, 0.0, -0.5)
    bias = jnp.asarray([0.0, 0.0, 200.0, 200.0] if broken == "wide" else [jnp.nan] * 4)
    model = eqx.tree_at(lambda m: m.encoder.bias, model, in_force(bias))
    found, sound = (draw_given(each, row, row, 2000, 0) for each in (model, exact[0]))
    assert found.log_probability == pytest.approx(sound.log_probability, abs=0.03)
    assert found.effective_samples > 0.4 * found.draws


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
    with pytest.raises(LogvarError, match="so improbable under this model"):
        draw_given(exact[0], row, row, 5, 0)


def test_more_rows_rest_on_more_draws(exact, monkeypatch):
    row = given_row(0.5, 0.0, -0.5)
    monkeypatch.setattr(given_cells, "MOST_DRAWS", 8192)
    assert draw_given(exact[0], row, row, 3000, 0, mean=True).draws == 8192
    assert draw_given(exact[0], row, row, 20_000, 0, mean=True).draws == 8192


# The host's side.


def test_mixtures_have_the_density_of_their_draws():
    students = Students(
        np.array([0.3, 0.7]), np.array([[0.0, 1.0], [3.0, -1.0]]),
        np.array([[[1.0, 0.0], [0.5, 0.4]], [[0.6, 0.0], [-0.2, 1.1]]]),
    )  # fmt: skip
    z = students.draw(5, np.random.default_rng(0))
    expected = sum(
        share * stats.multivariate_t(mean, factor @ factor.T, DEGREES).pdf(z)
        for share, mean, factor in zip(*students, strict=True)
    )
    np.testing.assert_allclose(np.exp(students.log_prob(z)), expected, rtol=1e-10)
    many = students.draw(40_000, np.random.default_rng(1))
    np.testing.assert_allclose(many.mean(0), [2.1, -0.4], atol=0.03)
    one = students._replace(shares=np.array([0.0, 1.0])).draw(40_000, np.random.default_rng(2))
    radii = np.square(np.linalg.solve(students.factors[1], (one - students.means[1]).T)).sum(0) / 2
    assert stats.kstest(radii, stats.f(2, DEGREES).cdf).pvalue > 1e-3


def test_a_fit_finds_two_peaks_of_weighted_draws():
    rng = np.random.default_rng(0)
    target = Students(
        np.array([0.25, 0.75]), np.array([[-3.0, 0.0], [3.0, 1.0]]), np.stack([0.4 * np.eye(2)] * 2)
    )
    z = 3 * rng.standard_normal((8000, 2))
    log_w = target.log_prob(z) - stats.multivariate_normal(np.zeros(2), 9 * np.eye(2)).logpdf(z)
    fitted = fitted_students(z, normalized(log_w), np.random.default_rng(1))
    again = fitted.draw(4000, np.random.default_rng(2))
    share = effective_size(target.log_prob(again) - fitted.log_prob(again)) / 4000
    assert share > 0.85


def test_a_fit_does_not_see_draws_without_weight():
    """However far an encoder's draws are off."""
    z = np.random.default_rng(0).standard_normal((1000, 2))
    weights = np.full(1000, 1e-3)
    far = np.concatenate([z, [[1e12, -1e12]]])
    fits = [
        fitted_students(each, w, np.random.default_rng(1))
        for each, w in ((z, weights), (far, np.append(weights, 0.0)))
    ]
    np.testing.assert_allclose(fits[1].factors, fits[0].factors, rtol=1e-6)


def slopes_of(log_density):
    return lambda z: tuple(np.asarray(a) for a in jax.vmap(jax.value_and_grad(log_density))(z))


def test_the_mode_of_a_normal_is_found_from_anywhere_with_its_spread():
    precision = np.array([[400.0, 30.0], [30.0, 4.0]])
    mode = np.array([35.0, -12.0])

    def log_density(z):
        return -0.5 * (z - mode) @ precision @ (z - mode)

    starts = np.array([[0.0, 0.0], [-50.0, 80.0]])
    found = around_modes(slopes_of(log_density), starts, np.ones(2))
    np.testing.assert_allclose(found.means, [mode] * 2, atol=1e-3)
    covariance = found.factors @ found.factors.transpose(0, 2, 1)
    np.testing.assert_allclose(covariance, [np.linalg.inv(precision)] * 2, rtol=0.02)


def test_climbs_from_both_sides_end_at_both_modes_and_drop_what_is_not_finite():
    def log_density(z):
        return jnp.where(z[0] > 50, -jnp.inf, -jnp.sum(jnp.square(jnp.square(z) - 4)))

    starts = np.array([[0.1], [-0.1], [9.0], [60.0]])
    found = around_modes(slopes_of(log_density), starts, np.ones(1))
    np.testing.assert_allclose(found.means, [[2.0], [-2.0], [2.0]], atol=0.02)
    # −log p″ at a mode is 32.
    np.testing.assert_allclose(found.factors[:, 0, 0], 32**-0.5, rtol=0.1)
    np.testing.assert_allclose(found.shares, 1 / 3)


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
