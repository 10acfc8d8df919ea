"""The recipe of a run: the one place where settings are declared.

The estimator's arguments and the command line's flags are these fields; `recipe.toml` in a run
folder stores them.
"""

import dataclasses
import math
import tomllib
import typing
from typing import Annotated, Any

import tomli_w

from logvar.errors import LogvarError, unknown_name
from logvar.recipe.older import unknown_setting, upgraded
from logvar.recipe.presets import PRESETS

CUSTOM = "custom"
"""The text of an optimizer or a schedule that was passed as an object in Python."""


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """The parts of the model."""

    latent_dim: Annotated[int, "number of latents"] = 10
    scale: Annotated[str, "how raw outputs become σ; see `logvar scales`"] = "log-variance"
    posterior: Annotated[
        str, "diagonal, full, low-rank(rank=2), flow, power-spherical; see `logvar parts posterior`"
    ] = "diagonal"
    prior: Annotated[
        str,
        "standard, mixture(components=10), vamp(components=100), flow, conditional, "
        "uniform-sphere; see `logvar parts prior`",
    ] = "standard"
    likelihood: Annotated[
        str,
        "auto, bernoulli, continuous-bernoulli, normal, laplace, student-t, discretized-logistic, "
        "categorical, poisson, negative-binomial, zero-inflated-negative-binomial or mixed; "
        "with settings, 'normal(noise=optimal)'; see `logvar parts likelihood`",
    ] = "auto"
    network: Annotated[
        str,
        "auto, mlp, conv or tutorial; with settings, 'mlp(hidden=[256, 128])'; see "
        "`logvar parts network`",
    ] = "auto"
    initial_sigma: Annotated[
        float | str, "σ at the start: a number, auto, or as-is for unchanged raw outputs"
    ] = "auto"


@dataclasses.dataclass(frozen=True)
class ObjectiveSettings:
    """The objective that training maximizes."""

    objective: Annotated[
        str,
        "elbo, iwae, miwae, piwae, ciwae, renyi, beta-tc, dip, mmd, factor, trimmed, or labelled, "
        "which learns a label; with settings, 'elbo(beta=4, warmup=20)' or 'iwae(samples=5)'; see "
        "`logvar parts objective`",
    ] = "elbo"


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """How the model is trained."""

    epochs: Annotated[int, "the maximum number of passes over the data"] = 300
    batch_size: Annotated[int, "examples per step"] = 128
    shards: Annotated[
        int,
        "parts of a batch that are added in a fixed order, so that any number of processes that "
        "divides them ends in the same bytes: a power of two",
    ] = 1
    learning_rate: Annotated[
        float | str, "a number, or a schedule such as 'cosine(1e-3, warmup=5)'"
    ] = 1e-3
    optimizer: Annotated[
        str, "adam, adamw, adam-keras or sgd; with settings, 'adam(weight_decay=1e-4)'"
    ] = "adam"
    precision: Annotated[
        str,
        "of the networks' products in training: float32, or bfloat16, faster on some machines",
    ] = "float32"
    clip_norm: Annotated[float, "the largest norm of the gradient; 0 is off"] = 0.0
    average_weights: Annotated[
        float, "keep and evaluate a moving average of the weights, such as 0.999; 0 is off"
    ] = 0.0
    validation_fraction: Annotated[float, "share of rows held out; 0 holds out none"] = 0.1
    patience: Annotated[int, "epochs without a better held-out ELBO; 0 never stops early"] = 20
    on_divergence: Annotated[
        str, "when a number is not finite: stop, or rescue (back to the best weights, slower)"
    ] = "stop"
    window: Annotated[
        int | str,
        "rows shuffled at a time: a number, all, or auto (all up to 1 GiB, of more 64 MiB)",
    ] = "auto"
    match: Annotated[str, "train in the coordinates of this other scale of the log family"] = ""
    random_state: Annotated[int, "seed of everything random"] = 0
    from_run: Annotated[str, "a run folder: start from its weights, and read rows as it does"] = ""


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """The data to train on."""

    data: Annotated[str, "a built-in name or a path"] = ""
    resize: Annotated[
        str, "of a folder of images: 64 (the shorter side, then the centre) or WIDTHxHEIGHT"
    ] = ""
    shape: Annotated[str, "of one example, in a file of flat pixels: 28x28 or 32x32x3"] = ""
    reading: Annotated[str, "how the images were read; scoring reads others the same way"] = ""
    header: Annotated[str, "whether the first row of a .csv file has names: yes, no or auto"] = (
        "auto"
    )
    schema: Annotated[str, "a schema.toml that says what some or all columns of a table are"] = ""
    kinds: Annotated[str, "what columns of a table are, by name, as JSON"] = ""
    layer: Annotated[str, "of an .h5ad file, the layer to read instead of its X"] = ""
    binarization: Annotated[str, "none, threshold, static or dynamic"] = "none"
    dequantize: Annotated[bool, "add uniform noise of one level to integer data"] = False


