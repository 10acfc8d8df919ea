"""Figures against oracles that do not share their code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logvar.data.preparation import Preparation
from logvar.evaluation.elbo import elbo_terms
from logvar.evaluation.importance import importance_log_likelihood
from logvar.evaluation.summary import evaluate, importance_samples_of
from logvar.likelihoods.bernoulli import Bernoulli
from logvar.likelihoods.location_scale import LocationScale, NormalFamily
from logvar.likelihoods.noise import ObservationNoise
from logvar.models.batch import Batch
from logvar.models.vae import VAEModel
from logvar.objectives.base import Moment
from logvar.objectives.elbo import ELBO
from logvar.objectives.importance import ImportanceWeighted
from logvar.posteriors.diagonal import Diagonal
from logvar.priors.standard import Standard
from logvar.randomness import row_words

ROWS = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)


def model_of(encoder, decoder, likelihood, latent_dim):
    return VAEModel(encoder, decoder, Standard(), likelihood, Diagonal(), latent_dim)


def moment(step=0, steps_per_epoch=1):
    epoch = step // steps_per_epoch
    return Moment(*map(jnp.asarray, (step, epoch, 4, steps_per_epoch)), jax.random.key(0))


def linear_gaussian(posterior_scale=1.0):
    """x = w·z + noise with its exact posterior: log p(x) is known in closed form."""
    w, noise = np.array([1.0, -0.5, 0.3]), 0.7
    precision = 1 + w @ w / noise**2
    raw = np.log(posterior_scale**2 / precision)

    def encoder(x):
        mean = jnp.dot(jnp.asarray(w / noise**2 / precision, jnp.float32), x)[None]
        return mean, jnp.full(1, raw, jnp.float32)

    def decoder(z):
        return jnp.asarray(w, jnp.float32) * z[0]

    fixed = ObservationNoise.starting_at(noise, (3,), "fixed", "log-std", 0.0)
    likelihood = LocationScale(NormalFamily(), fixed, jnp.zeros(3))
    model = model_of(encoder, decoder, likelihood, 1)
    covariance = np.outer(w, w) + noise**2 * np.eye(3)
    quadratic = np.einsum("ni,ij,nj->n", ROWS, np.linalg.inv(covariance), ROWS)
    log_p = -0.5 * (quadratic + np.linalg.slogdet(2 * np.pi * covariance)[1])
    return model, log_p


def test_with_the_exact_posterior_one_sample_gives_the_exact_likelihood():
    model, log_p = linear_gaussian()
    for k in (1, 10):
        got = importance_log_likelihood(model, ROWS, Preparation(), 0, k)
        np.testing.assert_allclose(got.log_likelihood, log_p, atol=2e-5)
        assert got.monte_carlo_error.max() < 1e-3


def test_importance_weights_correct_a_posterior_that_is_too_wide():
    model, log_p = linear_gaussian(posterior_scale=1.6)
    elbo = elbo_terms(model, ROWS, Preparation(), 0, n_samples=50).elbo
    got = importance_log_likelihood(model, ROWS, Preparation(), 0, 2000)
    error = got.log_likelihood - log_p
    assert elbo.mean() < log_p.mean() - 0.1
    assert abs(error.mean()) < 0.01
    assert 0.7 < error.std() / got.monte_carlo_error.mean() < 1.4


def test_the_bound_is_looser_by_the_kl_to_the_true_posterior():
    model, log_p = linear_gaussian(posterior_scale=1.6)
    elbo = elbo_terms(model, ROWS, Preparation(), 0, n_samples=4000).elbo
    assert (log_p - elbo).mean() == pytest.approx(0.5 * (1.6**2 - 1) - np.log(1.6), abs=0.02)


def test_figures_carry_protocol_and_standard_error():
    model, _ = linear_gaussian()
    result = evaluate(
        model,
        ROWS,
        Preparation(),
        split="test",
        binarization="none",
        seed=5,
        meaning="density in the data's own units",
        n_importance=3,
    )
    elbo = elbo_terms(model, ROWS, Preparation(), 5).elbo.astype(float)
    assert result["elbo"].value == pytest.approx(elbo.mean(), rel=1e-9)
    assert result["elbo"].standard_error == pytest.approx(elbo.std(ddof=1) / np.sqrt(300))
    assert result.protocol.rows == 300 and result.protocol.split == "test"
    assert "3 samples" in result["log_likelihood"].how
    assert "kl" in result and "aic" not in result
    assert repr(result).splitlines()[1].startswith(f"elbo                 {result['elbo']}")
    assert list(result) == [figure.name for figure in result.figures]
    with pytest.raises(KeyError, match="unknown figure 'elb': did you mean 'elbo'"):
        result["elb"]
    assert result.active_units == 1
    assert result.raw_outputs.share_outside == 0


def test_more_samples_extend_the_same_sequence():
    words = row_words(ROWS)
    assert len({tuple(w) for w in words}) == 300
    model, _ = linear_gaussian(1.6)
    a = elbo_terms(model, ROWS[:1], Preparation(), 0, n_samples=1).elbo
    b = elbo_terms(model, ROWS[:9], Preparation(), 0, n_samples=1).elbo
    assert a[0] == b[0]


def batch_terms(objective, kl=(0.1, 2.0)):
    """An objective on a model whose KL per latent is known."""
    raw = [float(2 * np.log(s)) for s in (1.0, 1.0)]
    means = [float(np.sqrt(2 * value)) for value in kl]

    def encoder(x):
        return jnp.asarray(means, jnp.float32), jnp.asarray(raw, jnp.float32)

    model = model_of(encoder, lambda z: jnp.zeros(3), Bernoulli(), 2)
    batch, eps = Batch(jnp.ones((4, 3))), jnp.zeros((4, objective.samples, 2))
    return objective(model, batch, eps, moment())


def test_objective_weights_and_frees_the_kl():
    reconstruction = 3 * np.log(2)
    loss, terms = batch_terms(ELBO(beta=3.0))
    assert float(loss) == pytest.approx(reconstruction + 3 * 2.1, rel=1e-6)
    assert float(terms.elbo) == pytest.approx(-reconstruction - 2.1, rel=1e-6)
    loss, _ = batch_terms(ELBO(free_bits=0.5))
    assert float(loss) == pytest.approx(reconstruction + 2.5, rel=1e-6)


def test_warm_up_rises_to_beta():
    objective = ELBO(beta=2.0, warmup=2.0)
    betas = [float(objective.beta_at(moment(step, steps_per_epoch=2))) for step in range(6)]
    assert betas == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]


def test_iwae_with_one_sample_is_the_elbo_and_more_tighten_it():
    one, _ = batch_terms(ImportanceWeighted(samples=1))
    sampled, _ = batch_terms(ELBO(analytic_kl=False))
    assert float(one) == pytest.approx(float(sampled), rel=1e-6)


def test_padding_weighs_nothing():
    model, _ = linear_gaussian()
    eps = jax.random.normal(jax.random.key(0), (4, 1, 1))
    x = jnp.asarray(ROWS[:4])
    padded = Batch(x, weight=jnp.array([1.0, 1, 1, 0]))
    weighted = ELBO()(model, padded, eps, moment())[0]
    alone = ELBO()(model, Batch(x[:3]), eps[:3], moment())[0]
    assert float(weighted) == pytest.approx(float(alone), rel=1e-6)


def test_bernoulli_density_is_the_formula():
    likelihood = Bernoulli()
    logits = jnp.array([-3.0, 0.0, 40.0, -200.0])
    x = jnp.array([0.0, 1.0, 1.0, 1.0])
    p = 1 / (1 + np.exp(-np.array([-3.0, 0.0, 40.0])))
    got = likelihood.log_prob(x, logits)
    np.testing.assert_allclose(got[:3], np.log([1 - p[0], p[1], p[2]]), rtol=1e-6, atol=1e-12)
    assert got[3] == -200


def test_a_diverged_model_gets_figures_that_say_so():
    model, _ = linear_gaussian()
    model = model_of(
        lambda x: (jnp.full(1, jnp.inf), jnp.full(1, jnp.inf)), model.decoder, model.likelihood, 1
    )
    result = evaluate(
        model,
        ROWS[:20],
        Preparation(),
        split="test",
        binarization="none",
        seed=0,
        meaning="",
        n_importance=2,
    )
    assert not np.isfinite(result["elbo"].value)
    assert result.raw_outputs.share_outside == 1


@pytest.mark.parametrize(
    ("written", "samples"),
    [
        ({"protocol": {"rows": 9, "importance_samples": 7}, "figures": []}, 7),
        # As version 0.1 wrote it.
        (
            {
                "protocol": {"rows": 9},
                "figures": [
                    {"name": "elbo", "how": "β = 1, one sample per row, KL in closed form"},
                    {"name": "log_likelihood", "how": "importance-weighted, 50 samples per row"},
                ],
            },
            50,
        ),
        ({"protocol": {"rows": 9}, "figures": []}, None),
    ],
    ids=["field", "words", "neither"],
)
def test_a_written_evaluation_says_its_importance_samples(written, samples):
    assert importance_samples_of(written) == samples
