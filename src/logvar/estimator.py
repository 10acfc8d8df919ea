"""`logvar.VAE`, the scikit-learn estimator. Start reading the code here."""

import inspect
import math
import os
import warnings
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np
from jax.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import check_is_fitted, validate_data

from logvar import assembly
from logvar.assembly import Own
from logvar.assembly.parts import get, own_classes, written
from logvar.data.examples import Examples
from logvar.data.images.shapes import fitting
from logvar.data.intake import (
    at_least_two,
    counted,
    dense_rows,
    draws_of,
    held_out_of,
    noise_of,
    seed_of,
    warn_of_outside,
)
from logvar.data.preparation import Preparation, as_float32, as_rows
from logvar.distributions.base import Distribution
from logvar.distributions.multivariate import DiagonalNormal
from logvar.distributions.normal import Normal
from logvar.errors import LogvarError, LogvarTypeError
from logvar.evaluation.coding import decode, draw, encode
from logvar.evaluation.elbo import elbo_terms
from logvar.evaluation.importance import importance_log_likelihood
from logvar.evaluation.summary import Evaluation, evaluate
from logvar.fitted import Fitted, FittedAttributes, PartAndMethod
from logvar.networks import Network
from logvar.objectives.elbo import ELBO
from logvar.recipe import CUSTOM, Recipe
from logvar.recipe.older import unknown_setting
from logvar.runs.loading import load_fitted
from logvar.runs.resuming import (
    Checkpoints,
    Resume,
    data_of,
    identity,
    starting_state,
    with_checkpoints,
)
from logvar.runs.saving import write_run
from logvar.signals import Interrupt
from logvar.storage import run_folder
from logvar.storage.compiled import keep_compiled_programs
from logvar.storage.files import UnfinishedFolder
from logvar.training import optimizers, schedules
from logvar.training.loop import Trained, Watcher, train
from logvar.training.pace import Pace


def _warn(line: str) -> None:
    warnings.warn(line, stacklevel=4)  # at the call of `fit`


