"""p(z | condition): its formula by SciPy, where it matters, and every use of a run that has it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import logvar
from logvar.distributions.base import total
from logvar.distributions.kl import kl
from logvar.distributions.multivariate import DiagonalNormal
from logvar.priors import EncoderInputs
from logvar.priors.conditional import ConditionalNormal

RNG = np.random.default_rng(0)
SPREAD, SHIFT = np.array([0.5, 1.0, 3.0]), np.array([-1.0, 0.0, 2.0])
LOADING, NOISE = np.array([1.0, -1.0, 1.0]), 0.2
N = 1500
LEVEL = RNG.integers(0, 3, N)
X = (SHIFT + SPREAD * RNG.normal(size=(N, 1)))[np.arange(N), LEVEL][:, None] * LOADING
X = (X + NOISE * RNG.normal(size=(N, 3))).astype(np.float32)
TOLD = {"batch": np.array(["a", "b", "c"])[LEVEL]}
SETTINGS = {
    "latent_dim": 1, "network": "mlp(hidden=[])", "learning_rate": 0.02, "batch_size": 50,
    "patience": 0,
}  # fmt: skip


def true_log_likelihood(x, level):
    """log N(x; shift·w, spread²·wwᵀ + noise²·I), by SciPy."""
    found = np.empty(len(x))
    for j in range(3):
        covariance = SPREAD[j] ** 2 * np.outer(LOADING, LOADING) + NOISE**2 * np.eye(3)
        rows = level == j
        found[rows] = stats.multivariate_normal(SHIFT[j] * LOADING, covariance).logpdf(x[rows])
    return found


@pytest.fixture(scope="module")
def runs():
    def fitted(prior):
        vae = logvar.VAE(**SETTINGS, prior=prior, epochs=25, validation_fraction=0)
        return vae.fit(X[:1000], condition={"batch": TOLD["batch"][:1000]})

    return {prior: fitted(prior) for prior in ("standard", "conditional")}


def test_it_reaches_the_true_likelihood_where_a_linear_decoder_cannot(runs):
    """A decoder that is linear in z and the condition shifts by level; only p(z | c) has the
    spread of each level. A common spread is ½(log mean σ² − mean log σ²) = 0.48 nats worse."""
    truth = true_log_likelihood(X[1000:], LEVEL[1000:])
    told = {"batch": TOLD["batch"][1000:]}
    loss = {
        prior: truth - vae.score_samples(X[1000:], 200, condition=told)
        for prior, vae in runs.items()
    }
    assert abs(loss["conditional"].mean()) < 0.12
    worse = loss["standard"] - loss["conditional"]
    error = worse.std() / np.sqrt(len(worse))
    pooled = 0.5 * (np.log(np.mean(SPREAD**2)) - np.mean(np.log(SPREAD**2)))
    assert abs(worse.mean() - pooled) < 3 * error + 0.12, (worse.mean(), pooled, error)


def test_draws_of_a_level_have_its_location_and_spread(runs):
    for j, name in enumerate("abc"):
        drawn = runs["conditional"].sample(4000, condition={"batch": name})
        covariance = SPREAD[j] ** 2 * np.outer(LOADING, LOADING) + NOISE**2 * np.eye(3)
        np.testing.assert_allclose(drawn.std(0), np.sqrt(np.diag(covariance)), rtol=0.25)
        np.testing.assert_allclose(drawn.mean(0), SHIFT[j] * LOADING, atol=0.4)


def built(text, condition_size=3, latent_dim=2):
    inputs = EncoderInputs((4,), False, condition_size=condition_size)
    return logvar.priors.get(text).build(latent_dim, jax.random.key(1), inputs)


@pytest.mark.parametrize("text", ["conditional", "conditional(hidden=[5], scale=softplus)"])
def test_it_starts_at_the_standard_normal(text):
    p = built(text).given(2, None, np.asarray([1.0, 0.0, 3.0], np.float32))
    np.testing.assert_allclose(p.mean, 0, atol=0)
    np.testing.assert_allclose(p.each.sigma, 1, rtol=1e-6)


def test_densities_and_kl_are_those_of_scipy(float64):
    """m = c·W, log σ = c·V in NumPy; the KL by Gauss–Hermite quadrature of SciPy's densities."""
    weights = RNG.normal(size=(3, 4)) / 2
    prior = ConditionalNormal([], jnp.asarray(weights), 0.0, built("conditional").scale)
    condition = np.array([0.0, 1.0, -1.3])
    p = prior.given(2, None, condition)
    mean, log_sigma = np.split(condition @ weights, 2)
    z = RNG.normal(size=(5, 2))
    np.testing.assert_allclose(
        jax.jit(jax.vmap(p.log_prob))(jnp.asarray(z)),
        stats.norm.logpdf(z, mean, np.exp(log_sigma)).sum(1),
        rtol=1e-12,
    )
    q = DiagonalNormal(jnp.asarray([0.4, -1.0]), jnp.asarray([-0.5, 0.3]), prior.scale)
    nodes, share = np.polynomial.hermite_e.hermegauss(20)
    at = np.asarray(q.mean)[:, None] + np.asarray(q.each.sigma)[:, None] * nodes
    log_q = stats.norm.logpdf(at, q.mean[:, None], q.each.sigma[:, None])
    log_p = stats.norm.logpdf(at, mean[:, None], np.exp(log_sigma)[:, None])
    expected = ((log_q - log_p) * share).sum() / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(total(kl(q, p)), expected, rtol=1e-10)


