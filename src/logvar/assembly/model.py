"""Build the model of a run: its networks, its distributions, and what they start as."""

import dataclasses
import functools
from typing import Any

import equinox as eqx

from logvar import priors, scales
from logvar.assembly.decisions import Decisions
from logvar.assembly.labelled import Shares, with_classifier
from logvar.assembly.parts import Classes, check_fit, check_own_latents, get, specs
from logvar.assembly.pseudo_inputs import TrainingRows, encoder_inputs, encoder_shape
from logvar.data.examples import Units
from logvar.data.table.units import TableUnits
from logvar.errors import LogvarError
from logvar.likelihoods import Likelihood
from logvar.models.heads import with_later_heads_at_zero
from logvar.models.vae import VAEModel
from logvar.networks import Network, Shapes
from logvar.networks.checks import check_decoder, check_encoder
from logvar.randomness import Purpose, stream
from logvar.recipe import Recipe
from logvar.rescaling.initial_sigma import chosen_sigma, starting_at


@dataclasses.dataclass(frozen=True)
class Own:
    """Parts that the user passes as objects, which a recipe cannot store."""

    encoder: Network | None = None
    decoder: Network | None = None
    optimizer: Any = None
    learning_rate: Any = None
    classes: Classes = ()
    """The classes of parts that the recipe names by class."""

    def __post_init__(self) -> None:
        if (self.encoder is None) != (self.decoder is None):
            given, missing = (
                ("encoder", "decoder") if self.decoder is None else ("decoder", "encoder")
            )
            raise LogvarError(f"only the {given} was given: give the {missing} too")


def build_model(
    recipe: Recipe,
    decisions: Decisions,
    shape: tuple[int, ...],
    own: Own = Own(),
    *,
    units: Units | None = None,
    condition_size: int = 0,
    training: TrainingRows | None = None,
    shares: Shares | None = None,
) -> VAEModel:
    """Build the untrained model; its weights are a function of the recipe's seed.

    Args:
        recipe: the recipe of the run.
        decisions: the choices of "auto".
        shape: the shape of one example.
        own: parts passed as objects.
        units: how the model reads rows.
        condition_size: the number of values in a condition; 0 if there is none.
        training: the training rows, for priors that start at some of them.
        shares: of the labels, if the model is to learn them.

    Raises:
        LogvarError: the user's own network does not fit the data, or parts do not fit together.
    """
    model = _model(recipe, decisions, shape, own, units, condition_size, shares, training)
    model = eqx.tree_at(
        lambda model: model.encoder,
        model,
        with_later_heads_at_zero(model.encoder, model.posterior.heads(model.latent_dim)),
    )
    # A matched run starts as its reference would; `matched` then changes coordinates.
    scale = recipe.training.match or recipe.model.scale
    asked = recipe.model.initial_sigma
    found = get("scale", scale, own.classes)
    sigma = chosen_sigma(asked, found if scales.initial_sigma(scale) is None else scale)
    if sigma is None:
        return model
    return starting_at(model, sigma, found, required=not isinstance(asked, str))


def skeleton(
    recipe: Recipe,
    decisions: Decisions,
    shape: tuple[int, ...],
    own: Own = Own(),
    units: Units | None = None,
    condition_size: int = 0,
    classes: int = 0,
) -> VAEModel:
    """Return the model with shapes instead of its networks' weights, to be filled from a file."""
    shares = Shares.unknown(classes) if classes else None
    return _model(recipe, decisions, shape, own, units, condition_size, shares, None, drawn=False)


def _model(
    recipe: Recipe,
    decisions: Decisions,
    shape: tuple[int, ...],
    own: Own,
    units: Units | None,
    condition_size: int,
    shares: Shares | None,
    training: TrainingRows | None,
    drawn: bool = True,
) -> VAEModel:
    without_label = condition_size
    condition_size += 0 if shares is None else len(shares.log_prior)
    parts = specs(recipe, own.classes)
    check_fit(parts)
    spec = get("likelihood", decisions.likelihood, own.classes)
    if isinstance(units, TableUnits):
        likelihood: Likelihood = spec.build_for(units)
    else:
        likelihood = spec.build(shape, 0.0 if units is None else units.log_factor)
    check_own_latents(likelihood, parts.posterior)
    seen = encoder_shape(likelihood, shape, decisions.missing, condition_size)
    # What the decoder's outputs are shaped like: an image stays one beside a mask or a condition.
    x = encoder_shape(likelihood, shape, missing=False)
    # The decoder sees the condition, and not the latents that the likelihood reads itself.
    seed, further = recipe.training.random_state, condition_size - likelihood.latents
    latent_dim = recipe.model.latent_dim + likelihood.latents
    if own.encoder is not None and own.decoder is not None:
        encoder, decoder = own.encoder, own.decoder
        latent_dim = check_encoder(encoder, seen, parts.posterior.heads)
        parts.posterior.check(latent_dim)
        check_decoder(decoder, latent_dim + further, likelihood.output_shape(shape), shape)
    else:
        parts.posterior.check(latent_dim)
        outputs = sum(parts.posterior.heads(latent_dim).values())
        shapes = Shapes(seen, outputs, latent_dim + further, likelihood.output_shape(shape), x)
        network = get("network", decisions.network, own.classes)
        build = functools.partial(network.build, shapes, stream(seed, Purpose.WEIGHTS))
        encoder, decoder = build() if drawn else eqx.filter_eval_shape(build)
    if parts.prior.reads_encoder and condition_size:
        raise LogvarError(
            f"prior {priors.describe(parts.prior)!r} encodes pseudo-inputs, which have no "
            "condition: use prior='mixture(components=10)' in a conditional model"
        )
    posterior = parts.posterior.build(latent_dim, stream(seed, Purpose.POSTERIOR))
    rows = training if drawn else TrainingRows()
    inputs = encoder_inputs(likelihood, x, rows, seed, condition_size)
    prior = parts.prior.build(latent_dim, stream(seed, Purpose.PRIOR), inputs)
    model = VAEModel(
        encoder=encoder,
        decoder=decoder,
        prior=prior,
        likelihood=likelihood,
        posterior=posterior,
        latent_dim=latent_dim,
        missing=decisions.missing,
        condition_size=condition_size,
    )
    if shares is None:
        return model
    read = encoder_shape(likelihood, shape, decisions.missing, without_label)
    shapes = Shapes(read, 0, latent_dim, likelihood.output_shape(shape), x)
    return with_classifier(model, shares, decisions.network, own.classes, seed, shapes, drawn)
