"""The observation noise: fit it to a whole training set, and summarize its values."""

import dataclasses

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array

from logvar.backend.compiling import from_host, host_int
from logvar.backend.sparse import Rows
from logvar.data.examples import Examples, examples_of
from logvar.data.preparation import Preparation
from logvar.evaluation.blocks import in_blocks
from logvar.likelihoods.noise import ObservationNoise
from logvar.models.batch import Batch
from logvar.models.vae import VAEModel
from logvar.randomness import Purpose, row_key, row_noise


def fit_noise(
    model: VAEModel, rows: Rows | Examples, preparation: Preparation, seed: int
) -> VAEModel:
    """Freeze a closed-form noise at the best value for all of these rows.

    A row's score then depends on the model alone, not on the rows scored with it. Every row is
    encoded and one z is drawn for it, as in the ELBO, and counts by its sample weight; other models
    come back as they are.
    """
    if not model.likelihood.has_statistic:
        return model
    task = (model, preparation, host_int(seed))
    examples = examples_of(rows)
    statistics = in_blocks(_statistics, task, examples.stored, examples.words)
    mean = from_host(_mean(statistics, examples.weight).astype(np.float32))
    return eqx.tree_at(lambda model: model.likelihood, model, model.likelihood.fitted(mean))


def _mean(values: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    wide = None if weight is None else weight.astype(np.float64)
    return np.asarray(np.average(values.astype(np.float64), axis=0, weights=wide))


def _statistics(task: tuple, rows: Batch, words: Array) -> Array:
    model, preparation, seed = task

    def one(row: Batch, word: Array) -> Array:
        example = preparation.batch(row, row_key(seed, Purpose.BINARIZATION, word))
        code = model.encode(example)
        eps = jax.tree.map(lambda leaf: leaf[0], row_noise(seed, word, 1, model.noise_like()))
        outputs = model.decode(model.draw(code, eps), example.condition)
        return model.likelihood.statistic(example.x, outputs, example.observed)

    return jax.vmap(one)(rows, words)


@dataclasses.dataclass(frozen=True)
class NoiseSummary:
    """A summary of the observation noise."""

    mode: str
    quantiles: dict[str, float]
    floor: float
    share_at_floor: float
    """The share of examples and features within a tenth of the floor: their density is bounded by
    the floor, not by the data."""
    unit: str = "standardized units"

    def __str__(self) -> str:
        low, middle, high = (self.quantiles[q] for q in ("0", "0.5", "1"))
        if low == high:
            text = f"{self.mode}, σ {middle:.4g} in {self.unit}"
        else:
            text = f"{self.mode}, σ {low:.3g} … {middle:.3g} … {high:.3g} in {self.unit}"
        if self.share_at_floor:
            text += (
                f"; {self.share_at_floor:.1%} at the floor {self.floor:g}, which bounds their "
                "density in place of the data"
            )
        return text


def summarize_noise(
    model: VAEModel, rows: Rows | Examples, preparation: Preparation, seed: int
) -> NoiseSummary | None:
    """Return quantiles of σ over examples and features, decoding the posterior means; None if
    there is no such noise."""
    noise = getattr(model.likelihood, "noise", None)
    if not isinstance(noise, ObservationNoise):
        return None
    if noise.mode == "per-example":
        # A thousand rows are enough for quantiles of σ; a million would only cost memory.
        examples, some = examples_of(rows), slice(0, 1024)
        task = (model, preparation, host_int(seed))
        sigma = in_blocks(_sigmas, task, examples.stored[some], examples.words[some]).ravel()
    else:
        sigma = np.asarray(noise.scale.sigma(noise.raw)).ravel()
    at = (0.0, 0.5, 1.0)
    quantiles = dict(zip((f"{q:g}" for q in at), map(float, np.quantile(sigma, at)), strict=True))
    at_floor, unit = noise.share_at_floor(sigma), model.likelihood.noise_unit
    return NoiseSummary(noise.mode, quantiles, noise.floor, at_floor, unit)


def _sigmas(task: tuple, rows: Batch, words: Array) -> Array:
    model, preparation, seed = task
    noise = model.likelihood.noise

    def one(row: Batch, word: Array) -> Array:
        example = preparation.batch(row, row_key(seed, Purpose.BINARIZATION, word))
        decoded = model.reconstructed(example, model.encode(example))
        return noise.scale.sigma(noise.split(decoded)[1])

    return jax.vmap(one)(rows, words)
