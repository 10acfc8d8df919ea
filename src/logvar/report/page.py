"""The report of a run: one self-contained HTML file."""

import html
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtri

from logvar.backend.sparse import SparseRows, array_of
from logvar.evaluation.health import ACTIVE
from logvar.evaluation.summary import Evaluation
from logvar.recipe import CUSTOM
from logvar.report import figures
from logvar.report.layout import page, section
from logvar.report.table_view import TableView
from logvar.report.tables import table_sections
from logvar.scales import describe
from logvar.storage.files import write_atomically

if TYPE_CHECKING:
    from logvar.estimator import VAE

_NAMES = {
    "elbo": "ELBO",
    "aggregate_kl": "aggregate KL",
    "mmd_to_prior": "MMD to prior",
    "log_likelihood": "log-likelihood",
    "bits_per_dimension": "bits per dimension",
    "reconstruction": "reconstruction",
    "kl": "KL",
    "squared_error": "squared error",
    "error_rate": "error rate",
    "wrong_cells": "wrong cells",
    "elbo_by_batches": "ELBO, the tutorial's metric",
}
_SHOWN = 12
_CELLS = 2**23
"""The most numbers that are reconstructed for a picture."""


def write_report(
    path: Path,
    vae: "VAE",
    evaluation: Evaluation,
    rows: Any,
    labels: np.ndarray | None,
    seconds: list[float] | None = None,
) -> Path:
    """Write the report of a fitted estimator on the rows it was evaluated on.

    Args:
        path: the HTML file.
        vae: the estimator.
        evaluation: its figures on these rows.
        rows: an array; for an estimator fitted on a table, a table.
        labels: a label for each row. A table's column of kind "label" is used without it.
        seconds: how long each epoch took.
    """
    write_atomically(path, _page(vae, evaluation, rows, labels, seconds or []))
    return path


def _page(
    vae: "VAE",
    evaluation: Evaluation,
    rows: Any,
    labels: np.ndarray | None,
    seconds: list[float],
) -> str:
    recipe = vae.recipe_
    name = Path(recipe.data.data).name or "data"
    view = None
    if vae.fitted_.table is not None:
        view = TableView.of(vae, rows, labels, evaluation.protocol.split)
    codes = np.asarray(vae.transform(rows[:5000])) if view is None else view.codes
    by_latent = len(evaluation.kl_per_latent) == codes.shape[1]
    # Without a KL per latent, choose the latents whose means vary most between rows.
    importance = evaluation.kl_per_latent if by_latent else codes.var(axis=0)
    order = np.argsort(importance)[::-1]
    raw = evaluation.raw_outputs
    # Cells that are judged may have genes that the model does not know.
    named = view is not None or vae.fitted_.features is not None
    shape = vae.fitted_.shape if named else rows.shape[1:]
    first, second = sorted(int(i) for i in [*order[:2], *order[:2]][:2])
    is_image = len(shape) in (2, 3) and (len(shape) == 2 or shape[2] in (1, 3))
    sections = [
        section("Numbers", _numbers(evaluation)),
        section(
            "Training",
            figures.curves(vae.history_) if vae.history_ else "<p>No epoch was finished.</p>",
            _training_caption(vae.history_),
        ),
    ]
    if view is not None:
        sections += table_sections(view, (first, second) if codes.shape[1] >= 2 else None)
    elif is_image:
        sections += _image_sections(vae, rows, shape)
    else:
        fit = figures.feature_fit(*_some_cells(vae, rows), vae.fitted_.features or ())
        sections.append(section("Reconstruction", fit))
    if view is None and codes.shape[1] >= 2:
        shown = (first, second)
        picture = figures.latent_map(codes, None if labels is None else labels[:5000], shown)
        largest = "KL" if by_latent else "variance"
        which = "" if codes.shape[1] == 2 else f", the two latents with the largest {largest}"
        sections.append(
            section(
                "Latent map",
                picture,
                f"Posterior means of {len(codes):,} rows ({evaluation.protocol.split}){which}.",
                half=True,
            )
        )
    # The grid is of the standard normal's quantiles.
    if is_image and codes.shape[1] == 2 and recipe.model.prior == "standard":
        sections.append(
            section(
                "Manifold",
                _manifold(vae, shape),
                "Decoded latents at the standard normal's quantiles .05 … .95.",
                half=True,
            )
        )
    sections += [
        _use_of_latents(evaluation, codes, by_latent),
        section(
            "Raw scale outputs",
            figures.raw_histogram(
                raw.counts, raw.edges, raw.safe_low, raw.safe_high, recipe.model.scale
            ),
            f"Safe range in float32: [{raw.safe_low:.4g}, {raw.safe_high:.4g}]; "
            f"{raw.share_outside:.2%} outside.",
            half=True,
        ),
        section("Recipe", f"<pre>{html.escape(recipe.to_toml())}</pre>"),
    ]
    facts = _facts(vae, evaluation.latents, shape, seconds)
    return page(name, "fitted with logvar", facts, sections)


