"""Checks of a model's parts for `logvar doctor`: encoder, learned prior, posterior, objective."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from logvar.data.examples import Examples
from logvar.data.preparation import Preparation
from logvar.distributions.aggregate import Aggregate
from logvar.distributions.mixture import NormalMixture
from logvar.evaluation.coding import draw_posterior
from logvar.evaluation.elbo import RowTerms
from logvar.evaluation.health import Finding
from logvar.models.vae import VAEModel
from logvar.objectives import Objective
from logvar.objectives.elbo import ELBO
from logvar.scales import Scale, describe

DEAD = 0.01
"""A component is dead if it accounts for less than this share of the rows that an even split
would give it."""
ROWS_FOR_EACH = 10
"""With fewer rows for each component, some get none by chance."""
_SAME = 1e-3
"""Codes that differ by less than this share of σ, and of log σ, are the same for all rows."""
_OFF = 0.2
"""The share of a capacity by which the KL may miss it."""
_AT_A_BOUND = 0.01
"""A concentration this close to a bound of its scale, as a share of it, is at the bound."""
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
    """Look for an encoder that ignores x, dead components of a mixture, unused pseudo-inputs, a
    concentration at the ends of its range, and a β or a capacity that never reached its value.

    Args:
        model: the trained model.
        terms: terms of the rows to judge by.
        examples: these rows.
        preparation: how they become inputs.
        seed: the seed of draws of z.
        objective: what it was trained with.
        epochs: how many it was trained for.
    """
    findings = [encoder(model, terms), warm_up(objective, epochs), capacity(objective, terms)]
    prior = None if model.prior.is_conditional else model.prior_given()
    if isinstance(prior, NormalMixture | Aggregate):
        z = draw_posterior(model, examples, preparation, seed)
        findings.append(components(prior, z))
    if model.posterior.support == "sphere":
        kappa = np.asarray(model.scale.sigma(jnp.asarray(terms.raw)))
        findings.append(concentration(kappa, model.scale))
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
    """Say so if training ended before β, a capacity, or the last cycle or stage was complete."""
    if not objective.settled_after > epochs:
        return None
    return Finding(
        "warm-up", False, f"{objective.unsettled(epochs)}; train longer, or shorten the warm-up"
    )


def capacity(objective: Objective, terms: RowTerms) -> Finding | None:
    """Compare the KL with the capacity that it was to be held to."""
    if not isinstance(objective, ELBO) or not objective.capacity:
        return None
    kl, wanted = float(terms.kl.sum(1).mean(dtype=np.float64)), objective.capacity
    text = f"KL {kl:.3g} nats, held to {wanted:g}"
    if abs(kl - wanted) <= _OFF * wanted:
        return Finding("capacity", True, text)
    remedy = f"a gamma above {objective.gamma:g}, or train longer"
    return Finding("capacity", False, f"{text}: it never got there; give {remedy}")


def components(prior: NormalMixture | Aggregate, z: Float[np.ndarray, "rows latent"]) -> Finding:
    """Report the components of a mixture, or the pseudo-inputs, that hardly any z belongs to."""
    share = np.asarray(jax.vmap(prior.responsibilities)(jnp.asarray(z)), np.float64).mean(0)
    of_inputs = isinstance(prior, Aggregate)
    name, parts = ("vamp", "pseudo-inputs") if of_inputs else ("mixture", "components")
    dead = np.flatnonzero(share < DEAD / len(share))
    what = f"{len(share)} {parts} of the prior"
    if not len(dead):
        return Finding(parts, True, f"all {what} are used: {_range(share)} of z each")
    if len(z) < ROWS_FOR_EACH * len(share):
        return Finding(
            parts,
            True,
            f"{len(share) - len(dead)} of {what} account for z of these {len(z):,} rows, which are "
            f"too few to tell whether the others are used: {ROWS_FOR_EACH} for each would do",
        )
    shown = ", ".join(map(str, dead[:_SHOWN])) + (", …" if len(dead) > _SHOWN else "")
    return Finding(
        parts,
        False,
        f"{len(dead)} of {what} are {'unused' if of_inputs else 'dead'} ({shown}): each accounts "
        f"for less than {DEAD / len(share):.2%} of z; "
        f"prior='{name}(components={len(share) - len(dead)})' would do",
    )


def _range(share: Float[np.ndarray, "components"]) -> str:
    return f"{share.min():.1%} to {share.max():.1%}"


def concentration(kappa: Float[np.ndarray, "rows one"], scale: Scale) -> Finding:
    """Report concentrations of a spherical posterior outside the range of accurate densities, or
    at the ends of what its scale reaches."""
    text = f"κ from {kappa.min():.3g} to {kappa.max():.3g}"
    low, high = _KAPPA
    outside = float(np.mean(~((kappa >= low) & (kappa <= high))))
    if outside:
        return Finding(
            "concentration",
            False,
            f"{text}, {outside:.1%} outside [{low:g}, {high:g}]: below, q is uniform and z tells "
            "nothing; above, it is a point: use fewer latents, or a scale with bounds, such as "
            "'clamped(log-std, low=-2, high=7)'",
        )
    least, most = (float(bound) for bound in scale.bounds)
    at_least = float(np.mean(kappa < (1 + _AT_A_BOUND) * least))
    at_most = float(np.mean(kappa > (1 - _AT_A_BOUND) * most))
    if not at_least and not at_most:
        return Finding("concentration", True, text)
    end, share, bound = ("smallest", at_least, least) if at_least else ("largest", at_most, most)
    return Finding(
        "concentration",
        False,
        f"{text}, {share:.1%} at the {end} that {describe(scale)} reaches, {bound:.3g}: "
        + ("q can be no wider there, and its KL no smaller" if at_least else "q can be no narrower")
        + "; give a scale that reaches further",
    )
