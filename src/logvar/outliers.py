"""`logvar.OutlierVAE`: a VAE as scikit-learn's outlier detector, low = odd."""

import functools
import inspect
import numbers
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Integer
from sklearn.base import OutlierMixin
from sklearn.utils.validation import check_is_fitted

from logvar.assembly import Own
from logvar.assembly.decisions import decide
from logvar.assembly.training_data import Beside
from logvar.backend.sparse import Rows, SparseRows
from logvar.contamination import AUTO, check_contamination
from logvar.data.intake import draws_of
from logvar.data.preparation import has_missing
from logvar.data.table.form import TableForm
from logvar.errors import LogvarError, OutsideTrainingRange
from logvar.estimator import VAE
from logvar.fitted import Fitted
from logvar.recipe import Recipe
from logvar.storage import run_folder
from logvar.storage.files import write_atomically

DEFAULTS = {
    "epochs": 20,
    "batch_size": 64,
    "validation_fraction": 0.0,
    "patience": 0,
    "on_divergence": "rescue",
}
"""Settings that differ from those of `VAE`. A row is odd if few training rows are like it, so the
density is fitted to all rows, as closely as the steps allow. A row so far out that training
diverges is what is sought: training goes on."""
LATENTS = 20
"""The number of latents, which differs as well."""
SHARP = "normal(noise=fixed, sigma=0.1)"
"""The likelihood of real numbers under "auto": the density is looked at with a width of a tenth of
a column's spread. A learned σ depends on the other columns and on how long training takes."""
_FENCE = 1.5
"""Interquartile ranges below the lower quartile (Tukey 1977)."""

Scores = Float[np.ndarray, "rows"]


class Threshold(NamedTuple):
    """The numbers that an outlier detector has beside its model."""

    contamination: float | str
    n_samples: int
    offset: float


def _with_its_signature(fit: Any) -> Any:
    """Give a method the signature and the documentation of `VAE.fit`, which scikit-learn reads."""
    return functools.wraps(VAE.fit)(fit)


