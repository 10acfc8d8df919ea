"""The figures of a report, each with its protocol."""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from logvar.backend.sparse import Rows, SparseRows
from logvar.data.examples import Examples, examples_of
from logvar.data.preparation import Preparation
from logvar.data.standardization import Standardization
from logvar.errors import unknown_name
from logvar.evaluation.aggregate import aggregate, maximum_mean_discrepancy
from logvar.evaluation.blocks import in_blocks
from logvar.evaluation.elbo import RowTerms, elbo_terms
from logvar.evaluation.importance import importance_log_likelihood
from logvar.evaluation.noise import NoiseSummary, summarize_noise
from logvar.evaluation.outside import Wide, in_float64, to_repeat
from logvar.evaluation.units import bits_per_dimension
from logvar.models.batch import Batch
from logvar.models.vae import VAEModel
from logvar.randomness import Purpose, row_key

ACTIVE_VARIANCE = 0.01
"""A latent is active if the variance of its posterior mean over rows exceeds this
(Burda, Grosse & Salakhutdinov 2016, section 5)."""


_LONG = 1e12
"""Numbers from here on are printed with an exponent."""
_SQUARES = 1e100
"""Numbers from the inverse of this up to this have squares well within float64."""


@dataclasses.dataclass(frozen=True)
class Figure:
    """One number with its standard error and protocol."""

    name: str
    value: float
    standard_error: float | None
    unit: str
    how: str
    monte_carlo_error: float | None = None

    @property
    def digits(self) -> int:
        """Return the decimals worth printing: two for nats, four for small quantities."""
        return 2 if self.unit else 4

    @property
    def texts(self) -> tuple[str, str]:
        """The value and its error as they are printed; "" if there is no error."""
        error = self.standard_error
        return self._text(self.value), "" if error is None else f"± {self._text(error)}"

    def __str__(self) -> str:
        return " ".join(text for text in (*self.texts, self.unit) if text)

    def _text(self, value: float) -> str:
        return f"{value:.{self.digits}f}" if abs(value) < _LONG else f"{value:.6g}"


@dataclasses.dataclass(frozen=True)
class Protocol:
    """The settings that all figures of one evaluation share."""

    split: str
    rows: int
    binarization: str
    seed: int
    importance_samples: int
    """Draws of z for each row, for the log-likelihood."""


@dataclasses.dataclass(frozen=True)
class RawOutputs:
    """Quantiles of the raw scale outputs, compared with the scale's safe range."""

    quantiles: dict[str, float]
    safe_low: float
    safe_high: float
    share_outside: float
    counts: list[int]
    edges: list[float]


