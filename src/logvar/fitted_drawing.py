"""How a trained model draws new rows: all at once, in blocks, or given some of their cells."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from logvar.data.intake import draws_of, seed_of
from logvar.errors import LogvarError
from logvar.evaluation.coding import draw, draw_from
from logvar.fitted import FittedAttributes
from logvar.samplers import FittedSampler, Sampler
from logvar.samplers.storage import kept_sampler
from logvar.sampling import Sampling, one_after_another, sampled_where
from logvar.storage.compiled import keep_compiled_programs


class DrawingMethods(FittedAttributes):
    """The methods of an estimator that draw rows like those of `fit`."""

    samplers_: dict[str, tuple[str, FittedSampler]]
    """By name: the text of a sampler that was fitted after training, and what came of it."""

    def sample(
        self,
        n_samples: int = 1,
        *,
        where: Any = None,
        mean: bool = False,
        missing: bool = False,
        sampler: str | Sampler = "prior",
        random_state=None,
        condition=None,
    ) -> Any:
        """Draw from the model: z from the prior, then x from p(x | z); rows like those of `fit`.

        Args:
            n_samples: how many.
            where: for a table, cells that all rows are to have, {"education": "Doctorate"}: rows
                are then draws from p(x | these cells), by importance resampling of z. A level of
                0.1 % gets its rows, too. If the draws of z have few effective samples, the warning
                `logvar.errors.FewEffectiveSamples` says so; `sampling` returns their number.
            sampler: where z is from: "prior", or the name of one that `fit_sampler` has fitted.
            mean: return E[x | z], as pictures usually show, instead of a draw of x.
            missing: for a table, leave cells out as they are left out of the training rows.
            random_state: the seed; by default that of the estimator.
            condition: for a conditional model, a dict of one value for each of its columns, or
                one row for each draw; draws then come from p(x | condition).
        """
        if where is not None:
            if sampler != "prior":
                raise LogvarError("where goes with sampler='prior': z is drawn given the cells")
            settings = {"mean": mean, "missing": missing, "random_state": random_state}
            return self.sampling(n_samples, where=where, condition=condition, **settings).rows
        return self.sampling_in_blocks(
            mean=mean, missing=missing, sampler=sampler, random_state=random_state,
            condition=condition,
        )(draws_of(n_samples))  # fmt: skip

    def sampling_in_blocks(
        self,
        *,
        mean: bool = False,
        missing: bool = False,
        sampler: str | Sampler = "prior",
        random_state=None,
        condition=None,
    ) -> Callable[[int], Any]:
        """Return what draws the next rows of `sample`, for more of them than memory holds.

        One block after another, they are the rows of one call of `sample`.

        Args:
            mean: as in `sample`, and so are all others; a condition is that of all rows.

        Example:
            >>> import logvar, numpy as np
            >>> X = np.random.default_rng(0).normal(size=(50, 3))
            >>> vae = logvar.VAE(latent_dim=1, epochs=1).fit(X)
            >>> drawn = vae.sampling_in_blocks()
            >>> (np.concatenate([drawn(3), drawn(2)]) == vae.sample(5)).all()
            np.True_
        """
        check_is_fitted(self, "model_")
        fitted = self.fitted_
        seed = fitted.seed if random_state is None else seed_of(random_state)
        latents = None
        if sampler != "prior":
            latents = kept_sampler(self.samplers_, sampler).drawing(seed)
        as_rows = self._as_drawn_rows(seed, missing, condition)

        def drawn(n: int, first: int) -> Any:
            told = fitted.told(condition, n)
            if latents is None:
                x = draw(self.model_, n, seed, mean=mean, condition=told, first=first)
            else:
                z = latents(n)
                x = draw_from(self.model_, z, seed, mean=mean, condition=told, first=first)
            return as_rows(x, first)

        return one_after_another(drawn)

    def sampling(
        self,
        n_samples: int = 1,
        *,
        where: Any,
        mean: bool = False,
        missing: bool = False,
        random_state=None,
        condition=None,
    ) -> Sampling:
        """Return the rows of `sample(where=…)`, their effective sample size, and log p(where).

        The arguments are those of `sample`.

        Raises:
            LogvarError: the model was not fitted on a table, a column is not there, a level was
                never seen, or the cells are impossible.
        """
        check_is_fitted(self, "model_")
        keep_compiled_programs()
        seed = self.fitted_.seed if random_state is None else seed_of(random_state)
        n = draws_of(n_samples)
        return sampled_where(
            self.fitted_, where, n, seed, mean=mean, missing=missing, condition=condition
        )

    def _as_drawn_rows(
        self, seed: int, missing: bool, condition: Any
    ) -> Callable[[np.ndarray, int], Any]:
        """Return what makes draws in the model's units, one block after another, rows like those
        of `fit`."""
        fitted = self.fitted_
        leave_out = fitted.leaving_out(seed) if missing else None

        def as_rows(drawn: np.ndarray, first: int) -> Any:
            cells = fitted.in_own_units(drawn)
            cells = cells if leave_out is None else leave_out(cells)
            beside = fitted.told_columns(condition, len(cells))
            return fitted.as_given(cells, beside=beside, first=first)

        return as_rows
