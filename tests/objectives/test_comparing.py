"""Objectives that compare the rows of a batch: against loops in NumPy, and known distributions."""

import dataclasses
import functools
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

import logvar
from logvar.assembly.parts import check_fit, specs
from logvar.objectives.base import draws, with_inputs
from logvar.objectives.comparing import check_batches
from logvar.objectives.factor import critic_loss, each_by_itself
from logvar.objectives.total_correlation import log_weights_of_rows
from logvar.recipe import Recipe
from logvar.training.extras import initial_extras, updated
from tests.objectives.tiny import batch_of, linear_model, moment, some_rows

WEIGHT = np.array([1.0, 0.0, 2.0, 0.5, 1.0])
COMPARING = ["beta-tc", "dip(kind=i)", "dip(kind=ii)", "mmd(kernel=imq)", "mmd(kernel=rbf)"]


def some_noise(rows, samples, seed=5):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(rows, samples, 2)))


def evaluated(text, rows, weight, eps, n=20):
    """(loss, plain terms, draws) of the tiny model with two latents."""
    weight, n = jnp.asarray(weight, rows.dtype), jnp.asarray(n, jnp.int32)
    (loss, terms), each = evaluation(text, eps.shape[1])(rows, weight, eps, n)
    return float(loss), terms, each


@functools.cache
def evaluation(text, samples):
    objective = logvar.objectives.get(text, samples=samples)

    @jax.jit
    def compute(rows, weight, eps, n):
        model, batch = linear_model(2), batch_of(rows, weight)
        at = moment(objective=objective)._replace(rows=n)
        return objective(model, batch, eps, at), draws(model, batch, eps)

    return compute


def posteriors(rows):
    model = linear_model(2)
    outputs = np.asarray(rows @ model.encoder.kernel + model.encoder.bias)
    return outputs[:, :2], np.exp(outputs[:, 2:])


def mean_of(values, weight):
    return np.sum(weight * values) / weight.sum()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("weight", [np.ones(5), WEIGHT], ids=["equal", "weighted"])
def test_beta_tc_against_loops(weight):
    rows, n = some_rows(5), 20
    eps = some_noise(5, 2)
    text = "beta-tc(alpha=0.3, beta=5, gamma=2)"
    loss, terms, each = evaluated(text, rows, weight, eps, n)
    mean, sigma = posteriors(rows)
    z = np.asarray(each.trace.z)
    parts = []
    counted = [k for k in range(5) if weight[k] > 0]
    for i in range(5):
        own = weight[i] * len(counted) / (weight.sum() * n)
        shares = {k: own if k == i else (1 - own) * weight[k] for k in counted}
        rest = sum(weight[k] for k in counted if k != i)
        shares = {k: share if k == i else share / rest for k, share in shares.items()}
        for s in range(2):
            log_q = {k: norm.logpdf(z[i, s], mean[k], sigma[k]) for k in counted}
            joint = logsumexp([log_q[k].sum() for k in counted], b=[shares[k] for k in counted])
            marginals = sum(
                logsumexp([log_q[k][d] for k in counted], b=[shares[k] for k in counted])
                for d in range(2)
            )
            of_x = norm.logpdf(z[i, s], mean[i], sigma[i]).sum()
            prior = norm.logpdf(z[i, s]).sum()
            parts.append(0.3 * (of_x - joint) + 5 * (joint - marginals) + 2 * (marginals - prior))
    penalty = mean_of(np.reshape(parts, (5, 2)).mean(1), weight)
    assert loss == pytest.approx(penalty - float(terms.log_likelihood), rel=1e-10)


def test_the_weights_of_stratified_sampling_average_to_those_of_all_rows():
    """Over all batches of 3 of 5 rows that hold row i, each row counts 1/5."""
    counts = np.zeros(5)
    batches = [rows for rows in itertools.combinations(range(5), 3) if 2 in rows]
    of_batch = np.exp(log_weights_of_rows(jnp.ones(3), jnp.asarray(5.0)))
    for rows in batches:
        counts[list(rows)] += of_batch[rows.index(2)] / len(batches)
    np.testing.assert_allclose(counts, 0.2, rtol=1e-6)
    of_all = np.exp(log_weights_of_rows(jnp.asarray(WEIGHT), jnp.asarray(4.0)))
    np.testing.assert_allclose(of_all[0], WEIGHT / WEIGHT.sum(), rtol=1e-6)