@dataclasses.dataclass(frozen=True, repr=False)
class Evaluation:
    """A set of figures under one protocol: `found["elbo"].value`, `"kl" in found`; print it."""

    protocol: Protocol
    figures: list[Figure]
    kl_per_latent: list[float]
    """One value per latent if q and p factor, otherwise a single one."""
    active_units: int
    latents: int
    raw_outputs: RawOutputs
    noise: NoiseSummary | None = None
    outside: int = 0
    """Rows outside the training range."""

    def __getitem__(self, name: str) -> Figure:
        for figure in self.figures:
            if figure.name == name:
                return figure
        raise KeyError(str(unknown_name("figure", name, self)))

    def __contains__(self, name: object) -> bool:
        return name in list(self)

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the figures."""
        return (figure.name for figure in self.figures)

    def __repr__(self) -> str:
        rows = f"{self.protocol.rows:,} rows ({self.protocol.split})"
        lines = [f"{each.name:<20} {each!s:<34} {each.how}" for each in self.figures]
        return "\n".join([rows, *lines])

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def importance_samples_of(written: Mapping[str, Any]) -> int | None:
    """Return how many importance samples an evaluation took, as it is written in a file.

    Evaluations of before 0.2 say it only in the words of a figure. None if there are none of these.

    Example:
        >>> importance_samples_of({"protocol": {"importance_samples": 100}})
        100
    """
    protocol = written.get("protocol", {})
    if "importance_samples" in protocol:
        return int(protocol["importance_samples"])
    said = " ".join(str(figure.get("how")) for figure in written.get("figures", ()))
    found = re.search(r"importance-weighted, (\d+) samples per row", said)
    return int(found[1]) if found else None


@np.errstate(invalid="ignore", over="ignore")  # a diverged model's figures are NaN, as printed
def evaluate(
    model: VAEModel,
    rows: Rows | Examples,
    preparation: Preparation,
    *,
    split: str,
    binarization: str,
    seed: int,
    meaning: str,
    n_importance: int = 100,
    batch_means: int | None = None,
) -> Evaluation:
    """Compute ELBO, importance-weighted log-likelihood, reconstruction, KL and active latents.

    Standard errors are over rows: they say how far the mean over such rows may be off, not how much
    another training run would differ. With `batch_means` the ELBO is also computed as in the
    tutorial: KL by one sample, averaged over batches of that size, counting the last batch as full.
    `meaning` says what log p(x) is under this likelihood (`LikelihoodSpec.meaning`).
    """
    rows = examples_of(rows)
    row_terms = elbo_terms(model, rows, preparation, seed)
    likelihood = importance_log_likelihood(model, rows, preparation, seed, n_importance)
    errors, how_errors = _errors(model, rows, preparation, seed)
    how_kl = "in closed form" if model.has_closed_kl else "by the same sample"
    n, dimensions = len(rows), _dimensions(model, rows)
    monte_carlo = float(np.sqrt(np.sum(np.square(likelihood.monte_carlo_error), dtype=float)) / n)
    nats = "nats per example"
    figures = [
        _mean("elbo", row_terms.elbo, nats, f"β = 1, one sample per row, KL {how_kl}"),
        dataclasses.replace(
            _mean(
                "log_likelihood",
                likelihood.log_likelihood,
                nats,
                f"importance-weighted, {n_importance} samples per row",
            ),
            monte_carlo_error=monte_carlo,
        ),
        _mean(
            "bits_per_dimension",
            bits_per_dimension(likelihood.log_likelihood / dimensions, 1),
            "",
            f"−log p(x)/(D·log 2), {_told(dimensions)}; log p: {meaning}",
        ),
        _mean(
            "reconstruction",
            row_terms.log_likelihood,
            nats,
            f"log p(x | {model.hidden}), one sample per row",
        ),
        _mean(
            "kl",
            row_terms.kl.sum(-1),
            nats,
            f"KL(q({model.hidden} | x) ‖ p({model.hidden})) {how_kl}",
        ),
        _mean(model.likelihood.error_name, errors, "", how_errors),
    ]
    figures += _of_the_aggregate(model, rows, preparation, seed)
    if batch_means:
        sampled = elbo_terms(model, rows, preparation, seed, analytic_kl=False).elbo
        batches = [
            sampled[i : i + batch_means].mean(dtype=np.float64) for i in range(0, n, batch_means)
        ]
        how = f"KL by one sample, mean over batches of {batch_means} of the batch's mean"
        figures.append(_mean("elbo_by_batches", np.asarray(batches), nats, how))
    return Evaluation(
        Protocol(split, n, binarization, seed, n_importance),
        figures,
        [float(value) for value in row_terms.kl.mean(0, dtype=np.float64)],
        int(np.sum(active_latents(row_terms.mean))),
        row_terms.mean.shape[1],
        raw_outputs(model, row_terms),
        summarize_noise(model, rows, preparation, seed),
        len(rows.outside),
    )


def _of_the_aggregate(
    model: VAEModel, rows: Examples, preparation: Preparation, seed: int
) -> list[Figure]:
    """Return how much z tells of x, and how far z in use is from samples of the prior."""
    found = aggregate(model, rows, preparation, seed)
    if found is None:
        return []
    n, nats = len(found.log_q), "nats per example"
    at = "" if model.conditional is model else ", at their most probable labels"
    how = f"q(z) averaged over {n:,} rows{at}, one sample each"
    told = found.mutual_information
    figures = [
        _mean("mutual_information", told, nats, f"I(x; z), {how}; at most log {n:,}"),
        _mean("aggregate_kl", found.kl, nats, f"KL(q(z) ‖ p(z)), {how}"),
    ]
    if n > 1:
        discrepancy = maximum_mean_discrepancy(found.z, found.from_prior)
        how = f"squared, unbiased, {n:,} z of rows and {n:,} of the prior, kernel C/(C + d²)"
        figures.append(Figure("mmd_to_prior", *discrepancy, "", f"{how}, C = 2·latents"))
    return figures


def accuracy(right: Bool[np.ndarray, "rows"]) -> Figure:
    """Return the share of labelled rows whose most probable label is theirs.

    Args:
        right: whether it is, for each row whose label is known.

    Example:
        >>> print(accuracy(np.array([True, True, True, False])))
        0.7500 ± 0.2500
    """
    how = f"q(y | x) is highest at the known label, {len(right):,} labelled rows"
    return _mean("accuracy", right, "", how)


def _dimensions(model: VAEModel, rows: Examples) -> Float[np.ndarray, "rows"]:
    """Return the number of observed cells of each row, but at least 1."""
    if isinstance(rows.values, SparseRows):
        return np.full(len(rows), float(rows.values.features))
    observed = jnp.asarray(np.isfinite(rows.values))
    cells = np.asarray(jax.vmap(model.likelihood.cells)(observed)).reshape(len(rows), -1)
    return np.maximum(cells.sum(1), 1).astype(np.float64)


def _told(dimensions: Float[np.ndarray, "rows"]) -> str:
    same = dimensions.min() == dimensions.max()
    return f"D = {dimensions[0]:.0f}" if same else "D = the observed cells of each row"


def active_latents(means: Float[np.ndarray, "rows latent"]) -> Bool[np.ndarray, "latent"]:
    """Return which latents are active, from the posterior means of some rows."""
    return means.var(0, dtype=np.float64) > ACTIVE_VARIANCE


def raw_outputs(model: VAEModel, row_terms: RowTerms) -> RawOutputs:
    """Summarize the raw scale outputs of some rows."""
    raw = row_terms.raw.ravel()
    low, high = model.scale.safe_range(jnp.float32)
    at = (0.0, 0.01, 0.5, 0.99, 1.0)
    # A diverged model may output anything: non-finite values count as outside, not as values.
    finite = raw[np.isfinite(raw)]
    shown = finite if len(finite) else np.zeros(1, np.float32)
    counts, edges = np.histogram(shown.astype(np.float64), bins=60)
    return RawOutputs(
        {f"{q:g}": float(v) for q, v in zip(at, np.quantile(shown, at), strict=True)},
        low,
        high,
        float(np.mean(~((raw >= low) & (raw <= high)))),
        counts.tolist(),
        edges.tolist(),
    )


def _mean(name: str, values: np.ndarray, unit: str, how: str) -> Figure:
    wide = values.astype(np.float64)
    # In units of the largest value, whose square might leave float64; a power of two is exact.
    largest = float(np.abs(wide).max())
    exponent = int(np.frexp(largest)[1]) if largest > _SQUARES or 0 < largest < 1 / _SQUARES else 0
    scaled = np.ldexp(wide, -exponent)
    error = None
    if len(wide) > 1:
        error = float(np.ldexp(scaled.std(ddof=1) / np.sqrt(len(wide)), exponent))
    return Figure(name, float(np.ldexp(scaled.mean(), exponent)), error, unit, how)


def _errors(
    model: VAEModel, examples: Examples, preparation: Preparation, seed: int
) -> tuple[Float[np.ndarray, "rows"], str]:
    """Return the error of each row's reconstruction, per feature, and how it was computed.

    A squared error is in the data's own units, or in those of the widest spread if float64 cannot
    hold the squares.
    """
    unit, relative = 1.0, None
    if isinstance(examples.units, Standardization):
        factor = examples.units.factor
        unit = float(factor.max())
        relative = (factor / unit).astype(np.float32)
    task = (model, preparation, jnp.asarray(seed), relative)
    found = in_blocks(_error, task, examples.stored, examples.words).astype(np.float64)
    again = to_repeat(examples, found)
    if len(again):
        wide = (Wide.of(model), *task[1:])
        found[again] = in_float64(_error_outside, wide, examples, again)
    how = f"{model.likelihood.error_means}, decoding the posterior mean"
    in_own_units = found * unit * unit
    if np.isfinite(in_own_units.sum()) and not np.any((in_own_units == 0) & (found > 0)):
        return in_own_units, how
    return found, f"{how}, in units of {unit:.6g}², which float64 cannot hold"


def _error(task: tuple, rows: Batch, words: Array) -> Float[Array, "block"]:
    model, preparation, seed, relative = task

    def row(row: Batch, word: Array) -> Array:
        example = preparation.batch(row, row_key(seed, Purpose.BINARIZATION, word))
        mean = model.reconstruction(example, model.encode(example))
        return _mean_error(model, mean, example, relative)

    return jax.vmap(row)(rows, words)


def _error_outside(task: tuple, seen: Batch, words: Array, actual: Batch) -> Float[Array, "block"]:
    wide, preparation, seed, relative = task

    def row(seen: Batch, word: Array, actual: Batch) -> Array:
        key = row_key(seed, Purpose.BINARIZATION, word)
        code = wide.encode(preparation.batch(seen, key))
        example = preparation.batch(actual, key)
        mean = wide.model.reconstruction(example, code)
        return _mean_error(wide.model, mean, example, relative)

    return jax.vmap(row)(seen, words, actual)


def _mean_error(
    model: VAEModel, mean: Array, example: Batch, relative: Array | None
) -> Float[Array, ""]:
    """Return the mean error over the observed features of an example; 0 if none is."""
    weight = 1.0 if relative is None else relative.astype(mean.dtype)
    errors = model.likelihood.errors(mean, example.x, weight)
    if example.observed is None:
        return jnp.mean(errors)
    observed = model.likelihood.cells(example.observed)
    number = jnp.maximum(jnp.sum(observed, dtype=errors.dtype), 1)
    return jnp.sum(jnp.where(observed, errors, 0)) / number
