"""Checks of a model's parts for `logvar doctor`: encoder, learned prior, posterior, objective."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from logvar.data.examples import Examples
from logvar.data.preparation import Preparation
from logvar.distributions.mixture import NormalMixture
from logvar.evaluation.coding import draw_posterior
from logvar.evaluation.elbo import RowTerms
from logvar.evaluation.health import Finding
from logvar.models.vae import VAEModel
from logvar.objectives import Objective
from logvar.objectives.elbo import ELBO

DEAD = 0.01
"""A component is dead if it accounts for less than this share of the rows that an even split
would give it."""
_SAME = 1e-3
"""Codes that differ by less than this share of σ, and of log σ, are the same for all rows."""
_KAPPA = (1e-3, 1e4)
"""The concentrations for which the power spherical density is accurate in float32."""
_SHOWN = 8


def examine_parts(
    model: VAEModel,
    terms: RowTerms,
    examples: Examples,
    preparation: Preparation,
    seed: int,
    objective: Objective,
    epochs: int,
) -> list[Finding]:
    """Look for an encoder that ignores x, dead components of a mixture, a concentration at the
    ends of its range, and a β that never reached its value.

    Args:
        model: the trained model.
        terms: terms of the rows to judge by.
        examples: these rows.
        preparation: how they become inputs.
        seed: the seed of draws of z.
        objective: what it was trained with.
        epochs: how many it was trained for.
    """
    findings = [encoder(model, terms), warm_up(objective, epochs)]
    prior = None if model.prior.is_conditional else model.prior_given()
    if isinstance(prior, NormalMixture):
        z = draw_posterior(model, examples, preparation, seed)
        findings.append(components(prior, z))
    if model.posterior.support == "sphere":
        findings.append(concentration(np.asarray(model.scale.sigma(jnp.asarray(terms.raw)))))
    return [finding for finding in findings if finding is not None]


def encoder(model: VAEModel, terms: RowTerms) -> Finding | None:
    """A KL that is the same for all rows pays for nothing; without a KL it is collapse."""
    if len(terms.mean) < 2 or terms.kl.sum(1).mean() < 0.01:
        return None
    raw = jnp.asarray(terms.raw)
    # On a sphere σ is a concentration, and means are of length 1.
    unit = 1.0 if model.posterior.support == "sphere" else float(np.median(model.scale.sigma(raw)))
    spread = float(terms.mean.std(0, dtype=np.float64).max())
    spread_of_logs = float(np.asarray(model.scale.log_sigma(raw), np.float64).std(0).max())
    if spread > _SAME * unit or spread_of_logs > _SAME:
        return None
    return Finding(
        "encoder",
        False,
        f"it ignores x: q(z | x) is the same for all {len(terms.mean):,} rows, at a KL of "
        f"{terms.kl.sum(1).mean(dtype=np.float64):.3g} nats that tells nothing: its units may have "
        "died; lower learning_rate, or check that x is of the order of 1",
    )


def warm_up(objective: Objective, epochs: int) -> Finding | None:
    """Say so if training ended before β, or the objective's last stage, was reached."""
    if not objective.warmup > epochs:
        return None
    text = f"the warm-up takes {objective.warmup:g} epochs and training ended after {epochs}: "
    if isinstance(objective, ELBO):
        text += f"β reached {objective.beta * epochs / objective.warmup:.3g} and not "
        text += f"{objective.beta:g}; train longer, or shorten the warm-up"
    else:
        text += "the objective's last stage did not begin; train longer"
    return Finding("warm-up", False, text)


def components(prior: NormalMixture, z: Float[np.ndarray, "rows latent"]) -> Finding:
    """Report the components of a mixture prior that hardly any z belongs to."""
    share = np.asarray(jax.vmap(prior.responsibilities)(jnp.asarray(z)), np.float64).mean(0)
    dead = np.flatnonzero(share < DEAD / len(share))
    what = f"{len(share)} components of the prior"
    if not len(dead):
        return Finding("components", True, f"all {what} are used: {_range(share)} of z each")
    shown = ", ".join(map(str, dead[:_SHOWN])) + (", …" if len(dead) > _SHOWN else "")
    return Finding(
        "components",
        False,
        f"{len(dead)} of {what} are dead ({shown}): each accounts for less than "
        f"{DEAD / len(share):.2%} of z; prior='mixture(components={len(share) - len(dead)})' would "
        "do",
    )


def _range(share: Float[np.ndarray, "components"]) -> str:
    return f"{share.min():.1%} to {share.max():.1%}"


def concentration(kappa: Float[np.ndarray, "rows one"]) -> Finding:
    """Report concentrations of a spherical posterior outside the range of accurate densities."""
    low, high = _KAPPA
    outside = float(np.mean(~((kappa >= low) & (kappa <= high))))
    text = f"κ from {kappa.min():.3g} to {kappa.max():.3g}"
    if not outside:
        return Finding("concentration", True, text)
    return Finding(
        "concentration",
        False,
        f"{text}, {outside:.1%} outside [{low:g}, {high:g}]: below, q is uniform and z tells "
        "nothing; above, it is a point: use fewer latents, or a scale with bounds, such as "
        "'clamped(log-std, low=-2, high=7)'",
    )