def test_the_total_correlation_of_all_rows_is_the_exact_one():
    """x is Gaussian and the encoder linear, so q(z) is N(m, A·S·Aᵀ + diag σ²): its total
    correlation is ½·(Σ log Cᵢᵢ − log det C)."""
    n = 1500
    model = linear_model(2)
    kernel = np.array(model.encoder.kernel)
    kernel[:, 2:] = 0  # the same σ for every row
    kernel[:, :2] = 2 * kernel[:, :2] @ np.array([[1, 0.8], [0.2, 1]])
    encoder = dataclasses.replace(model.encoder, kernel=jnp.asarray(kernel))
    model = dataclasses.replace(model, encoder=encoder)
    rows = jnp.asarray(np.random.default_rng(0).normal(size=(n, 3)), jnp.float32)
    eps = some_noise(n, 1).astype(jnp.float32)
    at = moment(rows=n)
    batch = batch_of(rows)

    def loss(beta):
        objective = logvar.objectives.get("beta-tc", beta=beta)
        return objective(model, batch, eps, at)[0]

    measured = float(jax.jit(lambda: loss(2.0) - loss(1.0))())
    covariance = kernel[:, :2].T @ kernel[:, :2] + np.diag(
        np.exp(2 * np.asarray(model.encoder.bias[2:]))
    )
    exact = 0.5 * (np.log(np.diag(covariance)).sum() - np.linalg.slogdet(covariance)[1])
    assert exact > 0.2
    assert measured == pytest.approx(exact, rel=0.1)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kind", ["i", "ii"])
def test_dip_against_numpy(kind):
    rows, eps = some_rows(5), some_noise(5, 1)
    loss, terms, _ = evaluated(
        f"dip(kind={kind}, on_diagonal=3, off_diagonal=7)", rows, WEIGHT, eps
    )
    mean, sigma = posteriors(rows)
    covariance = np.cov(mean.T, aweights=WEIGHT, ddof=0)
    if kind == "ii":
        covariance = covariance + np.diag([mean_of(s, WEIGHT) for s in sigma.T**2])
    off = covariance[0, 1] ** 2 + covariance[1, 0] ** 2
    on = np.sum((np.diag(covariance) - 1) ** 2)
    expected = 7 * off + 3 * on - float(terms.elbo)
    assert loss == pytest.approx(expected, rel=1e-8)


KERNELS = {
    "rbf": lambda a, b, c: np.exp(-np.sum((a - b) ** 2) / c),
    "imq": lambda a, b, c: c / (c + np.sum((a - b) ** 2)),
}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", KERNELS)
def test_mmd_against_loops(name):
    rng = np.random.default_rng(3)
    z, y = rng.normal(size=(5, 2)), rng.normal(size=(5, 2)) + 1
    objective = logvar.objectives.get("mmd", kernel=name, bandwidth=1.5)
    got = objective.discrepancy(*map(jnp.asarray, (z, y, WEIGHT)))
    c = 2 * 2 * 1.5**2
    within = across = pairs = 0.0
    for i, j in itertools.product(range(5), repeat=2):
        w = WEIGHT[i] * WEIGHT[j]
        across += w * KERNELS[name](z[i], y[j], c)
        if i != j:
            pairs += w
            within += w * (KERNELS[name](z[i], z[j], c) + KERNELS[name](y[i], y[j], c))
    expected = within / pairs - 2 * across / WEIGHT.sum() ** 2
    assert float(got) == pytest.approx(expected, rel=1e-10)


def test_mmd_of_two_normals_is_the_known_one():
    """E exp(−(a − b)²/C) of a − b ~ N(m, s²) is √(C/(C + 2s²))·exp(−m²/(C + 2s²))."""
    rng = np.random.default_rng(1)
    z, y = 0.5 * rng.normal(size=(2000, 1)) + 1, rng.normal(size=(2000, 1))
    objective = logvar.objectives.get("mmd(kernel=rbf)")
    arrays = (jnp.asarray(a, jnp.float32) for a in (z, y, np.ones(2000)))
    got = float(jax.jit(objective.discrepancy)(*arrays))

    def kernel(mean, variance, c=2.0):
        return np.sqrt(c / (c + 2 * variance)) * np.exp(-(mean**2) / (c + 2 * variance))

    expected = kernel(0, 0.5) + kernel(0, 2) - 2 * kernel(1, 1.25)
    assert got == pytest.approx(expected, abs=0.03)
    assert expected > 0.3