def _some_cells(vae: "VAE", rows: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the first rows as an array, not too many of wide ones, and their reconstructions."""
    some = rows[: max(1, min(5000, _CELLS // rows.shape[1]))]
    found = vae.fitted_.take_in(some).rows
    found = found.dense() if isinstance(found, SparseRows) else array_of(found)
    return found, vae.reconstruct(some)


def _use_of_latents(evaluation: Evaluation, codes: np.ndarray, by_latent: bool) -> str:
    """Plot the KL of each latent, or the variances of their means if the KL is one number."""
    active = f"{evaluation.active_units} of {evaluation.latents} latents are active ({ACTIVE})."
    if by_latent:
        picture = figures.by_latent(evaluation.kl_per_latent, "KL, nats")
        return section("KL per latent", picture, active, half=True)
    picture = figures.by_latent(codes.var(axis=0).tolist(), "variance of the posterior mean")
    why = " Under this prior the KL does not divide among latents."
    return section("Use of latents", picture, active + why, half=True)


def _training_caption(history: list[dict]) -> str:
    if not (history and history[0]["validation"]):
        return "Means over the epoch's batches, at β = 1. Nothing was held out."
    return (
        "Means over the epoch's batches (training) and over the held-out rows after it, at β = 1. "
        "The dashed line is the epoch whose weights were kept."
    )


def _facts(vae: "VAE", latents: int, shape: tuple[int, ...], seconds: list[float]) -> list[str]:
    recipe = vae.recipe_
    size = " × ".join(str(n) for n in shape)
    if vae.fitted_.table is not None:
        size = f"{size} columns"
    elif len(shape) == 1:
        size = f"{size} features"
    conditions, start = vae.fitted_.conditions, recipe.training.from_run
    parts = [
        f"{vae.data_['rows']:,} training examples of {size}",
        f"network {vae.decisions_.network}, {latents} latents",
        f"posterior {recipe.model.posterior}, prior {recipe.model.prior}",
        f"objective {recipe.objective.objective}",
        f"scale {describe(vae.model_.scale)}",
        f"likelihood {vae.decisions_.likelihood}",
        *([] if conditions is None else [f"condition {conditions}"]),
        *([f"weights start from {start}"] if start else []),
        f"binarization {recipe.data.binarization}",
        _stepping(recipe.training.optimizer, recipe.training.learning_rate),
        f"batches of {recipe.training.batch_size}",
        f"seed {recipe.training.random_state}",
        f"{vae.ended_} after {vae.n_iter_} epochs",
    ]
    if seconds:
        each = statistics.median(seconds)
        parts.append(f"{each:.0f} s per epoch" if each >= 10 else f"{each:.2g} s per epoch")
    return parts


def _stepping(optimizer: str, learning_rate: float | str) -> str:
    """Describe optimizer and learning rate."""
    if optimizer == CUSTOM:
        return "an optimizer given as an object"
    if learning_rate == CUSTOM:
        return f"{optimizer}, a learning rate given as an object"
    rate = learning_rate if isinstance(learning_rate, str) else f"{learning_rate:g}"
    return f"{optimizer}, learning rate {rate}"


def _name_of(figure: str) -> str:
    return _NAMES.get(figure, figure.replace("_", " "))


def _numbers(evaluation: Evaluation) -> str:
    protocol = evaluation.protocol
    lines = []
    for figure in evaluation.figures:
        value, error = figure.texts
        lines.append(
            f"<tr><td>{_name_of(figure.name)}</td><td class=number>{value}</td>"
            f"<td class=error>{error}</td><td>{html.escape(figure.unit)}</td>"
            f"<td class=how>{html.escape(figure.how)}</td></tr>"
        )
    noise = ""
    if evaluation.noise is not None:
        noise = f"<p>Observation noise: {html.escape(str(evaluation.noise))}.</p>"
    return (
        f"<p>On {protocol.rows:,} rows ({html.escape(protocol.split)}), binarization "
        f"{protocol.binarization}, evaluation seed {protocol.seed}; ± is the standard error over "
        f"rows.</p><table class=numbers>{''.join(lines)}</table>{noise}"
    )


def _image_sections(vae: "VAE", rows: np.ndarray, shape: tuple[int, ...]) -> list[str]:
    chosen = rows[np.linspace(0, len(rows) - 1, min(_SHOWN, len(rows))).astype(int)]
    decoded, drawn = vae.reconstruct(chosen), vae.sample(3 * _SHOWN, mean=True)
    low, high = (0.0, 1.0) if _intensities(vae) else _limits(_scaled(vae, chosen))

    def images(array: np.ndarray) -> np.ndarray:
        as_unit = (_scaled(vae, array) - low) / (high - low)
        as_unit = np.where(np.isnan(as_unit), 0.5, as_unit)  # missing cells are grey
        return as_unit.reshape(-1, shape[0], shape[1], shape[2] if len(shape) == 3 else 1)

    pairs = np.concatenate([images(chosen), images(decoded)])
    return [
        section(
            "Reconstructions",
            figures.tiles(pairs, len(chosen)),
            "Originals above, decoded posterior means below.",
        ),
        section(
            "Samples",
            figures.tiles(images(drawn), _SHOWN),
            "E[x | z] for z drawn from the prior.",
        ),
        *(
            section(
                f"Samples from {name}",
                figures.tiles(images(vae.sample(3 * _SHOWN, mean=True, sampler=name)), _SHOWN),
                f"E[x | z] for z drawn from {html.escape(text)}, fitted to posterior draws.",
            )
            for name, (text, _) in vae.samplers_.items()
        ),
    ]


def _scaled(vae: "VAE", images: np.ndarray) -> np.ndarray:
    """Return images as float32, pixels stored as uint8 as intensities in [0, 1]."""
    are_pixels = images.dtype == np.uint8 and not vae.fitted_.is_binary
    return images.astype(np.float32) / (255 if are_pixels else 1)


def _intensities(vae: "VAE") -> bool:
    """Whether pixels are in [0, 1]."""
    return vae.fitted_.likelihood.reads_intensities


def _limits(array: np.ndarray) -> tuple[float, float]:
    low, high = float(np.nanmin(array)), float(np.nanmax(array))
    return low, high if high > low else low + 1


def _manifold(vae: "VAE", shape: tuple[int, ...]) -> str:
    n = 20
    positions = ndtri(np.linspace(0.05, 0.95, n))
    # Row 0 is the top: the second latent grows upwards, as on the latent map.
    grid = np.array([(x, y) for y in positions[::-1] for x in positions], np.float32)
    decoded = _scaled(vae, vae.inverse_transform(grid))
    low, high = (0.0, 1.0) if _intensities(vae) else _limits(decoded)
    images = (decoded - low) / (high - low)
    channels = shape[2] if len(shape) == 3 else 1
    return figures.tiles(
        images.reshape(-1, shape[0], shape[1], channels), n, gap=int(shape[0] < 16)
    )