def test_every_use_of_a_run(runs, tmp_path):
    vae, told = runs["conditional"], {"batch": TOLD["batch"][:100]}
    folder = vae.save(tmp_path / "run")
    again = logvar.load(folder)
    np.testing.assert_array_equal(
        again.sample(5, condition={"batch": "c"}), vae.sample(5, condition={"batch": "c"})
    )
    figures = again.evaluate(X[:100], n_importance=20, condition=told)
    assert "closed form" in figures["kl"].how
    assert figures["kl"].value == pytest.approx(
        vae.elbo(X[:100], condition=told, analytic_kl=True).mean() * -1
        + figures["reconstruction"].value, abs=1e-3,
    )  # fmt: skip
    # The KL is that of the row's own condition.
    q = again.posterior(X[:100], condition=told)
    prior, form = again.model_.prior, again.fitted_.conditions
    each = [prior.given(1, None, c) for c in form.matrix(told)]
    mean, sigma = np.array([(float(p.mean[0]), float(p.each.sigma[0])) for p in each]).T
    own = np.asarray(q.sigma)[:, 0]
    square = own**2 + (np.asarray(q.mean)[:, 0] - mean) ** 2
    closed = np.log(sigma / own) + 0.5 * (square / sigma**2 - 1)
    assert figures["kl"].value == pytest.approx(closed.mean(), rel=1e-4)
    for without in (lambda: again.sample(3), lambda: again.score(X[:5])):
        with pytest.raises(logvar.LogvarError, match="fitted with a condition") as caught:
            without()
        assert "\n" not in str(caught.value)


def test_a_new_level_gets_a_location_and_a_spread_of_its_own(runs, tmp_path):
    folder = runs["conditional"].save(tmp_path / "run")
    new = (3 + 0.1 * RNG.normal(size=(300, 1))) * LOADING + NOISE * RNG.normal(size=(300, 3))
    second = logvar.VAE(from_run=str(folder), epochs=40, learning_rate=0.1, patience=0)
    second.fit(new, condition={"batch": np.repeat("d", 300)})
    before, after = runs["conditional"].model_.prior.last, second.model_.prior.last
    np.testing.assert_array_equal(after[:3], before)
    drawn = second.sample(3000, condition={"batch": "d"})
    np.testing.assert_allclose(drawn.mean(0), 3 * LOADING, atol=0.6)
    assert np.abs(after[3] - before.mean(0)).max() > 0.05
    told = {"batch": TOLD["batch"][:20]}
    np.testing.assert_allclose(
        second.transform(X[:20], condition=told),
        runs["conditional"].transform(X[:20], condition=told),
        atol=1e-5,
    )


def test_it_resumes_to_the_same_bytes(tmp_path):
    some, told = X[:200], {"batch": TOLD["batch"][:200]}
    settings = SETTINGS | {"prior": "conditional(hidden=[3])"}
    whole = logvar.VAE(**settings, epochs=3).fit(some, condition=told)
    at = logvar.Checkpoints(tmp_path, epochs=1)
    logvar.VAE(**settings, epochs=2).fit(some, condition=told, checkpoints=at)
    resumed = logvar.VAE(**settings, epochs=3)
    resumed.fit(some, condition=told, checkpoints=at, resume=True)
    for a, b in zip(*(jax.tree.leaves(v.model_.prior) for v in (whole, resumed)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_a_condition_it_is_refused_in_one_line():
    with pytest.raises(logvar.LogvarError, match=r"prior 'conditional' depends .*--condition NAME"):
        logvar.VAE(**SETTINGS, prior="conditional", epochs=1).fit(X[:50])


def test_a_learned_label_is_a_condition():
    """p(z | y) of each label; without a label, E[x | z] weighs each by p(y | z)."""
    some = X[:200]
    model = logvar.VAEClassifier(
        **SETTINGS | {"learning_rate": 0.1}, prior="conditional", epochs=2, validation_fraction=0
    ).fit(some, LEVEL[:200])
    assert np.isfinite(model.score_samples(some[:10], 5)).all()
    Z = np.linspace(-2, 2, 6, dtype=np.float32)[:, None]
    p = [model.model_.prior.given(1, None, np.eye(3, dtype=np.float32)[j]) for j in range(3)]
    density = [stats.norm.pdf(Z[:, 0], float(q.mean[0]), float(q.each.sigma[0])) for q in p]
    share = np.stack(density, 1) * model.class_prior_
    share /= share.sum(1, keepdims=True)
    assert np.abs(share - model.class_prior_).max() > 0.02
    each = np.stack([model.inverse_transform(Z, label=j) for j in range(3)], 1)
    expected = (share[..., None] * each).sum(1)
    np.testing.assert_allclose(model.inverse_transform(Z), expected, rtol=1e-4, atol=1e-4)
