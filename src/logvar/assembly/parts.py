"""All kinds of parts in one place: from the texts of a recipe to specifications, and back.

A part may be text or an object. A recipe stores only text. An object of a user's own class is
written with its class name, and whoever reads the recipe must pass the class again.
"""

import types
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np

from logvar import likelihoods, networks, objectives, posteriors, priors, scales
from logvar.errors import LogvarError
from logvar.likelihoods import Likelihood, LikelihoodSpec
from logvar.networks import NetworkSpec
from logvar.objectives import Objective
from logvar.posteriors import Posterior
from logvar.priors import PriorSpec
from logvar.recipe import ModelSettings, Recipe
from logvar.registry import Registry, formatted, parsed
from logvar.scales.registry import SCALES
from logvar.training import optimizers, schedules

AUTO = "auto"
KINDS: Mapping[str, Registry] = types.MappingProxyType(
    {
        "scale": SCALES,
        "posterior": posteriors.POSTERIORS,
        "prior": priors.PRIORS,
        "likelihood": likelihoods.LIKELIHOODS,
        "objective": objectives.OBJECTIVES,
        "network": networks.NETWORKS,
        "optimizer": optimizers.OPTIMIZERS,
        "schedule": schedules.SCHEDULES,
    }
)
"""The registry of each kind."""
_OWN = ("scale", "posterior", "prior", "likelihood", "objective", "network")
"""Kinds whose objects are written with the names of their classes."""
Classes = Collection[type]


class Specs(NamedTuple):
    """The specifications of a recipe's parts; those left to "auto" are decided from data."""

    posterior: Posterior
    prior: PriorSpec
    likelihood: LikelihoodSpec | None
    objective: Objective
    network: NetworkSpec | None


def specs(recipe: Recipe, own: Classes = ()) -> Specs:
    """Return the specifications of a recipe's parts.

    Args:
        recipe: a recipe with parts as text.
        own: the user's own classes, which texts may name.

    Raises:
        LogvarError: a text cannot be read, its name is unknown or a setting does not fit.
    """
    model = recipe.model
    scale = get("scale", model.scale, own)
    return Specs(
        get("posterior", model.posterior, own, scale=scale),
        get("prior", model.prior, own),
        None if is_auto(model.likelihood) else get("likelihood", model.likelihood, own),
        get("objective", recipe.objective.objective, own),
        None if is_auto(model.network) else get("network", model.network, own),
    )


def get(kind: str, part: Any, own: Classes = (), **settings: Any) -> Any:
    """Return the part of this kind.

    Raises:
        LogvarError: there is no such part, or a setting is invalid.
    """
    return KINDS[kind].extended(own).get(part, **settings)


def is_auto(text: Any) -> bool:
    """Return whether a part is to be decided from the data, with or without settings."""
    return isinstance(text, str) and text.split("(")[0].strip() == AUTO


def written(settings: Mapping[str, Any], own: Classes = ()) -> dict[str, Any]:
    """Return settings with their parts as a recipe stores them: text, in one spelling.

    A scale in the text of a posterior becomes the run's scale, so that it is stored only once.

    Raises:
        LogvarError: a part is unknown or does not fit.
    """
    settings = {k: v.item() if isinstance(v, np.generic) else v for k, v in settings.items()}
    if "posterior" in settings:
        settings |= _scale_and_posterior(settings.get("scale"), settings["posterior"], own)
    for kind in _OWN:
        if kind not in settings:
            continue
        part = settings[kind]
        if kind in ("likelihood", "network") and is_auto(part):
            settings[kind] = _auto(kind, part)
        elif kind == "scale" and isinstance(part, str):
            get(kind, part, own)  # a preset keeps its name, because its name sets the initial σ
        elif kind != "posterior":
            settings[kind] = KINDS[kind].extended(own).describe(part)
    if "optimizer" in settings:
        settings["optimizer"] = optimizers.describe(settings["optimizer"])
    rate = settings.get("learning_rate")
    if rate is not None and (not isinstance(rate, int | float) or isinstance(rate, bool)):
        settings["learning_rate"] = schedules.written(rate)
    return settings


def _scale_and_posterior(scale: Any, posterior: Any, own: Classes) -> dict[str, str]:
    registry = KINDS["posterior"].extended(own)
    built: Posterior = registry.get(posterior)
    inside = KINDS["scale"].extended(own).describe(built.scale)
    default = ModelSettings().scale
    outside = default if scale is None else scale
    if not isinstance(outside, str):
        outside = KINDS["scale"].extended(own).describe(outside)
    if inside != default:
        if outside not in (default, inside):
            raise LogvarError(
                f"scale is {outside!r}, and the posterior has {inside!r}: give it once"
            )
        outside = inside
    return {"scale": outside, "posterior": registry.describe(_plain(built))}