OF_THE_SOURCE = ("data", "resize", "shape", "reading", "header", "schema", "kinds", "layer")
"""Settings that say where examples come from; an estimator in Python is given the examples."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """All settings of a run.

    Example:
        >>> from logvar.recipe import Recipe
        >>> recipe = Recipe().replace(scale="log-std", epochs=5)
        >>> Recipe.from_toml(recipe.to_toml()) == recipe
        True
    """

    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    training: TrainingSettings = TrainingSettings()

    @classmethod
    def settings(cls) -> dict[str, Any]:
        """Return all settings by name with their defaults, except those of the data's source."""
        return {name: value for name, value in cls().flat().items() if name not in OF_THE_SOURCE}

    def flat(self) -> dict[str, Any]:
        """Return all settings by name."""
        return {
            field.name: getattr(section, field.name)
            for section in self._sections().values()
            for field in dataclasses.fields(section)
        }

    def replace(self, **settings: Any) -> "Recipe":
        """Change settings by name.

        Raises:
            LogvarError: a name is unknown, or a value has the wrong type.
        """
        sections = self._sections()
        kinds = {
            name: kind
            for section in sections.values()
            for name, kind in typing.get_type_hints(type(section)).items()
        }
        for name, value in settings.items():
            if name not in kinds:
                raise unknown_setting(name, kinds, value)
            settings[name] = _of_type(name, value, kinds[name])
        return Recipe(
            **{
                key: dataclasses.replace(
                    section, **{k: v for k, v in settings.items() if hasattr(section, k)}
                )
                for key, section in sections.items()
            }
        )

    def checked(self) -> "Recipe":
        """Return self after checking that every value is possible.

        Raises:
            LogvarError: a value is out of its range.
        """
        values = self.flat()
        for name, (low, high) in _RANGES.items():
            if not low <= values[name] <= high:
                limit = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
                raise LogvarError(f"{name} is {values[name]!r}: expected {limit}")
        shards, batch_size = values["shards"], values["batch_size"]
        if shards < 1 or shards & (shards - 1):
            raise LogvarError(f"shards is {shards}: expected a power of two, such as 8")
        if batch_size % shards:
            raise LogvarError(
                f"batch_size {batch_size} does not divide into {shards} shards: use a multiple of "
                f"{shards}, such as batch_size={-(-batch_size // shards) * shards}"
            )
        rate = values["learning_rate"]
        if not isinstance(rate, str) and not 0 < rate < math.inf:
            raise LogvarError(f"learning_rate is {rate!r}: expected a positive number")
        if values["on_divergence"] not in ("stop", "rescue"):
            raise unknown_name("on_divergence", values["on_divergence"], ("stop", "rescue"))
        if values["precision"] not in ("float32", "bfloat16"):
            raise unknown_name("precision", values["precision"], ("float32", "bfloat16"))
        window = values["window"]
        if window not in ("auto", "all") if isinstance(window, str) else window < 1:
            raise LogvarError(
                f"window is {window!r}: expected a number of rows of at least 1, 'all' or 'auto'"
            )
        start = values["initial_sigma"]
        if isinstance(start, str) and start not in ("auto", "as-is"):
            raise LogvarError(
                f"initial_sigma is {start!r}: expected a positive number, 'auto' or 'as-is'"
            )
        if not isinstance(start, str) and not 0 < start < math.inf:
            raise LogvarError(f"initial_sigma is {start!r}: expected a positive number")
        return self

    def to_toml(self) -> str:
        """Return the recipe as TOML, with one table per section."""
        return tomli_w.dumps(
            {key: dataclasses.asdict(section) for key, section in self._sections().items()}
        )

    @classmethod
    def from_toml(cls, text: str) -> "Recipe":
        """Read a recipe; settings left out keep their defaults.

        Raises:
            LogvarError: the text is not TOML, has an unknown table or setting, or a wrong type.
        """
        try:
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise LogvarError(f"recipe is not TOML: {error}") from error
        sections = cls()._sections()
        settings: dict[str, Any] = {}
        for key, table in tables.items():
            if key not in sections:
                raise unknown_name("recipe table", key, sections)
            if not isinstance(table, dict):
                raise LogvarError(f"recipe entry {key!r} is {table!r}: expected a table [{key}]")
            for name, value in upgraded(table).items():
                if not hasattr(sections[key], name):
                    raise unknown_name(
                        f"setting in [{key}]", name, dataclasses.asdict(sections[key])
                    )
                settings[name] = value
        return cls().replace(**settings).checked()

    def _sections(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


_RANGES: dict[str, tuple[float, float]] = {
    "latent_dim": (1, math.inf),
    "epochs": (1, math.inf),
    "batch_size": (1, math.inf),
    "clip_norm": (0, 1e30),
    "average_weights": (0, 0.999999),
    "validation_fraction": (0, 0.9),
    "patience": (0, math.inf),
    "random_state": (0, 2**31 - 1),
}


def preset(name: str) -> Recipe:
    """Return the recipe of a preset.

    Raises:
        LogvarError: the name is unknown.
    """
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    return Recipe().replace(**PRESETS[name])


def _of_type(name: str, value: Any, kind: Any) -> Any:
    """Check one setting, converting equivalent values: 1 to 1.0, a list to a tuple."""
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind in (bool, str) and isinstance(value, kind):
        return value
    if kind == int | str and not isinstance(value, bool):
        return value if isinstance(value, int) else _of_type(name, value, str)
    if kind == float | str and not isinstance(value, bool):
        return float(value) if isinstance(value, (int, float)) else _of_type(name, value, str)
    if typing.get_origin(kind) is tuple and isinstance(value, (list, tuple)):
        return tuple(_of_type(name, item, int) for item in value)
    expected = {int: "an integer", float: "a number", bool: "true or false", str: "text"}.get(
        kind, "a list of integers"
    )
    raise LogvarError(f"{name} is {value!r}: expected {expected}")
