"""`logvar.VAE`, the scikit-learn estimator. Start reading the code here."""

import inspect
import logging
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import check_is_fitted, validate_data

from logvar import assembly
from logvar.assembly import Own
from logvar.assembly.cautions import stopped_soon
from logvar.assembly.conditioning import taken_in_beside, told_first
from logvar.assembly.dividing import placement_for
from logvar.assembly.parts import get, own_classes, written
from logvar.assembly.start import Start
from logvar.assembly.tables import Intake, taken_in, taken_in_again
from logvar.assembly.training_data import Beside, TrainingData
from logvar.backend.sparse import Rows
from logvar.data.annotated import is_annotated
from logvar.data.conditions import names_of
from logvar.data.intake import at_least_two, counting_rows, seed_of
from logvar.data.labels import Codes, Labels
from logvar.data.table.form import TableForm
from logvar.data.table.schema import Schema
from logvar.errors import LogvarError, LogvarTypeError
from logvar.fitted import Fitted
from logvar.fitted_methods import FittedMethods
from logvar.processes.agreement import check_agreement
from logvar.processes.ending import begin_training
from logvar.processes.placement import Placement, several
from logvar.recipe import CUSTOM, Recipe
from logvar.recipe.older import unknown_setting
from logvar.runs.adapting import recipe_from, start_from
from logvar.runs.checkpoints import Checkpoints
from logvar.runs.resuming import (
    Resume,
    data_of,
    facts_of,
    identity,
    of_this_process,
    starting_state,
    with_checkpoints,
)
from logvar.runs.saving import write_run
from logvar.samplers.storage import write_samplers
from logvar.signals import Interrupt
from logvar.storage import run_folder
from logvar.storage.checkpoints import Identity
from logvar.storage.compiled import keep_compiled_programs
from logvar.storage.files import UnfinishedFolder
from logvar.training import optimizers, schedules
from logvar.training.loop import Trained
from logvar.training.pace import Pace
from logvar.training.watching import Watcher

_LOG = logging.getLogger("logvar")


def _log(line: str) -> None:
    _LOG.info(line)


def _warn(line: str) -> None:
    warnings.warn(line, stacklevel=4)  # at the call of `fit`