class VAE(FittedAttributes, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A variational autoencoder.

    Examples x are rows of a table or images (rows, height, width[, channels]). All densities are
    in nats per example and in the data's own units; all noise is a function of `random_state`.

    Args:
        latent_dim: number of latents.
        scale: how raw outputs become σ: a name from `logvar.scales.names()` or a `Scale`.
        posterior: the family of q(z | x): "diagonal" or "full"; see `logvar.posteriors`.
        prior: p(z): "standard", "mixture(components=10)" or one of your own; see `logvar.priors`.
        likelihood: "bernoulli" for values in [0, 1]; "normal", "laplace" or "student-t" for real
            values; "discretized-logistic" for pixels; "categorical" for integer codes; "auto"; or
            one of your own. With settings, "normal(noise=per-feature)"; see `logvar.likelihoods`.
        network: "mlp", "conv", "tutorial" or "auto"; with settings, "mlp(hidden=[256, 128])".
        objective: "elbo" or "iwae", with settings, "elbo(beta=4, warmup=20)" or
            "iwae(samples=5, gradient=dreg)"; or one of your own. Scores are always at β = 1.
        initial_sigma: σ when training starts: a number; "auto", which is 1 under any scale
            that reaches it; or "as-is", raw outputs as the network draws them.
        epochs: the maximum number of passes over the data.
        batch_size: examples per step.
        learning_rate: a number; a schedule, such as "cosine(1e-3, warmup=5)"; or a function from
            the step to the rate.
        optimizer: "adam", "adamw", "adam-keras" or "sgd", with settings if needed, such as
            "adam(weight_decay=1e-4)"; or an Optax gradient transformation.
        precision: of the networks' matrix products in training: "float32", or "bfloat16", which is
            faster on some machines. Evaluation and scores always use float32.
        clip_norm: the largest allowed norm of the gradient; 0 turns clipping off.
        validation_fraction: share of rows held out to stop early; 0 holds out none.
        patience: epochs without a better held-out ELBO before stopping; 0 never stops early.
        on_divergence: what to do when a number is not finite: "stop" with a diagnosis, or "rescue":
            return to the best weights, divide the learning rate by five, clip gradients to norm 1,
            and continue; at most three times.
        match: train in the coordinates of this other scale of the log family.
        binarization: "none", "threshold", "static" or "dynamic".
        dequantize: add uniform noise of one level to integer data.
        encoder: your own module from one example to (mean, raw), or to whatever else the posterior
            needs; pass the decoder as well.
        decoder: your own module from one example's latents to raw outputs.
        random_state: seed of everything random.

    Attributes:
        fitted_: the result of training: the model and everything needed to use it.
        model_: the trained model.
        history_: one dict per epoch, as in metrics.jsonl.
        decisions_: what "auto" chose, and why.
        n_iter_: epochs run.
        ended_: "finished", "stopped early", "interrupted" or "not finite".
        stopped_by_: the signal that interrupted fitting, or None.
        rescues_: one diagnosis for each time training was rescued.
        diagnosis_: what became NaN or infinite first, and why, if that ended training.
        n_features_in_: columns of a table, or features of an example.

    Example:
        >>> import logvar
        >>> from sklearn.datasets import load_iris
        >>> X = load_iris().data
        >>> vae = logvar.VAE(latent_dim=2, epochs=20, random_state=0).fit(X)
        >>> vae.transform(X).shape, vae.sample(3).shape
        ((150, 2), (3, 4))
    """

    # scikit-learn would treat Z as metadata, because it is not called X.
    __metadata_request__inverse_transform: ClassVar[dict[str, str]] = {"Z": UNUSED}

    def __init__(
        self,
        latent_dim=10,
        *,
        scale="log-variance",
        posterior="diagonal",
        prior="standard",
        likelihood="auto",
        network="auto",
        objective="elbo",
        initial_sigma="auto",
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
        for name, value in unknown.items():
            raise LogvarTypeError(f"VAE: {unknown_setting(name, Recipe.settings(), value)}")
        self.latent_dim = latent_dim
        self.scale = scale
        self.posterior = posterior
        self.prior = prior
        self.likelihood = likelihood
        self.network = network
        self.objective = objective
        self.initial_sigma = initial_sigma
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
        sample_weight=None,
        validation_data=None,
        watcher: Watcher | None = None,
        source: str | Mapping[str, str] = "",
        announce: Callable[[str], None] | None = None,
        checkpoints: Checkpoints | str | os.PathLike | None = None,
        resume: Resume = False,
    ):
        """Train on X.

        Args:
            X: (rows, features) or (rows, height, width[, channels]), numeric and finite; uint8 is
                kept and read as pixels under the Bernoulli likelihood.
            y: ignored; scikit-learn passes it.
            sample_weight: (rows,), how much each row counts: in the loss, and in the held-out ELBO.
                A row of weight 0 is left out.
            validation_data: rows to hold out instead of a share of X; each counts the same.
            watcher: observes training, such as a progress bar.
            source: the name of X in the recipe, so that a run can be repeated from it; or, by name,
                all of the recipe's settings of where X is from.
            announce: called before training with a line for each choice that "auto" made, and why.
            checkpoints: a folder for checkpoints during training, or a `Checkpoints` that also sets
                how often they are written.
            resume: continue from the newest checkpoint in that folder and reach the same bytes as
                an uninterrupted run; start over if there is none. If libraries, processor or
                kernels have changed, one line says so (a warning if `announce` is not given).
                Instead of True, pass further folders to search.

        Returns:
            self.

        Raises:
            LogvarError: the data or a setting is invalid, or a number became NaN or infinite.
            KeyboardInterrupt: on Ctrl-C; the best weights so far are kept.
        """
        keep_compiled_programs()
        if isinstance(checkpoints, str | os.PathLike):
            checkpoints = Checkpoints(checkpoints)
        own = self._own()
        source = {"data": source} if isinstance(source, str) else source
        recipe = self._recipe(own).replace(**source)
        rows = self._rows(X, reset=True)
        rows, weight = counted(rows, sample_weight)
        rows, validation, weight, held_out_weight = held_out_of(
            rows, weight, validation_data, recipe.training
        )
        run = assembly.build_run(
            recipe, rows, validation, own, sample_weight=weight, held_out_weight=held_out_weight
        )
        tell = announce or (lambda line: None)
        for reason in run.decisions.why:
            tell(f"auto: {reason}")
        for note in run.decisions.notes:
            tell(note)
        this = identity(recipe, data_of(rows, validation, weight, held_out_weight))
        del rows, validation  # the run has them as its model reads them
        state, history = starting_state(
            run, this, checkpoints, resume, tell, announce or _warn, own.classes
        )
        watcher = watcher or Pace()
        kept = (
            None if checkpoints is None else with_checkpoints(watcher, checkpoints, history, this)
        )
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
                coordinates=run.coordinates,
                state=state,
                history=history,
            )
        self._wrap(Fitted.of_run(run, trained, this.data, own))
        self.stopped_by_ = interrupt.requested
        for diagnosis in trained.rescues:
            tell(f"rescued: {diagnosis}")
        if kept is not None and trained.ended == "interrupted":
            kept.save(trained.state)
        if trained.ended == "not finite":
            raise LogvarError(self._not_finite(trained))
        if trained.ended == "interrupted":
            raise KeyboardInterrupt("interrupted; the estimator keeps the best weights so far")
        return self

    def _posterior_of(self, X) -> Normal | Distribution:
        """Return q(z | x) for each row.

        For the diagonal family, a `Normal` of shape (rows, latent). For any other, its distribution
        with a leading axis of rows in its arrays, for `jax.vmap`.
        """
        code = self._encode(X)
        found = jax.vmap(self.model_.posterior.distribution)(code)
        if not isinstance(found, DiagonalNormal):
            return found
        # The scale is the same for all rows, so its arrays have no axis of theirs.
        return Normal(found.mean, found.raw, self.model_.scale)

    posterior = PartAndMethod("posterior", _posterior_of)

    def transform(self, X) -> Any:
        """Return posterior means (rows, latent), float32; a frame if `set_output` asks for one."""
        return self._embeddings(X)

    def inverse_transform(self, Z) -> np.ndarray:
        """Decode latents (rows, latent) to E[x | z] in the data's own units."""
        check_is_fitted(self, "model_")
        Z = as_float32(as_rows(Z, "Z"), "Z").astype(np.float32, copy=False)
        expected = self._n_features_out
        if Z.ndim != 2 or Z.shape[1] != expected:
            raise LogvarError(
                f"Z has shape {Z.shape}: expected (rows, {expected}), as transform returns"
            )
        return self.fitted_.in_own_units(decode(self.model_, Z))

    def reconstruct(self, X) -> np.ndarray:
        """Encode and decode X: E[x | z] at the posterior mean."""
        return self.inverse_transform(self._embeddings(X))

    def sample(self, n_samples: int = 1, *, mean: bool = False, random_state=None) -> np.ndarray:
        """Draw from the model: z from the prior, then x from p(x | z).

        Args:
            n_samples: how many.
            mean: return E[x | z], as pictures usually show, instead of a draw of x.
            random_state: the seed; by default that of the estimator.
        """
        check_is_fitted(self, "model_")
        seed = self.fitted_.seed if random_state is None else seed_of(random_state)
        drawn = draw(self.model_, draws_of(n_samples), seed, mean=mean)
        return self.fitted_.in_own_units(drawn)

    def elbo(
        self, X, eps: ArrayLike | None = None, n_samples: int = 1, analytic_kl: bool = False
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
        """
        rows, preparation = self._stored(X)
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

    def score(self, X, y=None) -> float:
        """Return the mean ELBO in nats per example: one sample per row, KL in closed form, β = 1.

        β is 1 whatever the model was trained with, so that models of different β compare.
        """
        return float(self.elbo(X, analytic_kl=True).mean(dtype=np.float64))

    def score_samples(self, X, n_samples: int = 100) -> np.ndarray:
        """Return the importance-weighted log-likelihood of each row, nats (Burda et al. 2016).

        In expectation a lower bound on log p(x), tighter with more samples. It is finite for every
        finite row: a row far outside the training range is encoded from the nearest point inside
        it, scored as it is, and reported by the warning `logvar.errors.OutsideTrainingRange`.
        """
        rows, preparation = self._stored(X)
        return importance_log_likelihood(
            self.model_, rows, preparation, self.fitted_.seed, draws_of(n_samples)
        ).log_likelihood

    def evaluate(self, X, *, split: str = "given", n_importance: int = 100) -> Evaluation:
        """Compute all figures of a report on X, each with its protocol."""
        rows, preparation = self._stored(X)
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

    def save(self, path: str | os.PathLike, *, overwrite: bool = False) -> Path:
        """Write a run folder that `logvar.load` reads; nothing in it is pickled.

        Raises:
            LogvarError: the path already exists or cannot be written.
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
        """Write what `save` writes into an existing folder."""
        write_run(self.fitted_, folder)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.input_tags.three_d_array = True
        return tags

    @classmethod
    def of(cls, fitted: Fitted) -> "VAE":
        """Return an estimator around a model that is already trained."""
        settings = fitted.recipe.flat()
        settings = {name: settings[name] for name in Recipe.settings()}
        # Objects that the user passed replace the recipe's names for them.
        objects = {
            name: given
            for name in ("encoder", "decoder", "optimizer", "learning_rate")
            if (given := getattr(fitted.own, name)) is not None
        }
        for kind in ("scale", "posterior", "prior", "likelihood", "objective", "network"):
            if settings[kind].split("(")[0] in {c.__name__ for c in fitted.own.classes}:
                objects[kind] = get(kind, settings[kind], fitted.own.classes)
        vae = cls(**settings | objects)
        vae._wrap(fitted)
        vae.n_features_in_ = math.prod(fitted.shape)
        return vae

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name, as scikit-learn expects."""
        return super().get_params(deep) | {"posterior": vars(self)["posterior"]}

    # Shared by fitting and loading.

    def _wrap(self, fitted: Fitted) -> None:
        keep_compiled_programs()  # a loaded model compiles programs as well
        self.fitted_ = fitted

    def _own(self) -> Own:
        """The parts that the user passed as objects."""
        custom = optimizers.describe(self.optimizer) == CUSTOM
        rate = self.learning_rate
        scheduled = not isinstance(rate, int | float) and schedules.written(rate) == CUSTOM
        return Own(
            self.encoder,
            self.decoder,
            self.optimizer if custom else None,
            rate if scheduled else None,
            own_classes(list(self.get_params(deep=False).values())),
        )

    def _recipe(self, own: Own) -> Recipe:
        """The settings of this estimator as a checked recipe."""
        parameters = self.get_params(deep=False)
        settings = {name: parameters[name] for name in Recipe.settings()}
        settings["random_state"] = seed_of(self.random_state)
        return Recipe().replace(**written(settings, own.classes)).checked()

    def _rows(self, X, *, reset: bool) -> np.ndarray:
        """Check X as scikit-learn expects and as training needs it."""
        rows = dense_rows(X)
        self.n_features_in_: int
        if not reset:
            rows = fitting(rows, self.fitted_.shape)
        # Checks the names of the columns; the number of features was checked above.
        validate_data(self, X, reset=reset, skip_check_array=True, ensure_2d=False)
        if not reset:
            return rows
        self.n_features_in_ = math.prod(rows.shape[1:])
        return at_least_two(rows)

    def _stored(self, X) -> tuple[Examples, Preparation]:
        """Return X as the fitted model reads it, and the preparation left to do per batch."""
        check_is_fitted(self, "model_")
        keep_compiled_programs()
        examples, preparation = self.fitted_.read(self._rows(X, reset=False))
        warn_of_outside(examples)
        return examples, preparation

    def _encode(self, X) -> dict[str, np.ndarray]:
        """The code of each row: the encoder's outputs by head."""
        rows, preparation = self._stored(X)
        return encode(self.model_, rows, preparation, self.fitted_.seed)

    def _embeddings(self, X) -> np.ndarray:
        """Return each row's embedding, (rows, latent)."""
        code = self._encode(X)  # which checks that there is a model
        return np.array(jax.vmap(self.model_.embedding)(code))

    def _not_finite(self, trained: Trained) -> str:
        return (
            f"{trained.diagnosis}. The step was not taken; the estimator keeps the weights from "
            f"before it (best epoch {int(trained.state.best_epoch)})"
        )


def load(
    path: str | os.PathLike,
    *,
    encoder: Network | None = None,
    decoder: Network | None = None,
    optimizer: Any = None,
    learning_rate: Any = None,
    parts: Collection[type] = (),
) -> VAE:
    """Load a fitted estimator from a run folder, without running any code from it.

    Args:
        path: the run folder.
        encoder: if the run used networks of your own, a module of the same structure; its
            weights are replaced by those of the run.
        decoder: likewise.
        optimizer: if the run's optimizer was an object, that object; needed only to fit again or
            resume.
        learning_rate: likewise.
        parts: if the run used parts of your own classes, those classes; nothing is imported for
            you.

    Raises:
        LogvarError: the folder is not a complete run, a file was changed, the format is another, or
            the objects do not fit.

    Example:
        >>> import logvar, pathlib, tempfile
        >>> from sklearn.datasets import load_iris
        >>> vae = logvar.VAE(latent_dim=2, epochs=2).fit(load_iris().data)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = vae.save(pathlib.Path(folder) / "iris")
        ...     bool((logvar.load(path).transform(load_iris().data)
        ...           == vae.transform(load_iris().data)).all())
        True
    """
    return VAE.of(
        load_fitted(
            path,
            encoder=encoder,
            decoder=decoder,
            optimizer=optimizer,
            learning_rate=learning_rate,
            parts=parts,
        )
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
