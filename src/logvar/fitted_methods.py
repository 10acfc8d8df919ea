"""The methods of a trained model: embeddings, samples, scores, missing cells."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from logvar import samplers
from logvar.assembly.parts import get
from logvar.assembly.tables import Intake
from logvar.data.examples import Examples
from logvar.data.images.shapes import fitting
from logvar.data.intake import draws_of, noise_of, seed_of, warn_of_outside
from logvar.data.preparation import Preparation, as_float32, as_rows
from logvar.data.table.large import is_large
from logvar.distributions.base import Distribution
from logvar.distributions.multivariate import DiagonalNormal
from logvar.distributions.normal import Normal
from logvar.errors import LogvarError
from logvar.evaluation.coding import (
    decode,
    draw_posterior,
    embed,
    encode,
    reconstruct,
)
from logvar.evaluation.elbo import elbo_terms
from logvar.evaluation.importance import importance_log_likelihood
from logvar.evaluation.imputation import cell_log_likelihood
from logvar.evaluation.summary import Evaluation, evaluate
from logvar.explaining import OddCell, odd_cells
from logvar.fitted import PartAndMethod
from logvar.fitted_drawing import DrawingMethods
from logvar.imputing import Imputation, imputed
from logvar.objectives.elbo import ELBO
from logvar.samplers import Sampler
from logvar.samplers.storage import check_sampled, name_of
from logvar.storage.compiled import keep_compiled_programs


class FittedMethods(DrawingMethods, ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """The methods of an estimator that is trained."""

    _second_stage: Callable[..., Any]
    """Makes the estimator that a sampler of two stages trains."""

    def _posterior_of(self, X, condition=None) -> Normal | Distribution:
        """Return q(z | x) for each row.

        For the diagonal family, a `Normal` of shape (rows, latent). For any other, its distribution
        with a leading axis of rows in its arrays, for `jax.vmap`.
        """
        code = self._encode(X, condition)
        found = jax.vmap(self.model_.posterior.distribution)(code)
        if not isinstance(found, DiagonalNormal):
            return found
        # The scale is the same for all rows, so its arrays have no axis of theirs.
        return Normal(found.mean, found.raw, self.model_.scale)

    posterior = PartAndMethod("posterior", _posterior_of)

    def transform(self, X, condition=None) -> Any:
        """Return posterior means (rows, latent), float32; a frame if `set_output` asks for one."""
        return self._embeddings(X, condition)

    def inverse_transform(self, Z, condition=None) -> Any:
        """Decode latents (rows, latent) to E[x | z] in the data's own units."""
        check_is_fitted(self, "model_")
        Z = as_float32(as_rows(Z, "Z"), "Z").astype(np.float32, copy=False)
        expected = self._n_features_out
        if Z.ndim != 2 or Z.shape[1] != expected:
            raise LogvarError(
                f"Z has shape {Z.shape}: expected (rows, {expected}), as transform returns"
            )
        return self.fitted_.given_back(decode(self.model_, Z, self.fitted_.told(condition, len(Z))))

    def reconstruct(self, X, condition=None) -> Any:
        """Encode and decode X: E[x | z] at the posterior mean, as X came.

        Counts are at the library size of the row: with its total as the library, means over its
        observed cells add up to that total.
        """
        check_is_fitted(self, "model_")
        given = self._taken_in(X, condition)
        means = reconstruct(self.model_, *self._stored(given), self.fitted_.seed)
        return self.fitted_.given_back(means, given.table)

    def impute(
        self,
        X,
        n_samples: int = 1000,
        *,
        draws: int = 0,
        random_state=None,
        condition=None,
    ) -> Any:
        """Return X with its missing cells filled.

        Missing cells are NaN, None, or what the table uses for them. With `draws` 0 they become
        E[x_mis | x_obs], or the most probable level of a category; otherwise a list of completed
        copies is returned whose missing cells are draws from p(x_mis | x_obs), for multiple
        imputation.

        Args:
            X: rows, as for `fit`.
            n_samples: draws of z for each row, weighted by importance.
            draws: how many completed copies to draw; 0 gives one copy of means.
            random_state: the seed; by default that of the estimator.
            condition: of each row, for a conditional model, unless it is in columns of X.
        """
        found = self.imputation(
            X, n_samples, draws=draws, random_state=random_state, condition=condition
        )
        return found.draws if draws else found.filled

    def imputation(
        self,
        X,
        n_samples: int = 1000,
        *,
        draws: int = 0,
        random_state=None,
        condition=None,
    ) -> Imputation:
        """Return the means, the draws, and the effective sample size of each row of `impute`."""
        check_is_fitted(self, "model_")
        keep_compiled_programs()
        seed = self.fitted_.seed if random_state is None else seed_of(random_state)
        draws = draws_of(draws, "draws") if draws else 0
        given = self._taken_in(X, condition)
        return imputed(self.fitted_, given, draws_of(n_samples), draws, seed)

    def score_cells(self, X, n_samples: int = 1000, *, condition=None) -> np.ndarray:
        """Return log p(x_j | the row's other cells) of each observed cell, nats; NaN if missing.

        Low values are odd cells. A density, of a real number, may be above 0.
        """
        rows, preparation = self._stored(X, condition)
        return cell_log_likelihood(
            self.model_, rows, preparation, self.fitted_.seed, draws_of(n_samples)
        )

    def explain(
        self, X, top: int = 3, n_samples: int = 1000, *, condition=None
    ) -> list[list[OddCell]]:
        """Return the oddest cells of each row, the oddest first.

        A cell is as odd as log p(x_j | the row's other cells) is below what is usual for its
        column, which is found from rows drawn from the model.

        Args:
            X: rows of a table.
            top: how many cells for each row.
            n_samples: draws of z for each row.
            condition: of each row, for a conditional model, unless it is in columns of X.
        """
        check_is_fitted(self, "model_")
        top = draws_of(top, "top")
        given = self._taken_in(X, condition)
        scores = self.score_cells(given, n_samples)
        if scores.ndim != 2:
            raise LogvarError(f"X has examples of shape {scores.shape[1:]}: expected a table")
        return odd_cells(self.fitted_, given, scores, top)

    def fit_sampler(self, X, sampler: str | Sampler = "mixture") -> Any:
        """Fit another distribution of z to posterior draws of X, for `sample(sampler=…)`.

        Where the aggregate posterior differs from the prior, samples from it look more like the
        data. It is saved with the estimator, and gone when `fit` is called again.

        Args:
            X: rows, usually those of `fit`.
            sampler: "mixture(components=10)", "flow" or "two-stage"; see `logvar.samplers`.

        Returns:
            self.

        Raises:
            LogvarError: the sampler is unknown, has more components than there are rows, or does
                not go with the model: z on a sphere, a condition, or a label.
        """
        check_is_fitted(self, "model_")
        chosen = samplers.get(sampler)
        check_sampled(self.model_)
        rows, preparation = self._stored(X)
        drawn = draw_posterior(self.model_, rows, preparation, self.fitted_.seed)
        text = samplers.describe(chosen)
        fitted = chosen.fit(drawn.astype(np.float64), self.fitted_.seed, self._second_stage)
        self.samplers_ = self.samplers_ | {name_of(text): (text, fitted)}
        return self

    def elbo(
        self,
        X,
        eps: ArrayLike | None = None,
        n_samples: int = 1,
        analytic_kl: bool = False,
        *,
        condition=None,
    ) -> np.ndarray:
        """Return the ELBO of each row at β = 1, in nats.

        log p(x | z) − KL(q(z | x) ‖ p(z)), with the KL estimated from the same samples (the
        tutorial's three terms) or in closed form.

        Args:
            X: rows.
            eps: noise, (rows, latent) or (n, rows, latent); by default a function of the seed
                and each row's bytes.
            n_samples: draws of z per row when eps is not given.
            analytic_kl: compute the KL in closed form.
            condition: of each row, for a conditional model, unless it is in columns of X.
        """
        rows, preparation = self._stored(X, condition)
        noise = None
        if eps is not None:
            noise = noise_of(eps, len(rows), self.model_.noise_like())
        n_samples = draws_of(n_samples)
        return elbo_terms(
            self.model_,
            rows,
            preparation,
            self.fitted_.seed,
            n_samples=n_samples if noise is None else noise.shape[1],
            analytic_kl=analytic_kl,
            eps=noise,
        ).elbo

    def score(self, X, y=None, *, condition=None) -> float:
        """Return the mean ELBO in nats per example: one sample per row, KL in closed form, β = 1.

        β is 1 whatever the model was trained with, so that models of different β compare.
        """
        return float(self.elbo(X, analytic_kl=True, condition=condition).mean(dtype=np.float64))

    def score_samples(self, X, n_samples: int = 100, *, condition=None) -> np.ndarray:
        """Return the importance-weighted log-likelihood of each row, nats (Burda et al. 2016).

        In expectation a lower bound on log p(x), tighter with more samples. It is finite for every
        finite row: a row far outside the training range is encoded from the nearest point inside
        it, scored as it is, and reported by the warning `logvar.errors.OutsideTrainingRange`.
        """
        rows, preparation = self._stored(X, condition)
        return importance_log_likelihood(
            self.model_, rows, preparation, self.fitted_.seed, draws_of(n_samples)
        ).log_likelihood

    def evaluate(
        self, X, *, split: str = "given", n_importance: int = 100, condition=None
    ) -> Evaluation:
        """Compute all figures of a report on X, each with its protocol."""
        rows, preparation = self._stored(X, condition)
        fitted = self.fitted_
        objective = get("objective", fitted.recipe.objective.objective, fitted.own.classes)
        as_in_the_tutorial = isinstance(objective, ELBO) and not objective.analytic_kl
        return evaluate(
            fitted.model,
            rows,
            preparation,
            split=split,
            binarization=fitted.preparation.binarization,
            seed=fitted.seed,
            meaning=fitted.likelihood.meaning(
                binarized=fitted.preparation.binarization != "none",
                dequantized=fitted.preparation.dequantize,
            ),
            n_importance=n_importance,
            batch_means=fitted.recipe.training.batch_size if as_in_the_tutorial else None,
        )

    # Shared by these methods.

    def _taken_in(self, X, condition=None) -> Intake:
        """Return X as rows of the fitted model's shape; rows that are so already as they are."""
        if isinstance(X, Intake):
            return X
        fitted = self.fitted_
        given = fitted.take_in(X, condition=condition)
        rows = fitting(given.rows, fitted.shape)
        # The names of a table in files were matched while it was read.
        if given.table is None and given.features is None and not is_large(X):
            self._check_names(X)
        return given._replace(rows=rows)

    def _check_names(self, X) -> None:
        """Check the names of columns against those of `fit`."""

    def _stored(self, X, condition=None) -> tuple[Examples, Preparation]:
        """Return X as the fitted model reads it, and the preparation left to do per batch."""
        check_is_fitted(self, "model_")
        keep_compiled_programs()
        given = self._taken_in(X, condition)
        with given.naming():
            examples, preparation = self.fitted_.read(given.rows, given.condition, given.holes)
        warn_of_outside(examples, given.first)
        return examples, preparation

    def _encode(self, X, condition=None) -> dict[str, np.ndarray]:
        """The code of each row: the encoder's outputs by head."""
        rows, preparation = self._stored(X, condition)
        return encode(self.model_, rows, preparation, self.fitted_.seed)

    def _embeddings(self, X, condition=None) -> np.ndarray:
        """Return each row's embedding, (rows, latent)."""
        rows, preparation = self._stored(X, condition)
        return embed(self.model_, rows, preparation, self.fitted_.seed)
