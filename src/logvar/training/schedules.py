"""Learning-rate schedules: the learning rate of each step, from text or an object.

The learning rate of step t is rate · warm-up(t) · shape(t). t is the number of steps already taken,
so it counts from 0, and the last step of a run of T steps is T − 1. With a warm-up of w steps,
warm-up(t) = min(1, (t + 1)/(w + 1)): the first step has a rate above 0, and step w the full rate.
Lengths are in epochs or, with `unit=steps`, in steps.

To add a schedule, write a dataclass here with its shape, and add a line to `SCHEDULES`.
"""

import abc
import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from logvar.backend.compiling import from_host
from logvar.errors import LogvarError
from logvar.recipe import CUSTOM
from logvar.registry import Entry, Registry, setting

Numbers = Mapping[str, float | tuple[float, ...]]


class Length(NamedTuple):
    """The length of a run."""

    epochs: int
    steps_per_epoch: int


class Rates(eqx.Module):
    """A schedule inside a compiled program: all numbers are inputs of the program, so changing the
    rate, the warm-up or the number of epochs compiles nothing."""

    rate: Float[Array, "*members"]
    numbers: dict[str, Float[Array, "..."]]
    factor: Callable[..., Array] | None = eqx.field(static=True)
    """The factor of the rate, as a function of the step and the numbers; None means 1."""

    def __call__(self, step: Int[Array, ""]) -> Float[Array, ""]:
        """Return the learning rate of the step with this number, counted from 0."""
        if self.factor is None:
            return self.rate
        return self.rate * self.factor(step, **self.numbers)


class Schedule(abc.ABC):
    """A learning rate for each step."""

    rate: float
    """The largest rate, which the schedule reaches after its warm-up."""
    needs_epochs: ClassVar[bool] = False
    """Whether the rates of steps already taken would differ if the run had more epochs."""

    @abc.abstractmethod
    def rates(self, rate: float, length: Length) -> Rates:
        """Return the schedule for a run of this length, with this rate instead of its own.

        Raises:
            LogvarError: the schedule does not fit a run of this length.
        """


def _warmup() -> Any:
    return setting(0.0, help="length of the linear warm-up; 0 is none", at_least=0, below=math.inf)


def _unit() -> Any:
    return setting("epochs", help="unit of all lengths", choices=("epochs", "steps"))


def _rate() -> Any:
    return setting(help="the learning rate after the warm-up", above=0, below=math.inf)


def _in_steps(unit: str, length: Length) -> int:
    """Return how many steps one unit is."""
    return length.steps_per_epoch if unit == "epochs" else 1


def _rates(rate: float, numbers: Numbers, factor: Callable[..., Array] | None) -> Rates:
    arrays = {name: from_host(np.asarray(value, np.float32)) for name, value in numbers.items()}
    return Rates(from_host(np.float32(rate)), arrays, factor)


def _warm(step: Array, warmup: Array) -> tuple[Array, Array]:
    """Return the step as a float, and the factor of the warm-up."""
    t = jnp.asarray(step, jnp.float32)
    return t, jnp.minimum(1.0, (t + 1) / (warmup + 1))


@dataclasses.dataclass(frozen=True)
class Constant(Schedule):
    """rate · min(1, (t + 1)/(w + 1)); a number is this schedule without a warm-up."""

    rate: float = _rate()
    warmup: float = _warmup()
    unit: str = _unit()

    def rates(self, rate: float, length: Length) -> Rates:
        if not self.warmup:
            return _rates(rate, {}, None)
        return _rates(rate, {"warmup": self.warmup * _in_steps(self.unit, length)}, self._factor)

    @staticmethod
    def _factor(step: Array, warmup: Array) -> Array:
        return _warm(step, warmup)[1]


@dataclasses.dataclass(frozen=True)
class Cosine(Schedule):
    """Half a period of the cosine, from rate to final·rate at the end of `epochs`.

    After w steps of warm-up, rate · (final + (1 − final)·(1 + cos(π·(t − w)/(T − w)))/2) with
    T = epochs · steps per epoch (Loshchilov & Hutter 2017, arXiv 1608.03983, without restarts).
    final·rate would be the rate of step T; the last step, T − 1, is still a little above it.
    """

    rate: float = _rate()
    warmup: float = _warmup()
    final: float = setting(0.0, help="share of the rate left at the end", at_least=0, at_most=1)
    unit: str = _unit()
    needs_epochs: ClassVar[bool] = True

    def rates(self, rate: float, length: Length) -> Rates:
        warmup, total = (
            self.warmup * _in_steps(self.unit, length),
            length.epochs * length.steps_per_epoch,
        )
        if warmup >= total:
            raise LogvarError(
                f"learning_rate {SCHEDULES.describe(self)!r}: the warm-up of {warmup:g} steps "
                f"leaves nothing of the run's {total} for the cosine: shorten it, or raise epochs"
            )
        numbers = {"warmup": warmup, "total": total, "final": self.final}
        return _rates(rate, numbers, self._factor)

    @staticmethod
    def _factor(step: Array, warmup: Array, total: Array, final: Array) -> Array:
        t, warm = _warm(step, warmup)
        progress = jnp.clip((t - warmup) / (total - warmup), 0.0, 1.0)
        return warm * (final + (1 - final) * 0.5 * (1 + jnp.cos(jnp.pi * progress)))


