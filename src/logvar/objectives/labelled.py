"""The objective of a model with labels: known ones are given, unknown ones are summed out."""

import dataclasses

import jax
import jax.numpy as jnp
from jax.nn import log_softmax
from jaxtyping import Array, PyTree

from logvar.models.base import Model, Terms
from logvar.models.batch import Batch
from logvar.models.labelled import LabelledVAE
from logvar.objectives.base import (
    Moment,
    Objective,
    Scalar,
    average,
    averaged,
    draws,
    risen,
    samples_setting,
)
from logvar.registry import setting


class Labelled(Objective):
    """Semi-supervised bound of Kingma et al. 2014 (arXiv 1406.5298, equations 6 to 9).

    Where the label y is known, a bound on log p(x, y): E[log p(x | y, z)] − β·(KL(q(z | x, y) ‖
    p(z)) − log p(y)). Where it is not, one on log p(x), with all labels computed and weighed by
    q(y | x): Σ_y q(y | x)·E[log p(x | y, z)] − β·KL(q(y, z | x) ‖ p(y)·p(z)). A known label also
    costs −log q(y | x), with the weight α·N/N_known if N_known of N rows have one. So the loss, a
    mean over all rows, has α·(the mean of −log q(y | x) over known labels) in it. The paper's loss
    is a sum over the rows, and its α is N times this one: 0.1·N there, 0.1 here.

    Without labels to learn, it is the ELBO. There are no free bits here: the KL of label and
    latents together does not divide into groups.

    Args:
        alpha: weight of the classifier's own loss. With 0.1, q(y | x) follows the bound rather
            than the labels where they are few; `docs/labels.md` has figures.
        beta: weight of the KL; 1 is the bound.
        warmup: epochs over which β rises linearly from 0.
        analytic_kl: use the closed-form KL of z if there is one, instead of the samples.
        samples: draws of z for each example, label and step.
    """

    alpha: float = setting(
        10.0, help="weight of the mean −log q(y | x) over the known labels", at_least=0
    )
    beta: float = setting(1.0, help="weight of the KL", at_least=0)
    warmup: float = setting(0.0, help="epochs over which β rises from 0", at_least=0)
    analytic_kl: bool = setting(True, help="KL in closed form; false: by the samples of z")
    samples: int = samples_setting(1)

    @property
    def sums_out_labels(self) -> bool:
        return True

    @property
    def averages_rows(self) -> bool:
        return True

    def __call__(
        self, model: Model, batch: Batch, noise: PyTree, moment: Moment
    ) -> tuple[Scalar, Terms]:
        if isinstance(model, LabelledVAE):
            mean, classification = terms_of(model, batch, noise["z"], self.analytic_kl)
            added = self.alpha / model.known * classification
        else:
            mean = averaged(draws(model, batch, noise).terms(self.analytic_kl), batch.weights)
            added = jnp.zeros_like(mean.log_likelihood)
        beta = self.beta * risen(self.warmup, moment)
        return beta * jnp.sum(mean.kl) - mean.log_likelihood + added, mean


def terms_of(
    model: LabelledVAE, batch: Batch, noise: PyTree, analytic_kl: bool
) -> tuple[Terms, Scalar]:
    """Return the terms averaged over the batch, and the average of −log q(y | x).

    All labels of all examples are one batch of the conditional model, in which a label counts by
    q(y | x), or by 1 and 0 where it is known. −log q(y | x) is 0 where the label is unknown.
    """
    weight, label = batch.weights, batch.label
    assert label is not None  # `build_run` gives labels to a model that learns them
    examples = dataclasses.replace(batch, label=None, weight=None)
    log_q = log_softmax(jax.vmap(model.logits)(examples))
    known, of_label = label >= 0, jax.nn.one_hot(label, model.classes, dtype=log_q.dtype)
    share = jnp.where(known[:, None], of_label, jnp.exp(log_q))

    told = jax.tree.map(_flat, jax.vmap(model.told)(examples))
    told = dataclasses.replace(told, weight=_flat(weight[:, None] * share))
    repeated = jax.tree.map(lambda leaf: jnp.repeat(leaf, model.classes, axis=0), noise)
    mean = averaged(draws(model.conditional, told, repeated).terms(analytic_kl), told.weights)

    log_share = jnp.where(known[:, None], 0.0, log_q)  # 0·log 0 is 0
    kl_of_label = jnp.sum(share * (log_share - model.log_prior), axis=1)
    kl = jnp.sum(mean.kl) + average(kl_of_label, weight)
    classification = average(-jnp.sum(of_label * log_q, axis=1), weight)
    return mean._replace(kl=kl[None]), classification


def _flat(leaf: Array) -> Array:
    """Return (batch, labels, …) as (batch·labels, …)."""
    return leaf.reshape(-1, *leaf.shape[2:])