def test_mmd_weighs_kl_and_discrepancy():
    """β·KL − log p(x | z) + weight·MMD², of which β = 0 and weight = 1 tell MMD²."""
    model, batch = linear_model(2), batch_of(some_rows(5).astype(jnp.float32))
    eps = some_noise(5, 1).astype(jnp.float32)

    @eqx.filter_jit
    def loss(objective):
        value, terms = objective(model, batch, eps, moment())
        return value + terms.log_likelihood, jnp.sum(terms.kl)

    alone, kl = loss(with_inputs(logvar.objectives.get("mmd(beta=0, weight=1)")))
    both, _ = loss(with_inputs(logvar.objectives.get("mmd(beta=3, weight=5)")))
    assert float(kl) > 0.1 and abs(float(alone)) > 0.01
    assert float(both) == pytest.approx(3 * float(kl) + 5 * float(alone), rel=1e-4)


def test_mmd_teaches_a_learned_prior_by_the_kl_alone():
    prior = logvar.priors.get("mixture(components=2)").build(2, jax.random.key(0))
    model, batch = linear_model(2, prior=prior), batch_of(some_rows(5).astype(jnp.float32))
    eps = some_noise(5, 1).astype(jnp.float32)

    @eqx.filter_jit
    def of_prior(objective):
        def loss(prior):
            changed = dataclasses.replace(model, prior=prior)
            return objective(changed, batch, eps, moment())[0]

        return jax.jit(jax.grad(loss))(model.prior).means

    found = [
        of_prior(with_inputs(logvar.objectives.get("mmd", weight=weight))) for weight in (0.0, 9.0)
    ]
    assert np.any(found[0])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)


def test_mmd_compares_with_samples_of_the_prior():
    """Latents that are the prior's samples have nearly no discrepancy, and others have."""
    rows, zero = some_rows(300).astype(jnp.float32), jnp.zeros((300, 1, 2))
    noise = some_noise(300, 1).astype(jnp.float32)
    model = linear_model(2)
    silent = jax.tree.map(jnp.zeros_like, model.encoder)  # q is the prior
    model = dataclasses.replace(model, encoder=silent)
    objective = logvar.objectives.get("mmd(beta=0, weight=1)")
    compute = jax.jit(lambda eps: objective(model, batch_of(rows), eps, moment()))
    same, of_zero = (
        float(loss + terms.log_likelihood) for loss, terms in map(compute, (noise, zero))
    )
    assert abs(same) < 0.02
    assert of_zero > 0.1


@pytest.mark.parametrize("text", COMPARING)
def test_padding_takes_no_part(text):
    """Rows of weight 0 behind the others change nothing: neither by value nor by number."""
    rows, eps = some_rows(6).astype(jnp.float32), some_noise(6, 1).astype(jnp.float32)
    alone = evaluated(text, rows[:4], np.ones(4), eps[:4], n=4)[0]
    padded = evaluated(text, rows, np.array([1.0, 1, 1, 1, 0, 0]), eps, n=4)[0]
    assert padded == pytest.approx(alone, rel=1e-5)
    counted = evaluated(text, rows, np.ones(6), eps, n=6)[0]
    assert abs(counted - alone) > 1e-3


def test_latents_are_shuffled_each_by_itself_by_weight():
    z = jnp.stack([jnp.arange(5.0), 10 + jnp.arange(5.0)], axis=1)
    z = jnp.tile(z, (2000, 1))
    weight = jnp.tile(jnp.asarray(WEIGHT, jnp.float32), 2000)
    got = np.asarray(jax.jit(each_by_itself)(z, weight, jax.random.key(3)))
    share = WEIGHT / WEIGHT.sum()
    for column, start in ((0, 0), (1, 10)):
        values, counts = np.unique(got[:, column] - start, return_counts=True)
        assert list(values) == [0, 2, 3, 4]
        np.testing.assert_allclose(counts / len(got), share[[0, 2, 3, 4]], atol=0.02)
    together = np.mean(got[:, 0] == got[:, 1] - 10)
    assert together == pytest.approx(np.sum(share**2), abs=0.02)


def test_a_trained_critic_measures_the_total_correlation():
    """Of two latents with correlation 0.8: −½·log(1 − 0.8²) = 0.51 nats."""
    correlation, n = 0.8, 256
    objective = logvar.objectives.get("factor", hidden=(32, 32), critic_rate=3e-3)
    taken, nothing = jnp.asarray(True), jnp.asarray(0.0)
    mix = jnp.linalg.cholesky(jnp.asarray([[1, correlation], [correlation, 1]]))

    def some(key, n):
        return jax.random.normal(key, (n, 2)) @ mix.T

    @jax.jit
    def trained(extras):
        def step(extras, key):
            keys = jax.random.split(key)
            of = jax.grad(critic_loss)
            gradient = of(extras.weights, some(keys[0], n), jnp.ones(n), keys[1])
            return updated(objective, extras, gradient, taken, nothing), None

        keys = jax.random.split(jax.random.key(1), 1500)
        critic = jax.lax.scan(step, extras, keys)[0].weights
        return jnp.mean(jax.jit(jax.vmap(critic))(some(jax.random.key(2), 20_000)))

    exact = -0.5 * np.log(1 - correlation**2)
    assert float(trained(initial_extras(objective, 2, 0))) == pytest.approx(exact, abs=0.06)


