"""The aggregate posterior: mutual information of x and z, and its distance from the prior.

The KL of an ELBO, averaged over rows, is the sum of two parts (Hoffman & Johnson 2016, "ELBO
surgery"): E[KL(q(z | x) ‖ p(z))] = I(x; z) + KL(q(z) ‖ p(z)), with q(z) the mean of q(z | x) over
rows. The first says how much z tells of x, the second how far z in use is from the z of samples.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from logvar.backend.compiling import host_int
from logvar.data.examples import Examples
from logvar.data.order import padded
from logvar.data.preparation import Preparation
from logvar.evaluation.blocks import BLOCK, in_blocks
from logvar.evaluation.coding import encode_stored
from logvar.models.vae import VAEModel
from logvar.randomness import Purpose, host_stream, row_noise, stream

ROWS = 1000
"""Rows that q(z) is averaged over, at most: each is compared with each other one."""


class Aggregate(NamedTuple):
    """One draw of z for each of some rows, with its densities in nats, float64."""

    log_q: Float[np.ndarray, "rows"]
    """log q(z | x)."""
    log_aggregate: Float[np.ndarray, "rows"]
    """log q(z) = log (1/N) Σ q(z | xⱼ) over the N rows."""
    log_p: Float[np.ndarray, "rows"]
    """log p(z)."""
    z: Float[np.ndarray, "rows latent"]
    from_prior: Float[np.ndarray, "rows latent"]
    """As many draws from the prior."""

    @property
    def mutual_information(self) -> Float[np.ndarray, "rows"]:
        """log q(z | x) − log q(z) of each row, whose mean estimates I(x; z); at most log N."""
        return self.log_q - self.log_aggregate

    @property
    def kl(self) -> Float[np.ndarray, "rows"]:
        """log q(z) − log p(z) of each row, whose mean estimates KL(q(z) ‖ p(z))."""
        return self.log_aggregate - self.log_p


class _Task(NamedTuple):
    model: Any
    seed: Int[Array, ""]
    codes: Any
    """The codes of all rows, padded so that a program serves several numbers of rows."""
    number: Int[Array, ""]
    """The number of rows."""


def aggregate(
    model: VAEModel, examples: Examples, preparation: Preparation, seed: int, rows: int = ROWS
) -> Aggregate | None:
    """Draw z of some rows and compute its density under each of their posteriors.

    Rows × rows densities are computed, but only a block of them is in memory at a time.

    Args:
        model: the model.
        examples: rows as the model reads them.
        preparation: how they become inputs.
        seed: the seed of the noise, of the choice of rows, and of the draws from the prior.
        rows: how many to use, at most; chosen at random if there are more.

    Returns:
        The draws; None if the prior depends on each row's condition, so that there is no p(z).

    Reference:
        Hoffman & Johnson 2016, "ELBO surgery", NIPS workshop on approximate Bayesian inference.
    """
    if model.prior.is_conditional:
        return None
    n = min(len(examples), rows)
    which = np.arange(n)
    if n < len(examples):
        which = np.sort(host_stream(seed, Purpose.AGGREGATE).permutation(len(examples))[:n])
    stored, words = examples.stored[which], examples.words[which]
    codes = encode_stored(model, stored, words, preparation, seed)
    # With labels, codes are those of the most probable one, and z alone is compared.
    task = _Task(model.conditional, host_int(seed), jax.tree.map(padded, codes), host_int(n))
    number = np.arange(n, dtype=np.int32)
    found = in_blocks(_block, task, number, codes, words)
    log_q, log_aggregate, log_p, z, from_prior = (array.astype(np.float64) for array in found)
    return Aggregate(log_q, log_aggregate, log_p, z, from_prior)


def _block(task: _Task, number: Array, codes: Any, words: Array) -> tuple[Array, ...]:
    model = task.model
    prior = model.prior_given()

    def of_row(code: Any, word: Array) -> tuple[Array, ...]:
        q = model.posterior.distribution(code)
        noise = jax.tree.map(
            lambda leaf: leaf[0], row_noise(task.seed, word, 1, model.noise_like())
        )
        # From the noise: log q(z) loses the digits of a narrow posterior.
        return q.draw(noise), jnp.sum(q.log_prob_groups_of_noise(noise))

    z, log_q = jax.vmap(of_row)(codes, words)

    def add(j: Array, total: Array) -> Array:
        # One code after another, for all points: a batch of triangular solves compiles slowly.
        code = jax.tree.map(lambda leaf: leaf[j], task.codes)
        of_code = jax.vmap(model.posterior.distribution(code).log_prob)(z)
        return jnp.logaddexp(total, jnp.where(number == j, log_q, of_code))

    nothing = jnp.full(len(z), -jnp.inf, log_q.dtype)
    summed = lax.fori_loop(0, task.number, add, nothing)
    log_aggregate = summed - jnp.log(task.number.astype(summed.dtype))
    keys = jax.vmap(lambda i: stream(task.seed, Purpose.AGGREGATE, i))(number)
    return log_q, log_aggregate, jax.vmap(prior.log_prob)(z), z, jax.vmap(prior.sample)(keys)


class Discrepancy(NamedTuple):
    """The squared maximum mean discrepancy of two samples and its standard error."""

    value: float
    """Unbiased, so that it may be a little below 0."""
    standard_error: float


def maximum_mean_discrepancy(
    first: Float[np.ndarray, "n latent"], second: Float[np.ndarray, "n latent"]
) -> Discrepancy:
    """Estimate MMD² between two distributions from as many draws of each.

    MMD² = E k(z, z′) + E k(y, y′) − 2 E k(z, y), with the inverse multiquadric kernel
    k(z, y) = C/(C + ‖z − y‖²) and C = 2·D, twice the expected squared norm under N(0, I). The
    estimate is the U-statistic over pairs i ≠ j; its standard error is that of the mean of the
    pairs' values by row, which is too large by √2 where the distributions are equal.

    Args:
        first: draws of the one, (n, latent), n ≥ 2.
        second: draws of the other, (n, latent).

    Reference:
        Gretton et al. 2012, lemma 6; the kernel: Tolstikhin et al. 2018 (arXiv 1711.01558).

    Example:
        >>> import numpy as np
        >>> from logvar.evaluation.aggregate import maximum_mean_discrepancy
        >>> z = np.random.default_rng(0).normal(size=(500, 2))
        >>> far = maximum_mean_discrepancy(z[:250], z[250:] + 3)
        >>> far.value > 10 * far.standard_error
        True
    """
    n, constant = len(first), 2.0 * first.shape[1]

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
        return constant / (constant + np.maximum(squares, 0))

    by_row = np.empty(n)
    for start in range(0, n, BLOCK):
        span = slice(start, start + BLOCK)
        a, b = first[span], second[span]
        pairs = kernel(a, first) + kernel(b, second) - kernel(a, second) - kernel(b, first)
        own = np.arange(start, start + len(a))
        pairs[np.arange(len(a)), own] = 0.0
        by_row[span] = pairs.sum(1) / (n - 1)
    return Discrepancy(float(by_row.mean()), float(2 * by_row.std(ddof=1) / np.sqrt(n)))
