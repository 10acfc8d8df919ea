"""`logvar.VAE`, a scikit-learn estimator: start reading here."""

import inspect
import math
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jax.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import check_is_fitted, validate_data

from logvar import assembly, scales
from logvar.data.examples import Examples
from logvar.data.preparation import Preparation, as_float32, as_rows
from logvar.data.standardization import Standardization
from logvar.distributions.normal import Normal
from logvar.errors import LogvarError, LogvarTypeError
from logvar.evaluation.coding import decode, draw, encode
from logvar.evaluation.elbo import elbo_terms
from logvar.evaluation.importance import importance_log_likelihood
from logvar.evaluation.summary import Evaluation, evaluate
from logvar.evaluation.units import meaning_of
from logvar.intake import (
    at_least_two,
    check_levels,
    dense_rows,
    draws_of,
    held_out_of,
    noise_of,
    read_as,
    seed_of,
    warn_of_outside,
)
from logvar.recipe import Recipe, unknown_setting
from logvar.resuming import Checkpoints, Resume, begun, data_of, identity, keeping
from logvar.saving import write_run
from logvar.scales import Scale
from logvar.signals import Interrupt
from logvar.storage import run_folder
from logvar.storage.compiled import keep_compiled_programs
from logvar.storage.files import UnfinishedFolder
from logvar.training.loop import Trained, Watcher, train
from logvar.training.pace import Pace
from logvar.training.state import TrainState


def _warn(line: str) -> None:
    warnings.warn(line, stacklevel=4)  # at the call of `fit`