class OutlierVAE(OutlierMixin, VAE):
    """A variational autoencoder that finds odd rows: those with a low log p(x).

    All settings are those of `VAE`; the defaults of epochs, batch size, validation and patience
    differ, because small tables need as many steps as large ones, and no row is held out. A row far
    out may make training diverge; it then goes on by `on_divergence="rescue"`. The score
    of a row is its importance-weighted log p(x) in nats (Burda et al. 2016); it is a function of
    the row, so it is the same in every call and among any other rows. A missing cell counts as one
    that is as probable as usual.

    Args:
        latent_dim: number of latents.
        contamination: the share of the training rows that are called odd, above 0 and at most 0.5;
            or "auto": those more than 1.5 interquartile ranges below the lower quartile of their
            scores (Tukey 1977).
        n_samples: draws of z for each score.
        steps: optimizer steps to take at least: `epochs` is raised until there are as many.
        settings: those of `VAE`, where likelihood="auto" means σ = 0.1 for real numbers, in
            standardized units. If anomalies are among the training rows,
            objective="trimmed(fraction=0.1)" keeps them from shaping the model.

    Attributes:
        offset_: the score below which a row is odd, nats.
        train_scores_: (rows,) the scores of the training rows; not saved.
        fitted_: as of `VAE`, and so are all others.

    Raises:
        LogvarError: in `fit`: a setting or the rows are invalid.

    Example:
        >>> import logvar
        >>> import numpy as np
        >>> X = np.random.default_rng(0).normal(size=(100, 3))
        >>> detector = logvar.OutlierVAE(latent_dim=2, steps=200).fit(X)
        >>> detector.predict([[0.1, 0, 0], [9, -9, 9]]).tolist()
        [1, -1]
    """

    def __init__(
        self, latent_dim=LATENTS, *, contamination=AUTO, n_samples=100, steps=3000, **settings
    ):
        super().__init__(latent_dim, **(DEFAULTS | settings))
        self.contamination = contamination
        self.n_samples = n_samples
        self.steps = steps

    @_with_its_signature
    def fit(self, X, y=None, **options):
        _check(self.contamination, self.n_samples, self.steps)
        super().fit(X, y, **options)
        weight = options.get("sample_weight")
        told = _beside_x(self.fitted_, options.get("condition"))
        self.train_scores_ = self.score_samples(X, condition=told)
        self.offset_ = offset(self.train_scores_, self._share(), weight)
        return self

    def fit_predict(self, X, y=None, **options) -> Integer[np.ndarray, "rows"]:
        """Fit, and return −1 for odd rows and 1 for the others."""
        return _signs(self.fit(X, y, **options).train_scores_ - self.offset_)

    def score_samples(self, X, n_samples: int | None = None, *, condition=None) -> Scores:
        """Return the importance-weighted log p(x) of each row, nats; low is odd.

        Args:
            X: rows, as for `fit`.
            n_samples: draws of z for each row; by default those of the estimator.
        """
        check_is_fitted(self, "model_")
        given = self._taken_in(X, condition)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OutsideTrainingRange)  # such rows are what is sought
            draws = draws_of(self.n_samples if n_samples is None else n_samples)
            scores = super().score_samples(given, draws)
        rows = given.rows
        if isinstance(rows, SparseRows) or not has_missing(rows):
            return scores
        # Without this, rows with more holes would have fewer terms and other scores.
        usual = np.where(np.isnan(rows), self.fitted_.usual_cells, 0.0)
        return scores + usual.reshape(len(rows), -1).sum(1)

    def decision_function(self, X, *, condition=None) -> Scores:
        """Return score_samples(X) − offset_: negative for odd rows."""
        check_is_fitted(self, "offset_")
        return self.score_samples(X, condition=condition) - self.offset_

    def predict(self, X, *, condition=None) -> Integer[np.ndarray, "rows"]:
        """Return −1 for odd rows and 1 for the others."""
        return _signs(self.decision_function(X, condition=condition))

    def write_into(self, folder: Path) -> None:
        check_is_fitted(self, "offset_")
        kept = Threshold(self._share(), int(self.n_samples), float(self.offset_))
        # Before the manifest, which has the hash of every file.
        write_atomically(folder / run_folder.OUTLIERS, run_folder.to_json(kept._asdict()))
        super().write_into(folder)

    @classmethod
    def of(cls, fitted: Fitted, threshold: Threshold | None = None) -> "OutlierVAE":
        """Return a detector around a model that is already trained.

        Without a threshold it has scores, and no `offset_` to compare them with.
        """
        found: Any = super().of(fitted)
        found.steps = 0  # the recipe has the epochs that they took
        if threshold is not None:
            found.contamination, found.n_samples, found.offset_ = threshold
        return found

    def around(self, fitted: Fitted) -> "OutlierVAE":
        found: Any = super().around(fitted)
        found.contamination, found.n_samples = self.contamination, self.n_samples
        if hasattr(self, "offset_"):
            found.offset_ = self.offset_
        return found

    def _recipe(self, own: Own) -> Recipe:
        recipe = super()._recipe(own)
        if recipe.training.from_run and recipe.model.latent_dim == LATENTS:
            # As if not asked for: a run that weights are taken from has a number of its own.
            return recipe.replace(latent_dim=Recipe().model.latent_dim)
        return recipe

    def _check_rows(self, untrained: Fitted, X, beside: Beside) -> None:
        """Check that rows of weight 0, which training leaves out, can be scored like the others.

        Raises:
            LogvarError: one of them cannot.
        """
        weight = beside.sample_weight
        if weight is None or np.asarray(weight, np.float32).all():
            return
        try:
            given = untrained.take_in(X, condition=_beside_x(untrained, beside.condition))
            with given.naming():
                untrained.read(given.rows, given.condition, given.holes)
        except LogvarError as error:
            raise LogvarError(
                f"rows of weight 0 are scored like all others, and one cannot be: {error}; or "
                "leave it out of X"
            ) from error

    def _for_rows(self, recipe: Recipe, rows: Rows, table: TableForm | None) -> Recipe:
        recipe = recipe.replace(epochs=self.epochs_for(len(rows)))
        if recipe.model.likelihood != AUTO or recipe.training.from_run:
            return recipe  # of a run whose weights are the start, the likelihood stays
        found = decide(recipe, rows, custom_networks=self.encoder is not None, table=table)
        if found.likelihood.split("(")[0] != "normal":
            return recipe
        return recipe.replace(likelihood=SHARP)

    def _share(self) -> float | str:
        """Return the contamination as Python's own number, whatever number was given."""
        return self.contamination if self.contamination == AUTO else float(self.contamination)

    def epochs_for(self, rows: int) -> int:
        """Return how many epochs a fit on this many rows takes."""
        return int(max(self.epochs, -(-self.steps // -(-rows // self.batch_size))))


def read_threshold(folder: Path) -> Threshold:
    """Read what `OutlierVAE` has saved beside its model.

    Raises:
        LogvarError: the file was changed.
    """
    path = folder / run_folder.OUTLIERS
    content = run_folder.read_json(path)
    if not isinstance(content, dict) or content.keys() != set(Threshold._fields):
        raise LogvarError(f"{path} is not what logvar wrote: fit again")
    kept = Threshold(**content)
    _check(kept.contamination, kept.n_samples, 0)
    if not isinstance(kept.offset, float):
        raise LogvarError(f"{path}: offset is {kept.offset!r}, expected a number: fit again")
    return kept


def offset(scores: Scores, contamination: float | str, weight: Any = None) -> float:
    """Return the score below which a row is odd.

    Args:
        scores: (rows,) of the training rows.
        contamination: the share of them that are odd, or "auto".
        weight: (rows,) how much each of them counts.

    Example:
        >>> offset(np.arange(11.0), 0.1), offset(np.arange(11.0), "auto")
        (1.0, -5.0)
    """
    if weight is not None:
        weight = np.broadcast_to(np.asarray(weight, np.float64), scores.shape)

    def quantile(share: float) -> float:
        if weight is None:
            return float(np.quantile(scores, share))
        return float(np.quantile(scores, share, weights=weight, method="inverted_cdf"))

    if contamination != AUTO:
        return quantile(float(contamination))
    low, high = quantile(0.25), quantile(0.75)
    return low - _FENCE * (high - low)


def _beside_x(fitted: Fitted, condition: Any) -> Any:
    """Return a condition of `fit` as later calls have it: None if it is in columns of X."""
    form = fitted.conditions
    return None if form is None or form.inside else condition


def _check(contamination: Any, n_samples: Any, steps: Any) -> None:
    check_contamination(contamination)
    draws_of(n_samples)
    if not isinstance(steps, numbers.Integral) or steps < 0:
        raise LogvarError(f"steps is {steps!r}: expected an integer of at least 0")


def _signs(decision: Scores) -> Integer[np.ndarray, "rows"]:
    return np.where(decision >= 0, 1, -1)


def _signature() -> inspect.Signature:
    """Return the signature of `OutlierVAE.__init__`, with those of `VAE` in place of **settings."""
    own = [
        parameter
        for parameter in inspect.signature(OutlierVAE.__init__).parameters.values()
        if parameter.kind is not parameter.VAR_KEYWORD
    ]
    names = {parameter.name for parameter in own}
    further = [
        parameter.replace(default=DEFAULTS.get(parameter.name, parameter.default))
        for parameter in inspect.signature(VAE).parameters.values()
        if parameter.name not in names
    ]
    return inspect.Signature([*own, *further])


# scikit-learn reads the settings from the signature; they are declared once, in `VAE`.
_whole = _signature()
OutlierVAE.__init__.__signature__ = _whole  # type: ignore[attr-defined]
OutlierVAE.__signature__ = _whole.replace(parameters=list(_whole.parameters.values())[1:])