class VAE(FittedMethods, BaseEstimator):
    """A variational autoencoder.

    Examples x are rows of a table or images (rows, height, width[, channels]). All densities are
    in nats per example and in the data's own units; all noise is a function of `random_state`.

    Args:
        latent_dim: number of latents.
        scale: how raw outputs become σ: a name from `logvar.scales.names()` or a `Scale`.
        posterior: the family of q(z | x), such as "diagonal" or "full": a text, with a name of
            `logvar.posteriors.names()`, or an object of yours.
        prior: p(z), such as "standard" or "mixture(components=10)": a name of
            `logvar.priors.names()`, with settings if needed, or an object of yours.
        likelihood: "bernoulli" for values in [0, 1]; "normal", "laplace" or "student-t" for real
            values; "discretized-logistic" for pixels; "categorical" for integer codes; "poisson",
            "negative-binomial" or "zero-inflated-negative-binomial" for counts; "mixed" for the
            columns of a table, each by its kind; "auto"; or one of your own. With settings,
            "normal(noise=per-feature)"; see `logvar.likelihoods`.
        network: "mlp", "conv", "tutorial" or "auto"; with settings, "mlp(hidden=[256, 128])".
        objective: "elbo", "iwae", "trimmed" and others, with settings, "elbo(beta=4, warmup=20)" or
            "iwae(samples=5, gradient=dreg)"; or one of your own. Scores are always at β = 1.
        initial_sigma: σ when training starts: a number; "auto", which is 1 under any scale
            that reaches it; or "as-is", raw outputs as the network draws them.
        epochs: the maximum number of passes over the data.
        batch_size: examples per step.
        shards: parts of each batch, a power of two, that are computed one by one and added in a
            fixed order. Any number of processes that divides it then trains to the same bytes; 1
            divides no batch. See `docs/scale.md`.
        learning_rate: a number; a schedule, such as "cosine(1e-3, warmup=5)"; or a function from
            the step to the rate.
        optimizer: "adam", "adamw", "adam-keras" or "sgd", with settings if needed, such as
            "adam(weight_decay=1e-4)"; or an Optax gradient transformation.
        precision: of the networks' matrix products in training: "float32", or "bfloat16", which is
            faster on some machines. Evaluation and scores always use float32.
        clip_norm: the largest allowed norm of the gradient; 0 turns clipping off.
        average_weights: keep an exponential moving average of the weights, such as 0.999 per step;
            it is what is evaluated and kept. 0 keeps none.
        validation_fraction: share of rows held out to stop early; 0 holds out none.
        patience: epochs without a better held-out ELBO before stopping; 0 never stops early.
        on_divergence: what to do when a number is not finite: "stop" with a diagnosis, or "rescue":
            return to the best weights, divide the learning rate by five, clip gradients to norm 1,
            and continue; at most three times.
        window: rows that are shuffled at a time: a number; "all"; or "auto", which is all of them
            up to 1 GiB in the form that the model reads, and as many as 64 MiB hold of more. Data
            that are read when they are needed are kept in memory as far as a window.
        match: train in the coordinates of this other scale of the log family.
        binarization: "none", "threshold", "static" or "dynamic".
        dequantize: add uniform noise of one level to integer data.
        schema: for a table, what its columns are where that is not found as wished: a dict such as
            {"zip": "categorical", "id": "identifier"}, the path of a schema.toml, or a `Schema`.
        from_run: path of a run folder: start from its weights instead of from random ones, and read
            rows as it does. Its model stays; training has settings of its own.
        encoder: your own module from one example to (mean, raw), or to whatever else the posterior
            needs; pass the decoder as well.
        decoder: your own module from one example's latents to raw outputs.
        random_state: seed of everything random.

    Attributes:
        fitted_: the result of training: the model and everything needed to use it.
        model_: the trained model.
        schema_: for a table, the kind of each column and why.
        history_: one dict per epoch, as in metrics.jsonl.
        decisions_: what "auto" chose, and why.
        n_iter_: epochs run.
        ended_: "finished", "stopped early", "interrupted" or "not finite".
        stopped_by_: the signal that interrupted fitting, or None.
        rescues_: one diagnosis for each time training was rescued.
        samplers_: what `fit_sampler` fitted, by name.
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
        shards=1,
        learning_rate=1e-3,
        optimizer="adam",
        precision="float32",
        clip_norm=0.0,
        average_weights=0.0,
        validation_fraction=0.1,
        patience=20,
        on_divergence="stop",
        window="auto",
        match="",
        binarization="none",
        dequantize=False,
        schema=None,
        from_run="",
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
        self.shards = shards
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.precision = precision
        self.clip_norm = clip_norm
        self.average_weights = average_weights
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.on_divergence = on_divergence
        self.window = window
        self.match = match
        self.binarization = binarization
        self.dequantize = dequantize
        self.schema = schema
        self.from_run = from_run
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
        layer: str = "",
        condition=None,
        validation_condition=None,
    ):
        """Train on X.

        Args:
            X: a table (a pandas, polars or Arrow frame, a dict of columns, a structured, object or
                masked array, the path of a table file); or an array (rows, features) or (rows,
                height, width[, channels]), in which uint8 are pixels. NaN is a missing cell. For
                likelihoods of counts also a sparse matrix of SciPy or an AnnData object. Data
                larger than memory: the path of a .npy file, a memory map, a dataset of h5py or
                zarr, any object with a length and indexing by an array of rows, or a list of them.
            y: ignored; scikit-learn passes it.
            sample_weight: (rows,), how much each row counts: in the loss, and in the held-out ELBO.
                A row of weight 0 is left out; only what a table's columns are, with their levels,
                is found from all rows.
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
            layer: of an AnnData object, the layer to read instead of its X, here and in all later
                calls.
            condition: what the model is told of each row: an array (rows,) or (rows, columns), a
                frame or a dict of columns; or names of columns of X. Texts and a few different
                integers are levels, other numbers are numbers. The model is p(x | z, condition).
            validation_condition: that of `validation_data`, if X does not have it in columns.

        Returns:
            self.

        Raises:
            LogvarError: the data or a setting is invalid, or a number became NaN or infinite.
            KeyboardInterrupt: on Ctrl-C; the best weights so far are kept.
        """
        keep_compiled_programs()
        own, tell = self._own(), announce or _log
        recipe, start = self._settings(own, source, layer, is_annotated(X))
        beside = Beside(sample_weight, validation_data, condition, validation_condition)
        recipe, data = self._data(X, y, beside, recipe, start, own, tell)
        run = assembly.build_run(recipe, data, own, start)
        for line in run.decisions.lines:
            tell(line)
        self._check_rows(Fitted.before_training(run, own), X, beside)
        this = identity(recipe, data_of(data, start))
        del data  # the run has the rows as its model reads them
        placement = self._placement(run, this, tell)

        checkpoints, resume = of_this_process(checkpoints, resume)
        state, history = starting_state(
            run, this, checkpoints, resume, tell, announce or _warn, own.classes
        )
        if several():
            begin_training(Placement.of(jax.devices()))
        watcher = watcher or Pace()
        saving = with_checkpoints(watcher, checkpoints, history, this)
        with Interrupt() as interrupt:
            if isinstance(watcher, Pace):
                watcher.listen(interrupt)
            trained = run.train(saving or watcher, state, history, placement)

        self._wrap(Fitted.of_run(run, trained, this.data, own))
        self.stopped_by_ = interrupt.requested
        for diagnosis in trained.rescues:
            tell(f"rescued: {diagnosis}")
        judged = 0 if run.validation is None else len(run.validation)
        for line in stopped_soon(trained.ended, int(trained.state.step), judged):
            tell(line)
        if saving is not None and trained.ended == "interrupted":
            saving.save(trained.state)
        self._raise_if_cut_short(trained)
        return self

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
        write_samplers(folder, dict(self.samplers_.values()))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
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
        if fitted.features is not None:
            vae.feature_names_in_ = np.asarray(fitted.features, object)
        if fitted.table is not None:
            vae.schema = fitted.table.schema
            vae._remember_columns(fitted.table.schema)
        return vae

    def around(self, fitted: Fitted) -> "VAE":
        """Return an estimator like this one around a converted form of its model.

        log p(x) and the decoder are the same, so its samplers and its threshold, if any, are kept.
        """
        found = type(self).of(fitted)
        found.samplers_ = dict(self.samplers_)
        return found

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name, as scikit-learn expects."""
        return super().get_params(deep) | {"posterior": vars(self)["posterior"]}

    # Shared by fitting and loading.

    def _wrap(self, fitted: Fitted) -> None:
        keep_compiled_programs()  # a loaded model compiles programs as well
        self.fitted_ = fitted
        self.samplers_ = {}

    @staticmethod
    def _second_stage(*arguments: Any, **settings: Any) -> "VAE":
        return VAE(*arguments, **settings)

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
        if isinstance(self.from_run, os.PathLike):  # `save` returns a path
            settings["from_run"] = os.fspath(self.from_run)
        return Recipe().replace(**written(settings, own.classes)).checked()

    # The steps of fitting.

    def _settings(
        self, own: Own, source: str | Mapping[str, str], layer: str, annotated: bool
    ) -> tuple[Recipe, Start | None]:
        """Return the recipe of a fit, and the run whose weights it starts from, if any."""
        where = {"data": source} if isinstance(source, str) else dict(source)
        where |= {"layer": layer} if layer else {}
        recipe = recipe_from(self._recipe(own).replace(**where), annotated=annotated)
        path = recipe.training.from_run
        return recipe, start_from(path, own) if path else None

    def _data(
        self,
        X,
        y,
        beside: Beside,
        recipe: Recipe,
        start: Start | None,
        own: Own,
        tell: Callable[[str], None],
    ) -> tuple[Recipe, TrainingData]:
        """Return the recipe for these data, and the data; `tell` is told what X was found to be."""
        given = self._first_rows(X, recipe, start, names_of(beside.condition))
        kept = counting_rows(beside.sample_weight, len(given.rows))
        told = told_first(given, X, beside.condition, start, kept)
        if told is not None:
            tell(f"condition: {told.form}")
        for line in given.lines:
            tell(line)
        held_out, told = taken_in_beside(
            beside.held_out, beside.validation_condition, "validation", given, told,
            recipe.data.layer,
        )  # fmt: skip
        label, labels = self._label_of(given, y, kept)
        data = TrainingData.counting(
            given, beside.sample_weight, recipe.training.window, told, label, labels
        )
        recipe = self._for_rows(recipe, data.rows, data.table)
        with given.naming(kept):
            assembly.check_values(recipe, data.rows, own.classes)
        validation = None if held_out is None else held_out.rows
        return recipe, data.divided(validation, recipe.training)

    def _label_of(
        self, given: Intake, y: Any, kept: np.ndarray | None
    ) -> tuple[Codes | None, Labels | None]:
        """Return what is to be learned beside X: the number of each row's label, and the labels.

        Args:
            given: X, taken in.
            y: as `fit` has it.
            kept: the numbers of the rows that count, if others do not.
        """
        return None, None

    def _check_rows(self, untrained: Fitted, X, beside: Beside) -> None:
        """Check, before training, what else will be done with the rows."""

    def _for_rows(self, recipe: Recipe, rows: Rows, table: TableForm | None) -> Recipe:
        """Return the recipe to fit these rows with."""
        return recipe

    def _first_rows(
        self, X, recipe: Recipe, start: Start | None, conditions: Sequence[Any]
    ) -> Intake:
        """Return X as the rows to train on, and remember the names of its columns."""
        layer = recipe.data.layer
        if start is None:
            given = taken_in(
                X,
                recipe.model.likelihood,
                self.schema,
                layer=layer,
                conditions=conditions,
                window=recipe.training.window,
                seed=recipe.training.random_state,
            )
        else:
            table = start.table_for(self.schema)
            given = taken_in_again(X, table, features=start.features, layer=layer)
        self.n_features_in_: int
        self.feature_names_in_: np.ndarray
        if given.features is not None:
            self.n_features_in_ = len(given.features)
            self.feature_names_in_ = np.asarray(given.features, object)
        elif given.form is None:
            self._check_names(X, reset=True)
            self.n_features_in_ = math.prod(given.rows.shape[1:])
        else:
            self._remember_columns(given.form.schema)
        at_least_two(given.rows)
        return given

    def _remember_columns(self, schema: Schema) -> None:
        self.n_features_in_ = len(schema)
        if hasattr(self, "feature_names_in_"):
            del self.feature_names_in_  # of an earlier fit
        if all(isinstance(name, str) for name in schema.names):
            self.feature_names_in_ = np.asarray(schema.names, object)

    def _check_names(self, X, reset: bool = False) -> None:
        # Their number is checked by the shape of the rows.
        validate_data(self, X, reset=reset, skip_check_array=True, ensure_2d=False)

    @staticmethod
    def _placement(
        run: assembly.Run, this: Identity, tell: Callable[[str], None]
    ) -> Placement | None:
        """Return the devices that train together, after checking that all processes agree."""
        if several():
            check_agreement(facts_of(this), Placement.of(jax.devices()))
        name = run.recipe.objective.objective
        return placement_for(name, run.objective, run.model, run.plan.fixed, tell)

    @staticmethod
    def _raise_if_cut_short(trained: Trained) -> None:
        if trained.ended == "not finite":
            raise LogvarError(
                f"{trained.diagnosis}. The step was not taken; the estimator keeps the weights "
                f"from before it (best epoch {int(trained.state.best_epoch)})"
            )
        if trained.ended == "interrupted":
            raise KeyboardInterrupt("interrupted; the estimator keeps the best weights so far")


# `unknown` only collects the names of removed settings, so that they are answered: scikit-learn's
# checks, which set every parameter of the signature, must not see it.
VAE.__signature__ = inspect.Signature(
    [
        parameter
        for parameter in inspect.signature(VAE).parameters.values()
        if parameter.kind is not parameter.VAR_KEYWORD
    ]
)
