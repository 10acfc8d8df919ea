"""Convert a fitted estimator to another scale and measure what that changes on data."""

import dataclasses
from typing import Any

import numpy as np

from logvar import scales
from logvar.assembly.tables import Intake
from logvar.data.images.shapes import fitting
from logvar.evaluation.elbo import elbo_terms
from logvar.fitted import Fitted
from logvar.recipe import Recipe
from logvar.rescaling.conversion import affine_between, convert_model, convert_state
from logvar.rescaling.matching import coordinates, factor_between
from logvar.scales import LogFamily, Scale


@dataclasses.dataclass(frozen=True)
class Change:
    """The differences between a model and its converted copy, on the same rows and noise."""

    kind: str
    """"bitwise", "to rounding" or "best local match"."""
    rows: int
    sigma: float
    """The largest relative change of a σ."""
    kl: float
    """The largest change of one latent's KL, nats."""
    elbo: float
    """The largest change of one row's ELBO, nats."""
    mean_elbo: float
    """The change of the mean ELBO, nats per example."""

    def __str__(self) -> str:
        return (
            f"{self.kind}: on {self.rows:,} rows σ changes by at most {self.sigma:.2g} of itself, "
            f"a latent's KL by {self.kl:.2g} nats, a row's ELBO by {self.elbo:.2g} nats; the mean "
            f"ELBO by {self.mean_elbo:+.2g} nats per example"
        )


def convert(
    vae: Any, scale: str | Scale, X: Any, *, match: bool = True, condition: Any = None
) -> tuple[Any, Change]:
    """Convert a fitted estimator to another scale: its weights, and its optimizer's state if any.

    Within the log family the conversion is exact to the bit if the factor is a power of two
    (log-variance, log-std) and exact to rounding otherwise. Training then continues in the
    coordinates of the old scale (`match`), as if nothing had changed. For any other scale the
    conversion is the best match on X.

    Args:
        vae: a fitted estimator.
        scale: the new scale.
        X: the rows to fit the match on and to measure the change on, as for `fit`; usually the
            training rows.
        match: within the log family, keep training as under the old scale; False moves the
            optimizer's state to the new scale's own coordinates.

    Raises:
        LogvarError: the model has the user's own networks, or the scale is unknown.

    Example:
        >>> import logvar
        >>> from logvar.runs.converting import convert
        >>> from sklearn.datasets import load_iris
        >>> X = load_iris().data
        >>> vae = logvar.VAE(latent_dim=2, epochs=2).fit(X)
        >>> other, change = convert(vae, "log-std", X)
        >>> change.kind, change.sigma
        ('bitwise', 0.0)
    """
    fitted: Fitted = vae.fitted_
    given = fitted.take_in(X, condition=condition)
    given = given._replace(rows=fitting(given.rows, fitted.shape))
    moved, change = convert_fitted(fitted, scale, given, match=match)
    return vae.around(moved), change


def convert_fitted(
    fitted: Fitted, scale: str | Scale, given: Intake, *, match: bool = True
) -> tuple[Fitted, Change]:
    """Do the same for a `Fitted` and rows in the data's own units."""
    new, old = scales.get(scale), fitted.model.scale
    examples, preparation = fitted.read(given.rows, given.condition)
    before = elbo_terms(fitted.model, examples, preparation, fitted.seed)
    affine = affine_between(old, new, before.raw)
    model = convert_model(fitted.model, new, affine)
    recipe, reference = _recipe(fitted.recipe, old, new, match)
    state = fitted.state
    if state is not None:
        worked_in = fitted.recipe.training.match
        factor = factor_between(old, worked_in) if worked_in else 1.0
        state = convert_state(
            state,
            affine,
            model,
            old_coordinates=coordinates(fitted.model, factor),
            same_coordinates=bool(reference),
        )
    after = elbo_terms(model, examples, preparation, fitted.seed)
    converted = dataclasses.replace(fitted, recipe=recipe, model=model, state=state)
    return converted, _change(old, new, before, after)


def _recipe(recipe: Recipe, old: Scale, new: Scale, match: bool) -> tuple[Recipe, str]:
    """Return the converted run's recipe, and the scale whose coordinates it trains in."""
    family = isinstance(old, LogFamily) and isinstance(new, LogFamily)
    reference = (recipe.training.match or scales.describe(old)) if family and match else ""
    name = scales.describe(new)
    return recipe.replace(scale=name, match="" if reference == name else reference), reference


def _change(old: Scale, new: Scale, before, after) -> Change:
    kind = "best local match"
    if isinstance(old, LogFamily) and isinstance(new, LogFamily):
        exponent = np.log2(abs(old.rate / new.rate))
        kind = "bitwise" if exponent == round(exponent) else "to rounding"
    log_ratio = np.asarray(new.log_sigma(after.raw), float) - np.asarray(
        old.log_sigma(before.raw), float
    )
    elbo = after.elbo.astype(np.float64) - before.elbo
    return Change(
        kind,
        len(elbo),
        float(np.max(np.abs(np.expm1(log_ratio)))),
        float(np.max(np.abs(after.kl.astype(np.float64) - before.kl))),
        float(np.max(np.abs(elbo))),
        float(elbo.mean()),
    )
