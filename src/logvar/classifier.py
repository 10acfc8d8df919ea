"""`logvar.VAEClassifier`: a VAE that also learns a label, of which some may be unknown."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import softmax
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import check_is_fitted

from logvar.assembly.tables import Intake
from logvar.data.intake import draws_of, seed_of, weights_of
from logvar.data.labels import Codes, Labels
from logvar.data.preparation import as_float32, as_rows
from logvar.data.table.frame import Table, as_table, back, is_table
from logvar.data.table.rows import columns_of_kinds, with_columns
from logvar.errors import LogvarError
from logvar.estimator import VAE
from logvar.evaluation.coding import decode, draw, label_scores
from logvar.evaluation.summary import Evaluation, accuracy
from logvar.models.labelled import LabelledVAE
from logvar.randomness import Purpose, host_stream
from logvar.samplers import Sampler
from logvar.sampling import one_after_another


class VAEClassifier(ClassifierMixin, VAE):
    """A VAE that learns a label beside X, from rows with and without it (Kingma et al. 2014).

    The model is p(y)·p(z)·p(x | z, y) with q(y | x)·q(z | x, y), their M2 (arXiv 1406.5298): z is
    what the label leaves open. Rows without a label train it by all labels, each weighed by
    q(y | x). p(y) is the share of each label among the known ones. log p(x) of `score_samples` and
    `evaluate` sums over the labels; `transform` and `reconstruct` use the most probable one.

    The arguments are those of `VAE`, with objective="labelled", whose `alpha` is the weight of the
    classifier's own loss: "labelled(alpha=0.1, beta=1)". See `logvar.objectives`. Networks of your
    own are refused, because the classifier is of the same kind as the encoder.

    Attributes:
        classes_: the labels, in their order.
        class_prior_: p(y) of each.

    Further attributes are those of `VAE`.

    Example:
        >>> import logvar, numpy as np
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> some = np.where(np.arange(150) % 5 == 0, y, -1)    # a fifth of the labels
        >>> model = logvar.VAEClassifier(latent_dim=2, epochs=50, learning_rate=0.01).fit(X, some)
        >>> model.predict_proba(X).shape, model.sample(2, label=0).shape
        ((150, 3), (2, 4))
        >>> bool(model.score(X, y) > 0.8)
        True
    """

    def __init__(self, latent_dim=10, *, objective="labelled", **settings):
        super().__init__(latent_dim, objective=objective, **settings)

    def fit(self, X, y=None, **arguments) -> "VAEClassifier":
        """Train on X and y.

        Args:
            X: rows, as for `VAE`.
            y: a label for each row: texts, integers or booleans. NaN, None, NA, a masked entry and,
                among numbers, −1 are unknown, and so are those of rows of weight 0. None takes the
                table's column of kind "label".
            arguments: those of `VAE.fit`. Held-out rows, given or a share of X, only stop training
                early, by the bound on log p(x); their labels are not used.

        Raises:
            LogvarError: the data, the labels or a setting are invalid, or a number became NaN.
            KeyboardInterrupt: on Ctrl-C; the best weights so far are kept.
        """
        super().fit(X, y, **arguments)
        return self

    @property
    def classes_(self) -> np.ndarray:
        return self._labels.array

    @property
    def class_prior_(self) -> Float[np.ndarray, "classes"]:
        return np.exp(np.asarray(self._model.log_prior, np.float64))

    def predict_proba(self, X, condition=None) -> Float[np.ndarray, "rows classes"]:
        """Return q(y | x) of each row, in the order of `classes_`."""
        return softmax(self._label_scores(X, condition), axis=1)

    def predict(self, X, condition=None) -> np.ndarray:
        """Return the most probable label of each row."""
        best = np.argmax(self._label_scores(X, condition), axis=1)
        return self.classes_[best]

    def score(  # type: ignore[override]  # scikit-learn's order of arguments for a classifier
        self, X, y, sample_weight=None, condition=None
    ) -> float:
        """Return the accuracy: the share of rows whose most probable label is y.

        Rows whose label is unknown do not count. A label that is none of `classes_` is missed.

        Raises:
            LogvarError: no label is known, or there are not as many as rows.
        """
        best, (labels, known) = self.predict(X, condition), Labels.known_in(y)
        _check_as_many(len(best), len(labels))
        if not known.any():
            raise LogvarError(
                f"y has no known label in {len(labels):,} rows (NaN, None, −1 are unknown): give "
                "those that predictions are to be compared with"
            )
        weight = weights_of(sample_weight, len(best))
        weight = None if weight is None else weight[known].astype(np.float64)
        return float(accuracy_score(labels[known], best[known], sample_weight=weight))

    def evaluate(
        self, X, *, split: str = "given", n_importance: int = 100, condition=None, y=None
    ) -> Evaluation:
        """Compute all figures of a report on X, and the accuracy on rows whose label is known.

        Args:
            X: rows, as for `fit`.
            split: what these rows are, in words.
            n_importance: draws of z for each row.
            condition: for a conditional model, as for `VAE`.
            y: the labels, as for `fit`; None takes those of the table's own column, if it is there.

        Raises:
            LogvarError: a label is none of `classes_`, or there are not as many as rows.
        """
        given = self._taken_in(X, condition)
        found = super().evaluate(given, split=split, n_importance=n_importance, condition=condition)
        column = self._labels.column
        if y is None and given.table is not None and column in given.table.names:
            from logvar.data.table.arrow import plain

            y = plain(given.table[column]).to_pylist()
        if y is None:
            return found
        codes = self._labels.codes_of(y)
        _check_as_many(len(given.rows), len(codes))
        known = codes >= 0
        if not known.any():
            return found
        best = np.argmax(self._label_scores(given, condition), axis=1)
        figure = accuracy(best[known] == codes[known])
        return dataclasses.replace(found, figures=[*found.figures, figure])

    def inverse_transform(self, Z, condition=None, *, label=None) -> Any:
        """Decode latents (rows, latent) to E[x | z, y] in the data's own units.

        Args:
            Z: as `transform` returns them.
            condition: for a conditional model, as for `VAE`.
            label: one label for all rows, or one for each; None gives E[x | z], the average over
                the labels by p(y).
        """
        if label is None:
            return super().inverse_transform(Z, condition)
        check_is_fitted(self, "model_")
        latents = as_float32(as_rows(Z, "Z"), "Z").astype(np.float32, copy=False)
        told = self._told(condition, self._codes_of(label, len(latents)))
        return self.fitted_.given_back(decode(self.model_, latents, told))

    def sample(
        self,
        n_samples: int = 1,
        *,
        label=None,
        where: Any = None,
        mean: bool = False,
        missing: bool = False,
        sampler: str | Sampler = "prior",
        random_state=None,
        condition=None,
    ) -> Any:
        """Draw from the model: y from p(y), z from p(z), then x from p(x | z, y).

        Of a table whose label is a column of its own, the rows have their labels.

        Args:
            n_samples: how many.
            label: a label for all rows, or one for each, instead of draws from p(y).
            where: for a table, cells that all rows are to have, as for `VAE`; labels are then
                drawn given the cells, and not returned.
            mean: return E[x | z, y] instead of a draw of x.
            missing: for a table, leave cells out as they are left out of the training rows.
            sampler: "prior", for others do not know the labels.
            random_state: the seed; by default that of the estimator.
            condition: for a conditional model, as for `VAE`.

        Raises:
            LogvarError: a label is none of `classes_`, or is given beside `where`.
        """
        if where is not None or sampler != "prior":
            if label is not None:
                raise LogvarError(
                    f"label={label!r} cannot be combined with where or a sampler: give one of them"
                )
            return super().sample(
                n_samples, where=where, mean=mean, missing=missing, sampler=sampler,
                random_state=random_state, condition=condition,
            )  # fmt: skip
        return self.sampling_in_blocks(
            label=label, mean=mean, missing=missing, random_state=random_state, condition=condition
        )(draws_of(n_samples))

    def sampling_in_blocks(
        self,
        *,
        label=None,
        mean: bool = False,
        missing: bool = False,
        sampler: str | Sampler = "prior",
        random_state=None,
        condition=None,
    ) -> Callable[[int], Any]:
        """Return what draws the next rows of `sample`, for more of them than memory holds.

        Args:
            label: one for all rows, and all others as in `sample`.
        """
        if sampler != "prior":
            return super().sampling_in_blocks(
                mean=mean, missing=missing, sampler=sampler, random_state=random_state,
                condition=condition,
            )  # fmt: skip
        check_is_fitted(self, "model_")
        seed = self.fitted_.seed if random_state is None else seed_of(random_state)
        generator, ends = host_stream(seed, Purpose.LABEL), np.cumsum(self.class_prior_)[:-1]
        as_rows = self._as_drawn_rows(seed, missing, condition)

        def drawn(n: int, first: int) -> Any:
            if label is None:
                codes = np.searchsorted(ends, generator.random(n), "right")
            else:
                codes = self._codes_of(label, n)
            told = self._told(condition, codes)
            x = draw(self.model_, n, seed, mean=mean, condition=told, first=first)
            return self._with_labels(as_rows(x, first), codes)

        return one_after_another(drawn)

    # Shared by these methods.

    @property
    def _labels(self) -> Labels:
        labels = self.fitted_.labels
        assert labels is not None  # `fit` and `load` give this class a model with labels
        return labels

    @property
    def _model(self) -> LabelledVAE:
        model = self.model_
        assert isinstance(model, LabelledVAE)
        return model

    def _told(self, condition: Any, codes: Codes) -> Float[np.ndarray, "rows size"]:
        """Return what decoder and encoder are told of rows: their condition if any, and label."""
        label, other = self._labels.one_hot(codes), self.fitted_.told(condition, len(codes))
        return label if other is None else np.column_stack([other, label])

    def _label_scores(self, X, condition: Any) -> Float[np.ndarray, "rows classes"]:
        rows, preparation = self._stored(X, condition)
        scores = label_scores(self._model, rows, preparation, self.fitted_.seed)
        return scores.astype(np.float64)

    def _codes_of(self, label: Any, rows: int) -> Codes:
        """Return the number of a label for each row.

        Raises:
            LogvarError: one is unknown, or there are not as many as rows.
        """
        every = [label] * rows if np.ndim(label) == 0 else label
        codes = self._labels.codes_of(every)
        if len(codes) != rows or (codes < 0).any():
            raise LogvarError(
                f"label has {len(codes):,} entries, {int((codes < 0).sum()):,} of them unknown: "
                f"expected one of {', '.join(map(repr, self._labels.classes[:10]))}, or one for "
                f"each of {rows:,} rows"
            )
        return codes

    def _with_labels(self, rows: Any, codes: Codes) -> Any:
        """Return drawn rows of a table with their labels in its column of labels."""
        column = self._labels.column
        if column is None or not is_table(rows):
            return rows
        import pyarrow as pa

        table = as_table(rows)
        labels = pa.chunked_array([pa.array([self._labels.classes[code] for code in codes])])
        return back(with_columns(table, Table((column,), (labels,), "arrow")), table.container)

    def _label_of(
        self, given: Intake, y: Any, kept: np.ndarray | None
    ) -> tuple[Codes | None, Labels | None]:
        column = None
        if y is None:
            found = None
            if given.table is not None and given.form is not None:
                found = columns_of_kinds(given.table, given.form.schema, ("label",))
            if found is None or len(found.names) != 1:
                count = "none" if found is None else f"{len(found.names)}"
                raise LogvarError(
                    "VAEClassifier requires y to be passed, but the target y is None, and "
                    f"{count} of X's columns is a label: give y, or one column that kind, as in "
                    "schema={'income': 'label'} (--label income)"
                )
            from logvar.data.table.arrow import plain

            y, column = plain(found.columns[0]).to_pylist(), found.names[0]
        labels, codes = Labels.found(y, column, kept)
        _check_as_many(len(given.rows), len(codes))
        return codes, labels


def _check_as_many(rows: int, labels: int) -> None:
    if labels != rows:
        raise LogvarError(
            f"Found input variables with inconsistent numbers of samples: {rows:,} rows of X, and "
            f"{labels:,} labels: give one label for each row"
        )


def _signature(of: Any) -> inspect.Signature:
    """Return the signature of a method of `VAE` with this class's default objective."""
    parameters = inspect.signature(of).parameters.values()
    return inspect.Signature(
        [p.replace(default="labelled") if p.name == "objective" else p for p in parameters]
    )


# scikit-learn reads the names of parameters from these signatures.
VAEClassifier.__init__.__signature__ = _signature(VAE.__init__)  # type: ignore[attr-defined]
VAEClassifier.fit.__signature__ = inspect.signature(VAE.fit)  # type: ignore[attr-defined]
VAEClassifier.__signature__ = _signature(VAE)