def _plain(posterior: Posterior) -> Posterior:
    """Return the posterior family without its scale, which is stored separately."""
    return eqx.tree_at(lambda p: p.scale, posterior, scales.get(ModelSettings().scale))


def _auto(kind: str, text: str) -> str:
    """Return "auto" with the settings for the part that it will choose.

    Raises:
        LogvarError: it cannot be read.
    """
    try:
        call = parsed(text)
    except ValueError as error:
        raise LogvarError(f"{kind} {text!r} cannot be read: {error}") from error
    if call.arguments:
        raise LogvarError(f"{kind} {text!r}: name the settings, as in auto(setting=value)")
    return formatted(AUTO, settings=call.settings)


def resolved(kind: str, text: str, name: str, why: str = "") -> str:
    """Return the text of the part that "auto" chose, with the settings that were given to auto.

    Raises:
        LogvarError: the chosen part has no such setting.
    """
    settings = parsed(text).settings
    chosen = formatted(name, settings=settings)
    try:
        return KINDS[kind].describe(chosen)
    except LogvarError as error:
        because = f" ({why})" if why else ""
        raise LogvarError(f"{kind} {text!r} stands for {name!r} here{because}: {error}") from error


def without_unused(kind: str, text: str, chosen: str) -> str:
    """The text for "auto" without settings that the chosen part lacks, which version 0.1 ignored.

    Args:
        kind: of the part.
        text: what a recipe of version 0.1 has; other texts than "auto" are returned as they are.
        chosen: the text of the part that "auto" stands for.
    """
    name = parsed(chosen).name
    if not is_auto(text) or name not in KINDS[kind].entries:
        return text
    known = KINDS[kind].settings(name)
    return formatted(AUTO, settings=[s for s in parsed(text).settings if s[0] in known])


def own_classes(parts: Collection[Any]) -> tuple[type, ...]:
    """Return the classes of those objects that are in no registry."""
    found: dict[str, type] = {}
    scales_inside = [getattr(part, "scale", None) for part in parts if isinstance(part, Posterior)]
    for part in [*parts, *scales_inside]:
        for kind in _OWN:
            registry = KINDS[kind]
            if isinstance(part, registry.base) and registry.is_own(part):
                found[type(part).__name__] = type(part)
    return tuple(found.values())


def check_fit(specs: Specs) -> None:
    """Check that the parts fit together.

    Raises:
        LogvarError: two of them do not.
    """
    posterior, prior = specs.posterior, specs.prior
    remedy = "gradient=total, or " if hasattr(specs.objective, "gradient") else ""
    if specs.objective.needs_reparameterization and not posterior.reparameterizes:
        raise LogvarError(
            f"objective {objectives.describe(specs.objective)!r} needs a posterior whose z is a "
            f"differentiable function of noise, and {type(posterior).__name__} is not: use "
            f"{remedy}another posterior"
        )
    if prior.support is not None and posterior.support != prior.support:
        family = posteriors.describe(_plain(posterior))
        raise LogvarError(
            f"posterior {family!r} lies on {posterior.support!r} and prior "
            f"{priors.describe(prior)!r} on {prior.support!r}: choose two on the same set, such as "
            f"{_suggested(posterior, prior)}"
        )
    specs.objective.check(posterior, prior)


def check_own_latents(likelihood: Likelihood, posterior: Posterior) -> None:
    """Check that latents which a likelihood reads itself are such as it expects: real numbers.

    Raises:
        LogvarError: they lie on another set.
    """
    if likelihood.latents and posterior.support != "real":
        raise LogvarError(
            f"the likelihood reads {likelihood.latents} latent itself, a real number such as a "
            f"learned library's, and posterior {posteriors.describe(_plain(posterior))!r} lies on "
            f"{posterior.support!r}: use library=observed, or another posterior"
        )


def _suggested(posterior: Posterior, prior: PriorSpec) -> str:
    """Name a prior on the posterior's set, and a posterior on the prior's."""
    fits = []
    for kind, wanted in (("prior", posterior.support), ("posterior", prior.support)):
        entries = KINDS[kind].entries
        found = [n for n in entries if getattr(entries[n].build, "support", None) == wanted]
        fits += [f"{kind}={found[0]!r}"] if found else []
    return " or ".join(fits) or "diagonal and standard"