@pytest.mark.usefixtures("float64")
def test_factor_weighs_the_critics_log_odds_and_teaches_it_to_tell():
    """Loss −ELBO + γ·mean log-odds; the model's gradient has nothing of the critic's loss, and the
    critic's has nothing else."""
    rows, eps, gamma = some_rows(5), some_noise(5, 1), 3.0
    model, batch = linear_model(2), batch_of(rows, WEIGHT)
    objective = logvar.objectives.get("factor", gamma=gamma, hidden=(8,))
    at = moment(objective=objective)
    critic = at.extras

    def loss(model, critic):
        return objective(model, batch, eps, at._replace(extras=critic))[0]

    def by_hand(model):
        each = draws(model, batch, eps)
        odds = jax.jit(jax.vmap(critic))(each.trace.z[:, 0])
        elbo = each.terms(analytic_kl=True).elbo[:, 0]
        return jnp.sum(batch.weights * (gamma * odds - elbo)) / jnp.sum(batch.weights)

    def of_critic(critic):
        z = draws(model, batch, eps).trace.z[:, 0]
        key = jax.random.split(at.key, 1)[0]
        real = -jax.nn.log_sigmoid(jax.jit(jax.vmap(critic))(z))
        fake = -jax.nn.log_sigmoid(
            -jax.jit(jax.vmap(critic))(each_by_itself(z, batch.weights, key))
        )
        return 0.5 * (jnp.average(real, weights=batch.weights) + jnp.mean(fake))

    value, gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), allow_int=True))(
        model, critic
    )
    expected, of_model = jax.jit(jax.value_and_grad(by_hand, allow_int=True))(model)
    assert float(value) == pytest.approx(float(expected), rel=1e-10)
    pairs = [(gradients[0].encoder, of_model.encoder), (gradients[0].decoder, of_model.decoder),
             (gradients[1], jax.jit(jax.grad(of_critic))(critic))]  # fmt: skip
    for got, hand in pairs:
        for a, b in zip(*map(jax.tree.leaves, (got, hand)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-12)
            assert np.any(a)


@pytest.mark.parametrize(
    ("objective", "posterior", "prior", "said"),
    [
        ("beta-tc", "full", "mixture", "posterior='diagonal'"),
        ("dip", "low-rank(rank=1)", "standard", "posterior='diagonal'"),
        ("mmd(beta=0)", "diagonal", "mixture", "prior='standard'"),
        ("factor", "power-spherical", "uniform-sphere", "leaves the sphere"),
    ],
)
def test_parts_that_do_not_fit_are_refused(objective, posterior, prior, said):
    recipe = Recipe().replace(objective=objective, posterior=posterior, prior=prior)
    with pytest.raises(logvar.LogvarError, match=said) as raised:
        check_fit(specs(recipe))
    assert "\n" not in str(raised.value)
    if "mmd" in objective:
        check_fit(specs(recipe.replace(prior="standard")))


@pytest.mark.parametrize("text", ["beta-tc", "dip", "mmd", "factor"])
@pytest.mark.parametrize(
    ("rows", "size", "said"),
    [(1, 10, "there is 1 training row"), (20, 1, "batch_size is 1"), (21, 10, "use batch_size=9")],
)
def test_a_batch_of_one_row_is_refused(text, rows, size, said):
    objective = logvar.objectives.get(text)
    with pytest.raises(logvar.LogvarError, match=said) as raised:
        check_batches(objective, text, rows, size)
    assert "\n" not in str(raised.value)
    check_batches(objective, text, 22, 10)
    check_batches(logvar.objectives.get("iwae"), "iwae", rows, size)


def test_fitting_with_a_last_batch_of_one_row_is_refused():
    vae = logvar.VAE(objective="dip", batch_size=10, validation_fraction=0.0)
    with pytest.raises(logvar.LogvarError, match="alone in a batch of 10"):
        vae.fit(np.random.default_rng(0).normal(size=(21, 3)))