class VAE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A variational autoencoder.

    Examples x are rows of a table or images (rows, height, width[, channels]). All densities are
    in nats per example and in the data's own units; all noise is a function of `random_state`.

    Args:
        latent_dim: number of latents.
        scale: how raw outputs become σ: a name from `logvar.scales.names()` or a `Scale`.
        initial_sigma: σ when training starts: a number; "auto", which is 1 under any scale
            that reaches it; or "as-is", raw outputs as the network draws them.
        likelihood: "bernoulli" for values in [0, 1]; "normal", "laplace" or "student-t" for real
            values; "discretized-logistic" for pixels; or "auto".
        network: "mlp", "conv", "tutorial" or "auto".
        hidden: widths of the MLP's hidden layers.
        noise: where the σ of real-valued data comes from: "shared", "fixed", "per-feature",
            "per-example" (a second output of the decoder) or "optimal" (closed form).
        noise_sigma: its start, or its value, in units of the standardized data.
        noise_scale: the scale in which it is learned.
        noise_floor: its smallest value; without one a density of real values is unbounded.
        degrees_of_freedom: of "student-t".
        objective: "elbo" or "iwae".
        analytic_kl: KL in closed form, or by one sample.
        beta: weight of the KL in training; scores are always at β = 1.
        beta_warmup: epochs over which β rises from 0.
        free_bits: nats of KL per latent that cost nothing more.
        n_samples: draws of z per example and step.
        epochs: at most so many passes over the data.
        batch_size: examples per step.
        learning_rate: a number; a schedule, such as "cosine(1e-3, warmup=5)"; or a function from
            the step to the rate.
        optimizer: "adam", "adamw", "adam-keras" or "sgd", which may carry settings, such as
            "adam(weight_decay=1e-4)"; or an Optax gradient transformation.
        precision: of the networks' products in training: "float32", or "bfloat16", which some
            machines repay; evaluation and scores are float32.
        clip_norm: cut the gradient's norm to this; 0 is off.
        validation_fraction: share of rows held out to stop early; 0 holds out none.
        patience: epochs without a better held-out ELBO before stopping; 0 never stops early.
        on_divergence: when a number is not finite, "stop" with a diagnosis, or "rescue": go back to
            the best weights, a fifth of the learning rate, gradients cut to norm 1; thrice at most.
        match: train in the coordinates of this other scale of the log family.
        binarization: "none", "threshold", "static" or "dynamic".
        dequantize: add uniform noise of one level to integer data.
        encoder: your own module from one example to (mean, raw); give the decoder too.
        decoder: your own module from one example's latents to raw outputs.
        random_state: seed of everything random.

    Attributes:
        model_: the trained `Model`.
        history_: one dict per epoch, as in metrics.jsonl.
        decisions_: what "auto" stood for, and why.
        n_iter_: epochs run.
        ended_: "finished", "stopped early", "interrupted" or "not finite".
        stopped_by_: the signal that interrupted fitting, or None.
        rescues_: the diagnosis of each time that fitting went back and on.
        diagnosis_: what became NaN or infinite first, and why, where fitting ended for it.
        n_features_in_: columns of a table, or features of an example.

    Example:
        >>> import logvar
        >>> from sklearn.datasets import load_iris
        >>> X = load_iris().data
        >>> vae = logvar.VAE(latent_dim=2, epochs=20, random_state=0).fit(X)
        >>> vae.transform(X).shape, vae.sample(3).shape
        ((150, 2), (3, 4))
    """

    # scikit-learn would take Z for metadata, because it is not called X.
    __metadata_request__inverse_transform: ClassVar[dict[str, str]] = {"Z": UNUSED}

    def __init__(
        self,
        latent_dim=10,
        *,
        scale="log-variance",
        initial_sigma="auto",
        likelihood="auto",
        network="auto",
        hidden=(256, 128),
        noise="shared",
        noise_sigma=1.0,
        noise_scale="log-std",
        noise_floor=1e-3,
        degrees_of_freedom=4.0,
        objective="elbo",
        analytic_kl=True,
        beta=1.0,
        beta_warmup=0.0,
        free_bits=0.0,
        n_samples=1,
        epochs=300,
        batch_size=128,
        learning_rate=1e-3,
        optimizer="adam",
        precision="float32",
        clip_norm=0.0,
        validation_fraction=0.1,
        patience=20,
        on_divergence="stop",
        match="",
        binarization="none",
        dequantize=False,
        encoder=None,
        decoder=None,
        random_state=0,
        **unknown,
    ):
        for name in unknown:
            raise LogvarTypeError(f"VAE: {unknown_setting(name)}")
        self.latent_dim = latent_dim
        self.scale = scale
        self.initial_sigma = initial_sigma
        self.likelihood = likelihood
        self.network = network
        self.hidden = hidden
        self.noise = noise
        self.noise_sigma = noise_sigma
        self.noise_scale = noise_scale
        self.noise_floor = noise_floor
        self.degrees_of_freedom = degrees_of_freedom
        self.objective = objective
        self.analytic_kl = analytic_kl
        self.beta = beta
        self.beta_warmup = beta_warmup
        self.free_bits = free_bits
        self.n_samples = n_samples
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.precision = precision
        self.clip_norm = clip_norm
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.on_divergence = on_divergence
        self.match = match
        self.binarization = binarization
        self.dequantize = dequantize
        self.encoder = encoder
        self.decoder = decoder
        self.random_state = random_state

    def fit(
        self,
        X,
        y=None,
        *,
        validation_data=None,
        watcher: Watcher | None = None,
        source: str = "",
        announce: Callable[[str], None] | None = None,
        checkpoints: Checkpoints | str | os.PathLike | None = None,
        resume: Resume = False,
    ):
        """Train on X.

        Args:
            X: (rows, features) or (rows, height, width[, channels]), numeric and finite; uint8 is
                kept and read as pixels under the Bernoulli likelihood.
            y: ignored; scikit-learn passes it.
            validation_data: rows to hold out instead of a share of X.
            watcher: what follows training, such as a progress bar.
            source: what X is called in the recipe, so that a run can be repeated from it.
            announce: is told what "auto" stands for and why, before training starts.
            checkpoints: a folder to keep checkpoints in while training, or `Checkpoints` that say
                how often.
            resume: go on from the newest checkpoint in that folder, to the same bytes as if
                training had never stopped; without one, start over. Where libraries, processor
                or kernels have changed, one line says so (a warning, without `announce`). Other
                folders to look in may be given instead of True.

        Returns:
            self.

        Raises:
            LogvarError: the data or a setting do not fit, or training met a non-finite number.
            KeyboardInterrupt: on Ctrl-C, after the best weights so far were kept.
        """
        keep_compiled_programs()
        if isinstance(checkpoints, str | os.PathLike):
            checkpoints = Checkpoints(checkpoints)
        recipe = self._recipe().replace(data=source)
        rows, validation = held_out_of(self._rows(X, reset=True), validation_data, recipe.training)
        run = assembly.build_run(
            recipe, rows, validation, self.encoder, self.decoder, self.optimizer, self.learning_rate
        )
        tell = announce or (lambda line: None)
        for reason in run.decisions.why:
            tell(f"auto: {reason}")
        for note in run.decisions.notes:
            tell(note)
        this = identity(recipe, data_of(rows, validation))
        del rows, validation  # the run has them as its model reads them
        state, history = begun(run, this, checkpoints, resume, tell, announce or _warn)
        watcher = watcher or Pace()
        kept = None if checkpoints is None else keeping(watcher, checkpoints, history, this)
        with Interrupt() as interrupt:
            if isinstance(watcher, Pace):
                watcher.listen(interrupt)
            trained = train(
                run.model,
                run.rows,
                run.validation,
                run.objective,
                run.plan,
                kept or watcher,
                latent_dim=run.latent_dim,
                coordinates=run.coordinates,
                state=state,
                history=history,
            )
        self._keep(run, trained, this.data)
        self.stopped_by_ = interrupt.requested
        self.diagnosis_ = trained.diagnosis
        self.rescues_ = list(trained.rescues)
        for diagnosis in trained.rescues:
            tell(f"rescued: {diagnosis}")
        if kept is not None and trained.ended == "interrupted":
            kept.save(trained.state)
        if trained.ended == "not finite":
            raise LogvarError(self._not_finite(trained))
        if trained.ended == "interrupted":
            raise KeyboardInterrupt("interrupted; the estimator keeps the best weights so far")
        return self

    def posterior(self, X) -> Normal:
        """q(z | x) for each row: a `Normal` of shape (rows, latent)."""
        return Normal(*self._encode(X), self.model_.scale)

    def transform(self, X) -> Any:
        """The posterior means, (rows, latent), float32; a frame where `set_output` asks for one."""
        return self._encode(X)[0]

    def inverse_transform(self, Z) -> np.ndarray:
        """Decode latents (rows, latent) to E[x | z] in the data's own units."""
        check_is_fitted(self, "model_")
        Z = as_float32(as_rows(Z, "Z"), "Z").astype(np.float32, copy=False)
        expected = self._n_features_out
        if Z.ndim != 2 or Z.shape[1] != expected:
            raise LogvarError(
                f"Z has shape {Z.shape}: expected (rows, {expected}), as transform returns"
            )
        return self._in_own_units(decode(self.model_, Z))

    def reconstruct(self, X) -> np.ndarray:
        """Encode and decode: E[x | z] at the posterior mean."""
        return self.inverse_transform(self._encode(X)[0])

    def sample(self, n_samples: int = 1, *, mean: bool = False, random_state=None) -> np.ndarray:
        """Draw from the model: z from the prior, then x from p(x | z).

        Args:
            n_samples: how many.
            mean: return E[x | z] instead of a draw of x, which is what pictures show.
            random_state: seed; the estimator's own by default.
        """
        check_is_fitted(self, "model_")
        seed = self._seed if random_state is None else seed_of(random_state)
        drawn = draw(self.model_, draws_of(n_samples), self._n_features_out, seed, mean=mean)
        return self._in_own_units(drawn)

    def elbo(
        self, X, eps: ArrayLike | None = None, n_samples: int = 1, analytic_kl: bool = False
    ) -> np.ndarray:
        """The ELBO of each row at β = 1, in nats.

        log p(x | z) − KL(q(z | x) ‖ p(z)), with the KL by the same samples (the tutorial's three
        terms) or in closed form.

        Args:
            X: rows.
            eps: noise, (rows, latent) or (n, rows, latent); by default a function of the seed
                and each row's bytes.
            n_samples: draws of z per row when eps is not given.
            analytic_kl: KL in closed form.
        """
        rows, preparation = self._stored(X)
        noise = None if eps is None else noise_of(eps, len(rows), self._n_features_out)
        n_samples = draws_of(n_samples)
        return elbo_terms(
            self.model_,
            rows,
            preparation,
            self._seed,
            n_samples=n_samples if noise is None else noise.shape[1],
            analytic_kl=analytic_kl,
            eps=noise,
        ).elbo

    def score(self, X, y=None) -> float:
        """The mean ELBO in nats per example: one sample per row, KL in closed form, at β = 1
        whatever was trained, so that models of different β compare."""
        return float(self.elbo(X, analytic_kl=True).mean(dtype=np.float64))

    def score_samples(self, X, n_samples: int = 100) -> np.ndarray:
        """Importance-weighted log-likelihood of each row, nats (Burda et al. 2016).

        A lower bound on log p(x) in expectation, tighter with more samples. Finite for every finite
        row: one far outside of the training rows is encoded from the nearest point that the encoder
        was trained on, scored as it is, and announced by `logvar.errors.OutsideTrainingRange`.
        """
        rows, preparation = self._stored(X)
        return importance_log_likelihood(
            self.model_, rows, preparation, self._seed, draws_of(n_samples)
        ).log_likelihood

    def evaluate(self, X, *, split: str = "given", n_importance: int = 100) -> Evaluation:
        """All figures of a report on X, each with its protocol."""
        rows, preparation = self._stored(X)
        return evaluate(
            self.model_,
            rows,
            preparation,
            split=split,
            binarization=self._preparation.binarization,
            seed=self._seed,
            meaning=meaning_of(
                self.decisions_.likelihood,
                binarized=self._preparation.binarization != "none",
                dequantized=self._preparation.dequantize,
            ),
            n_importance=n_importance,
            batch_means=self.recipe_.training.batch_size
            if not self.recipe_.objective.analytic_kl
            else None,
        )

    def save(self, path: str | os.PathLike, *, overwrite: bool = False) -> Path:
        """Write a run folder that `logvar.load` reads; nothing in it is pickled.

        Raises:
            LogvarError: the place exists or cannot be written.
        """
        check_is_fitted(self, "model_")
        folder = UnfinishedFolder(Path(path), overwrite=overwrite, marker=run_folder.MANIFEST)
        try:
            self.write_into(folder.path)
            return folder.publish()
        except BaseException:
            folder.discard()
            raise

    def write_into(self, folder: Path) -> None:
        """Write what `save` writes into a folder that exists."""
        write_run(self, folder)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.input_tags.three_d_array = True
        return tags

    # What fitting and loading share.

    def _recipe(self) -> Recipe:
        """The settings of this estimator as a checked recipe."""
        settings = {name: getattr(self, name) for name in Recipe.settings()}
        settings["random_state"] = seed_of(self.random_state)
        for name in ("scale", "noise_scale"):
            scales.get(settings[name])
            if isinstance(settings[name], Scale):
                settings[name] = scales.describe(settings[name])
        for name, value in settings.items():
            if isinstance(value, np.generic):
                settings[name] = value.item()
        settings |= assembly.written(settings["optimizer"], settings["learning_rate"])
        return Recipe().replace(**settings).checked()

    def _rows(self, X, *, reset: bool) -> np.ndarray:
        """Check X as scikit-learn expects and as we need it."""
        rows = dense_rows(X)
        self.n_features_in_: int
        if not reset and math.prod(rows.shape[1:]) != self.n_features_in_:
            raise LogvarError(
                f"X has {math.prod(rows.shape[1:])} features, but VAE is expecting "
                f"{self.n_features_in_} features as input: resize X, or fit a new model"
            )
        # Checks the names of the columns; the number of features was checked above.
        validate_data(self, X, reset=reset, skip_check_array=True, ensure_2d=False)
        if not reset:
            return rows.reshape(-1, *self._shape)
        self.n_features_in_ = math.prod(rows.shape[1:])
        return at_least_two(rows)

    def _stored(self, X) -> tuple[Examples, Preparation]:
        """Rows of X as the fitted model reads them, and what is left to do to them per batch."""
        check_is_fitted(self, "model_")
        keep_compiled_programs()
        rows = self._rows(X, reset=False)
        preparation = self._preparation
        if self.decisions_.likelihood == "bernoulli":
            preparation = read_as(preparation, as_float32(rows))
        elif self.decisions_.likelihood == "discretized-logistic":
            check_levels(rows)
        examples = assembly.read(rows, preparation, self._seed, self._standardization)
        warn_of_outside(examples)
        return examples, preparation.after_fixing

    def _in_own_units(self, values: np.ndarray) -> np.ndarray:
        """What the model gives of x, as the data have it."""
        return values if self._standardization is None else self._standardization.to_user(values)

    def _encode(self, X) -> tuple[np.ndarray, np.ndarray]:
        rows, preparation = self._stored(X)
        return encode(self.model_, rows, preparation, self._seed)

    def _keep(self, run: assembly.Run, trained: Trained, data: dict[str, Any]) -> None:
        """Set what fitting learned."""
        self.recipe_ = run.recipe
        self.decisions_ = run.decisions
        self.model_ = trained.model
        self.state_: TrainState | None = trained.state
        self.history_ = [metrics.as_dict() for metrics in trained.history]
        self.n_iter_ = len(self.history_)
        self.ended_ = trained.ended
        self.data_ = data
        self._set_fitted(run.prepared, run.standardization, run.rows.shape[1:], run.dtype)

    def _set_fitted(
        self,
        prepared: Preparation,
        standardization: Standardization | None,
        shape: tuple[int, ...],
        dtype: str,
    ) -> None:
        keep_compiled_programs()  # a loaded model compiles programs as well
        self._preparation = prepared
        self._standardization = standardization
        self._shape = shape
        self._dtype = dtype
        self._seed = self.recipe_.training.random_state
        self._n_features_out = assembly.latent_dim(self.model_, shape)

    def _not_finite(self, trained: Trained) -> str:
        return (
            f"{trained.diagnosis}. The step was not taken, and the estimator keeps the weights "
            f"from before (best epoch {int(trained.state.best_epoch)})"
        )


# `unknown` only collects the names of removed settings, so that they are answered: scikit-learn's
# checks, which set every parameter of the signature, must not see it.
VAE.__signature__ = inspect.Signature(
    [
        parameter
        for parameter in inspect.signature(VAE).parameters.values()
        if parameter.kind is not parameter.VAR_KEYWORD
    ]
)
