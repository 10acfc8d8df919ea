"""A model with a label, so small that p(x | y) is a Normal: M2 of Kingma et al. 2014."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import log_softmax, logsumexp

import logvar
from logvar.models.batch import Batch
from logvar.models.labelled import LabelledVAE
from logvar.objectives.labelled import terms_of
from logvar.priors.base import EncoderInputs
from logvar.randomness import noise
from logvar.trainable import trainable
from tests.objectives.tiny import (
    FEATURES,
    LOG_STD,
    LinearDecoder,
    LinearEncoder,
    in_force,
    moment,
)

CLASSES, PRIOR, KNOWN, SIGMA = 3, np.array([0.5, 0.2, 0.3]), 0.6, 2.0
LABELS = np.array([0, -1, 2, -1, 1, -1])
ROWS = np.random.default_rng(3).normal(size=(len(LABELS), FEATURES))
WEIGHT = np.array([1.0, 2.0, 0.5, 0.0, 1.0, 1.0])


def labelled_model(seed=0, sharpness=1.0, likelihood="normal(noise=fixed, sigma=2)"):
    rng = np.random.default_rng(seed)

    def drawn(*shape):
        return jnp.asarray(0.5 * rng.normal(size=shape))

    model = LabelledVAE(
        encoder=LinearEncoder(drawn(FEATURES + CLASSES, 2), drawn(2)),
        decoder=LinearDecoder(2 * drawn(1 + CLASSES, FEATURES), drawn(FEATURES)),
        prior=logvar.priors.get("standard"),
        likelihood=logvar.likelihoods.get(likelihood).build((FEATURES,)),
        posterior=logvar.posteriors.get("diagonal", scale=LOG_STD),
        latent_dim=1,
        condition_size=CLASSES,
        classifier=LinearEncoder(sharpness * drawn(FEATURES, CLASSES), drawn(CLASSES)),
        log_prior=jnp.asarray(np.log(PRIOR)),
        known=jnp.asarray(KNOWN),
    )
    return in_force(model)


def batch(model, labels=LABELS, rows=ROWS, weight=WEIGHT):
    dtype = model.log_prior.dtype
    return Batch(
        jnp.asarray(rows, dtype), label=jnp.asarray(labels), weight=jnp.asarray(weight, dtype)
    )


def noise_for(model, samples=1):
    drawn = noise(model.noise_like(), jax.random.key(1), (len(LABELS), samples))
    return jax.tree.map(lambda leaf: leaf.astype(model.log_prior.dtype), drawn)


summed = jax.jit(lambda *arguments: terms_of(*arguments, analytic_kl=True))


def by_hand(model, eps):
    """Of each row and label: log p(x | y, z) and KL(q(z | x, y) ‖ p(z)); and log q(y | x)."""
    x = ROWS
    one = np.eye(CLASSES)
    recon, kl = np.empty((2, len(x), CLASSES))
    for i in range(len(x)):
        for y in range(CLASSES):
            mean, log_sigma = (
                np.concatenate([x[i], one[y]]) @ model.encoder.kernel + model.encoder.bias
            )
            z = mean + np.exp(log_sigma) * eps[i, :, 0]
            told = np.column_stack([z, np.tile(one[y], (len(z), 1))])
            location = told @ model.decoder.kernel + model.decoder.bias
            recon[i, y] = stats.norm(location, SIGMA).logpdf(x[i]).sum(1).mean()
            kl[i, y] = 0.5 * (mean**2 + np.exp(2 * log_sigma) - 1 - 2 * log_sigma)
    log_q = log_softmax(x @ model.classifier.kernel + model.classifier.bias, axis=1)
    return recon, kl, log_q


@pytest.mark.parametrize("samples", [1, 3])
def test_the_loss_is_that_of_every_row_and_label_by_hand(samples):
    model, alpha, beta = labelled_model(), 0.7, 1.5
    eps = noise_for(model, samples)
    recon, kl, log_q = by_hand(model, np.asarray(eps["z"]))
    expected = np.empty((4, len(LABELS)))  # loss, reconstruction, KL, −log q(y | x)
    for i, label in enumerate(LABELS):
        if label >= 0:  # −ELBO(x, y) − log p(y), and the classifier's own loss
            terms = recon[i, label], kl[i, label] - np.log(PRIOR[label]), -log_q[i, label]
        else:  # −Σ_y q(y | x)·(ELBO(x, y) + log p(y)) − H(q(y | x))
            q = np.exp(log_q[i])
            terms = q @ recon[i], q @ (kl[i] - np.log(PRIOR)) + q @ log_q[i], 0.0
        expected[1:, i] = terms
        expected[0, i] = beta * terms[1] - terms[0] + alpha / KNOWN * terms[2]
    objective = logvar.objectives.get("labelled", alpha=alpha, beta=beta, samples=samples)
    loss, terms = jax.jit(lambda e: objective(model, batch(model), e, moment()))(eps)
    mean = expected @ WEIGHT / WEIGHT.sum()
    np.testing.assert_allclose(loss, mean[0], rtol=2e-5)
    np.testing.assert_allclose(terms.log_likelihood, mean[1], rtol=1e-5)
    assert terms.kl.shape == (model.groups,)
    np.testing.assert_allclose(terms.kl[0], mean[2], rtol=1e-5)


def test_evaluation_has_the_terms_of_training(float64):
    """One row at a time, its label unknown, is the same bound."""
    model = labelled_model()
    eps = noise_for(model)
    unknown = batch(model, np.full(len(LABELS), -1))
    expected, classification = summed(model, unknown, eps["z"])
    assert classification == 0

    def of_row(x, e):
        example = Batch(x)
        e = jax.tree.map(lambda leaf: leaf[0], e)
        return model.terms(example, model.encode(example), e, model.prior_given(), True)

    each = jax.jit(jax.vmap(of_row))(jnp.asarray(ROWS), eps)
    np.testing.assert_allclose(WEIGHT @ each.log_likelihood / WEIGHT.sum(), expected.log_likelihood)
    np.testing.assert_allclose(WEIGHT @ each.kl / WEIGHT.sum(), expected.kl)


def marginal(model, rows=ROWS):
    """log p(x | y) of each row and label: Normal with covariance wwᵀ + σ²."""
    w = np.asarray(model.decoder.kernel)
    covariance = w[:1].T @ w[:1] + SIGMA**2 * np.eye(FEATURES)
    means = w[1:] + np.asarray(model.decoder.bias)
    return np.stack([stats.multivariate_normal(mean, covariance).logpdf(rows) for mean in means], 1)


@functools.cache
def many_draws():
    model = labelled_model()
    # Near the prior, where no weight is much larger than the others.
    kernel, bias = 0.2 * model.encoder.kernel, model.encoder.bias * jnp.asarray([1.0, 0.0])
    model = eqx.tree_at(lambda m: (m.encoder.kernel, m.encoder.bias), model, (kernel, bias))
    eps = noise_for(model, 20_000)

    def of_row(x, e):
        example, code = Batch(x), model.encode(Batch(x))
        prior = model.prior_given()

        def of_draw(e):
            trace = model.trace(example, code, e, prior)
            drawn = model.likelihood.total(x, trace.outputs) - jnp.sum(trace.kl(False))
            bound = model.terms(example, code, e, prior, True).elbo
            return model.log_weight(example, code, e, prior), drawn, bound

        return jax.vmap(of_draw)(e)

    return model, jax.tree.map(np.asarray, jax.jit(jax.vmap(of_row))(jnp.asarray(ROWS), eps))


@pytest.mark.parametrize("which", [0, 1], ids=["labels summed out", "labels drawn"])
def test_weights_average_to_the_sum_over_labels(float64, which):
    """E[w] = p(x) = Σ_y p(y)·p(x | y), exact for this model."""
    model, found = many_draws()
    exact = logsumexp(marginal(model) + np.log(PRIOR), axis=1)
    relative = np.exp(found[which] - exact[:, None])
    error = relative.std(1) / np.sqrt(relative.shape[1])
    assert (np.abs(relative.mean(1) - 1) < 4 * error).all() and error.max() < 0.05


def test_the_bound_of_an_unknown_label_is_below_the_sum_over_labels(float64):
    model, (_, _, bound) = many_draws()
    exact = logsumexp(marginal(model) + np.log(PRIOR), axis=1)
    assert (bound.mean(1) + 4 * bound.std(1) / np.sqrt(bound.shape[1]) < exact).all()


def test_a_known_label_is_bounded_by_log_p_of_both(float64):
    model = labelled_model()
    labels = np.arange(len(LABELS)) % CLASSES
    bound = summed(model, batch(model, labels), noise_for(model, 500)["z"])[0].elbo
    exact = WEIGHT @ (marginal(model) + np.log(PRIOR))[np.arange(len(labels)), labels]
    assert bound < exact / WEIGHT.sum()


@pytest.mark.parametrize("sharpness", [0.0, 1e4])
def test_the_gradient_is_finite_and_reaches_every_network(sharpness):
    """Also where q(y | x) is 0 for all labels but one."""
    model = labelled_model(sharpness=sharpness)
    params, static = eqx.partition(model, trainable(model))
    objective = logvar.objectives.get("labelled")

    def loss(params):
        model = eqx.combine(params, static)
        return objective(model, batch(model), noise_for(model), moment())[0]

    gradient = jax.jit(jax.grad(loss))(params)
    assert gradient.log_prior is None and gradient.known is None  # facts of the data
    for name in model.networks:
        leaves = jax.tree.leaves(getattr(gradient, name))
        assert all(np.isfinite(leaf).all() and np.any(leaf) for leaf in leaves), name


def test_the_gradient_is_that_of_a_finite_difference():
    model, step = labelled_model(), 1e-2
    objective = logvar.objectives.get("labelled")
    eps = noise_for(model)

    @jax.jit
    def loss(shift):
        kernel = model.classifier.kernel.at[0, 0].add(shift).at[2, 1].add(-shift)
        moved = eqx.tree_at(lambda m: m.classifier.kernel, model, kernel)
        return objective(moved, batch(model), eps, moment())[0]

    expected = (loss(step) - loss(-step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(loss)(0.0), expected, rtol=2e-2)
    assert abs(expected) > 1e-2


def test_a_row_without_weight_changes_nothing():
    model = labelled_model()
    objective = logvar.objectives.get("labelled")

    @jax.jit
    def loss(batch):
        return objective(model, batch, noise_for(model), moment())[0]

    of = batch(model)
    other = dataclasses.replace(of, x=of.x.at[3].add(5.0), label=of.label.at[3].set(1))
    assert WEIGHT[3] == 0 and loss(of) == loss(other)


def test_a_closed_form_noise_is_that_of_all_labels_by_their_weights(float64):
    """The statistic of a row is Σ_y q(y | x)·that of label y."""
    model = labelled_model(likelihood="normal(noise=optimal)")
    eps = noise_for(model)
    terms, _ = summed(model, batch(model), eps["z"])
    x, one = ROWS, np.eye(CLASSES)
    log_q = by_hand(model, np.asarray(eps["z"]))[2]
    share = np.where(LABELS[:, None] >= 0, one[LABELS], np.exp(log_q))
    squares = np.empty((len(x), CLASSES))
    for y in range(CLASSES):
        seen = np.column_stack([x, np.tile(one[y], (len(x), 1))])
        mean, log_sigma = (seen @ model.encoder.kernel + model.encoder.bias).T
        z = mean + np.exp(log_sigma) * np.asarray(eps["z"])[:, 0, 0]
        told = np.column_stack([z, np.tile(one[y], (len(x), 1))])
        location = told @ model.decoder.kernel + model.decoder.bias
        squares[:, y] = np.mean((x - location) ** 2, axis=1)
    expected = WEIGHT @ np.sum(share * squares, axis=1) / WEIGHT.sum()
    np.testing.assert_allclose(terms.statistic, expected, rtol=1e-10)


def test_what_is_decoded_without_a_label_is_the_average_over_labels(float64):
    model, z = labelled_model(), jnp.asarray([0.3])
    each = [model.mean(z, jnp.eye(CLASSES)[y]) for y in range(CLASSES)]
    np.testing.assert_allclose(model.mean(z), PRIOR @ np.stack(each), rtol=1e-12)
    joined = jnp.concatenate([z, jnp.eye(CLASSES)[1]])
    np.testing.assert_array_equal(model.mean(joined), each[1])


def test_a_prior_of_the_label_says_which_is_probable_given_z(float64):
    """E[x | z] = Σ_y p(y | z)·E[x | z, y], where p(y | z) ∝ p(y)·p(z | y)."""
    inputs = EncoderInputs((FEATURES,), False, condition_size=CLASSES)
    prior = logvar.priors.get("conditional").build(1, jax.random.key(0), inputs)
    last = jnp.asarray([[1.0, 0.3], [-0.5, -0.4], [0.2, 0.1]])
    model = dataclasses.replace(
        labelled_model(), prior=eqx.tree_at(lambda prior: prior.last, prior, last)
    )
    z = 0.7
    of_label = PRIOR * stats.norm(last[:, 0], np.exp(last[:, 1])).pdf(z)
    each = [model.mean(jnp.asarray([z]), jnp.eye(CLASSES)[y]) for y in range(CLASSES)]
    expected = of_label / of_label.sum() @ np.stack(each)
    np.testing.assert_allclose(model.mean(jnp.asarray([z])), expected, rtol=1e-6)
    assert np.abs(expected - PRIOR @ np.stack(each)).max() > 0.01


def test_draws_have_the_shares_of_the_labels(float64):
    model = labelled_model()
    drawn = jax.vmap(model.sample_latents)(jax.random.split(jax.random.key(0), 4000))
    label = np.asarray(drawn[:, model.latent_dim :])
    assert set(label.sum(1)) == {1.0}
    np.testing.assert_allclose(label.mean(0), PRIOR, atol=0.03)
    told = model.sample_latents(jax.random.key(0), jnp.eye(CLASSES)[2])
    assert told.shape == (model.latent_dim,)


def test_labels_stand_beside_another_condition():
    """The classifier reads it, too, and it is no label."""
    model = labelled_model()
    wide = dataclasses.replace(
        model,
        condition_size=CLASSES + 1,
        encoder=LinearEncoder(jnp.ones((FEATURES + 1 + CLASSES, 2)), jnp.zeros(2)),
        decoder=LinearDecoder(jnp.ones((2 + CLASSES, FEATURES)), jnp.zeros(FEATURES)),
        classifier=LinearEncoder(jnp.ones((FEATURES + 1, CLASSES)), jnp.zeros(CLASSES)),
    )
    other = dataclasses.replace(
        batch(wide), condition=jnp.asarray(np.arange(6.0)[:, None], wide.log_prior.dtype)
    )
    loss, terms = logvar.objectives.get("labelled")(wide, other, noise_for(wide), moment())
    assert np.isfinite(loss) and np.isfinite(terms.log_likelihood)
    assert wide.told(other[0]).condition.tolist() == [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