@dataclasses.dataclass(frozen=True)
class Exponential(Schedule):
    """After w steps of warm-up, rate · decay^((t − w)/e), where e is `every` in steps.

    The rate falls smoothly, by the factor `decay` over each length `every`; it does not depend on
    the number of epochs. The last step has rate · decay^((T − 1 − w)/e).
    """

    rate: float = _rate()
    decay: float = setting(help="factor over each length `every`", above=0, at_most=1)
    every: float = setting(1.0, help="length over which the rate decays", above=0, below=math.inf)
    warmup: float = _warmup()
    unit: str = _unit()

    def rates(self, rate: float, length: Length) -> Rates:
        steps = _in_steps(self.unit, length)
        numbers = {"warmup": self.warmup * steps, "decay": self.decay, "every": self.every * steps}
        return _rates(rate, numbers, self._factor)

    @staticmethod
    def _factor(step: Array, warmup: Array, decay: Array, every: Array) -> Array:
        t, warm = _warm(step, warmup)
        return warm * decay ** (jnp.maximum(t - warmup, 0.0) / every)


@dataclasses.dataclass(frozen=True)
class Piecewise(Schedule):
    """rate · warm-up(t) · factorᵏ, where k is how many of the lengths `at` have passed: those with
    b ≤ t in steps, counted from the start of training. A different number of lengths needs another
    compiled program."""

    rate: float = _rate()
    at: tuple[float, ...] = setting(help="when the rate changes", above=0, below=math.inf)
    factor: float = setting(0.1, help="factor of each change", above=0, below=math.inf)
    warmup: float = _warmup()
    unit: str = _unit()

    def rates(self, rate: float, length: Length) -> Rates:
        steps = _in_steps(self.unit, length)
        numbers: Numbers = {
            "warmup": self.warmup * steps,
            "at": tuple(at * steps for at in self.at),
            "factor": self.factor,
        }
        return _rates(rate, numbers, self._factor)

    @staticmethod
    def _factor(step: Array, warmup: Array, at: Array, factor: Array) -> Array:
        t, warm = _warm(step, warmup)
        return warm * factor ** jnp.sum(at <= t).astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class Own(Schedule):
    """A user's function from the step (int32, counted from 0) to the rate; Optax's schedules are
    such functions. `rate` multiplies its result."""

    function: Callable[[Array], Any]
    rate: float = 1.0

    def rates(self, rate: float, length: Length) -> Rates:
        step = jax.ShapeDtypeStruct((), jnp.int32)
        try:
            got: Any = jax.eval_shape(self._factor, step)
        except (TypeError, ValueError, AttributeError) as error:
            reason = str(error).splitlines()[0]
            raise LogvarError(
                f"learning_rate is an object that cannot be used in a compiled step ({reason}): "
                "expected a function from the step to the rate, such as one of Optax's schedules"
            ) from error
        if got.shape != ():
            raise LogvarError(
                f"learning_rate is an object that returns shape {got.shape}: expected one number"
            )
        return _rates(rate, {}, self._factor)

    def _factor(self, step: Array) -> Array:
        return jnp.asarray(self.function(step), jnp.float32)


class _Schedules(Registry[Schedule]):
    def get(self, part: Any, /, *arguments: Any, **settings: Any) -> Schedule:
        if isinstance(part, str) and part == CUSTOM:
            raise LogvarError(
                "learning_rate 'custom' stands for an object, which a recipe cannot hold: give it "
                "again, VAE(learning_rate=…) or logvar.load(path, learning_rate=…)"
            )
        if isinstance(part, int | float) and not isinstance(part, bool):
            return super().get("constant", rate=part)
        if callable(part) and not isinstance(part, Schedule):
            return Own(part)
        return super().get(part, *arguments, **settings)

    def describe(self, part: Any) -> str:
        if part == CUSTOM or isinstance(built := self.get(part), Own):
            return CUSTOM
        return super().describe(built)


SCHEDULES = _Schedules(
    "learning rate schedule",
    Schedule,  # type: ignore[type-abstract]
    {
        "constant": Entry(Constant, "rate · warm-up(t)"),
        "cosine": Entry(
            Cosine,
            "rate · warm-up(t) · (final + (1 − final)·(1 + cos π(t − w)/(T − w))/2)",
            "Loshchilov & Hutter 2017 (arXiv 1608.03983)",
        ),
        "exponential": Entry(Exponential, "rate · warm-up(t) · decay^((t − w)/every)"),
        "piecewise": Entry(
            Piecewise,
            "rate · warm-up(t) · factorᵏ, k = number of `at` ≤ t",
            "He et al. 2015 (arXiv 1512.03385)",
        ),
    },
)


def names() -> list[str]:
    """The names of all schedules.

    Example:
        >>> import logvar
        >>> logvar.schedules.names()
        ['constant', 'cosine', 'exponential', 'piecewise']
    """
    return SCHEDULES.names()


def get(schedule: Any, /, *arguments: Any, **settings: Any) -> Schedule:
    """The schedule of a number, a text or a function from step to rate.

    Raises:
        LogvarError: the name is unknown (the nearest one is named) or a setting does not fit.

    Example:
        >>> import logvar
        >>> logvar.schedules.get("cosine(1e-3, warmup=5)").warmup
        5.0
    """
    return SCHEDULES.get(schedule, *arguments, **settings)


def describe(schedule: Any) -> str:
    """The text from which `get` rebuilds this schedule; "custom" for an object that has none.

    Example:
        >>> import logvar
        >>> logvar.schedules.describe("exponential(0.01, 0.9)")
        'exponential(rate=0.01, decay=0.9)'
    """
    return SCHEDULES.describe(schedule)


def written(schedule: Any) -> float | str:
    """Return what a recipe stores: a number for a constant rate without warm-up, otherwise text."""
    text = describe(schedule)
    if text == CUSTOM:
        return CUSTOM
    built = get(text)
    return built.rate if isinstance(built, Constant) and not built.warmup else text
