"""The one list of optimizers: recipes, the command line, documentation and tests read it."""

from typing import Any

from logvar.errors import LogvarError
from logvar.recipe import CUSTOM
from logvar.registry import Entry, Registry
from logvar.training.optimizers.adam import Adam, AdamKeras, AdamW
from logvar.training.optimizers.base import Optimizer
from logvar.training.optimizers.given import Given, Transformation
from logvar.training.optimizers.sgd import SGD


class _Optimizers(Registry[Optimizer]):
    def get(self, part: Any, /, *arguments: Any, **settings: Any) -> Optimizer:
        if isinstance(part, str) and part == CUSTOM:
            raise LogvarError(
                "optimizer 'custom' stands for an object, which a recipe cannot hold: give it "
                "again, VAE(optimizer=…) or logvar.load(path, optimizer=…)"
            )
        if isinstance(part, str | Optimizer):
            return super().get(part, *arguments, **settings)
        if isinstance(part, type) or not isinstance(part, Transformation):
            raise LogvarError(
                f"optimizer is {part!r}: expected a text such as 'adam(weight_decay=1e-4)', or a "
                "gradient transformation such as optax.lion(1e-4)"
            )
        return Given(part)

    def describe(self, part: Any) -> str:
        if part == CUSTOM or isinstance(built := self.get(part), Given):
            return CUSTOM
        return super().describe(built)


OPTIMIZERS = _Optimizers(
    "optimizer",
    Optimizer,  # type: ignore[type-abstract]
    {
        "adam": Entry(Adam, "m̂/(√v̂ + ε)", "Kingma & Ba 2015 (arXiv 1412.6980), Algorithm 1"),
        "adamw": Entry(
            AdamW, "m̂/(√v̂ + ε) + weight_decay·w", "Loshchilov & Hutter 2019 (arXiv 1711.05101)"
        ),
        "adam-keras": Entry(
            AdamKeras, "√(1 − b2ᵗ)/(1 − b1ᵗ) · m/(√v + ε)", "Keras; the tutorial's preset"
        ),
        "sgd": Entry(SGD, "v ← momentum·v + g", "Polyak 1964"),
    },
)


def names() -> list[str]:
    """The names of all optimizers.

    Example:
        >>> import logvar
        >>> logvar.optimizers.names()
        ['adam', 'adamw', 'adam-keras', 'sgd']
    """
    return OPTIMIZERS.names()


def get(optimizer: Any, /, *arguments: Any, **settings: Any) -> Optimizer:
    """The optimizer of a text or of an Optax gradient transformation.

    Raises:
        LogvarError: the name is unknown (the nearest one is named) or a setting does not fit.

    Example:
        >>> import logvar
        >>> logvar.optimizers.get("adam(weight_decay=1e-4)").weight_decay
        0.0001
    """
    return OPTIMIZERS.get(optimizer, *arguments, **settings)


def describe(optimizer: Any) -> str:
    """The text from which `get` rebuilds this optimizer; "custom" for an object that has none.

    Example:
        >>> import logvar
        >>> logvar.optimizers.describe("sgd(0.9)")
        'sgd(momentum=0.9)'
    """
    return OPTIMIZERS.describe(optimizer)
