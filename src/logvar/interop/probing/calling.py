"""Call a user's function with arrays of its own framework and get NumPy back."""

import inspect
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from logvar.errors import LogvarError

_NOT_MEANT_FOR = (TypeError, AttributeError, ValueError, RuntimeError, NotImplementedError)


class Called:
    """A user's function, called with the arrays that it accepts: NumPy, JAX or PyTorch."""

    def __init__(self, function: Any, name: str):
        if not callable(function):
            raise LogvarError(f"probe {name} is {function!r}: expected a function")
        self.function = function
        self.name = name
        self._convert: Callable[[np.ndarray], Any] | None = None
        self.precision = np.float64

    def __call__(self, *arrays: np.ndarray, extra: tuple = ()) -> np.ndarray:
        """Return the function's value as float64; remember which arrays it accepts.

        Raises:
            LogvarError: it fails with the arrays of every available framework.
        """
        if self._convert is not None:
            return self._plain(self.function(*map(self._convert, arrays), *extra))
        failures = []
        for framework, convert in _frameworks().items():
            try:
                value = self._plain(self.function(*map(convert, arrays), *extra))
            except _NOT_MEANT_FOR as error:
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                failures.append(f"{framework}: {reason}")
                continue
            self._convert = convert
            return value
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise LogvarError(
            f"probe {self.name} failed on arrays of shapes {shapes} ({'; '.join(failures)}): "
            f"expected {_SIGNATURES[self.name]}"
        )

    def _plain(self, value: Any) -> np.ndarray:
        if hasattr(value, "detach"):
            value = value.detach().cpu()
            value = value.float() if "bfloat16" in str(value.dtype) else value
        array = np.asarray(value)
        if array.dtype.kind not in "fiuV":
            raise TypeError(f"returned {type(value).__name__}, not numbers")
        if array.dtype.itemsize < np.dtype(self.precision).itemsize and array.dtype.kind == "f":
            self.precision = array.dtype.type
        return array.astype(np.float64)

    @property
    def tolerance(self) -> float:
        """The largest difference of two readings of log σ by rounding alone."""
        return {8: 2e-6, 4: 5e-5}.get(np.dtype(self.precision).itemsize, 3e-2)

    def third_argument(self) -> str | None:
        """The argument after (mean, raw): "eps", "key", "rng" or none."""
        try:
            parameters = list(inspect.signature(self.function).parameters.values())
        except (TypeError, ValueError):
            return None
        positional = [
            p
            for p in parameters
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
        ]
        if len(positional) < 3:
            return None
        name = positional[2].name.lower()
        return next((kind for kind in ("key", "rng") if kind in name), "eps")


_SIGNATURES = {
    "sample": "sample(mean, raw, eps), sample(mean, raw, key), sample(mean, raw, rng) or "
    "sample(mean, raw)",
    "log_prob": "log_prob(z, mean, raw), elementwise or summed over the last axis",
    "kl": "kl(mean, raw), elementwise or summed over the last axis",
    "loss": "loss(x, outputs, mean, raw), a number or one for each row; shape and latent_dim say "
    "what sizes it is called with",
}


def _frameworks() -> dict[str, Callable[[np.ndarray], Any]]:
    """Return functions that make arrays, by framework; PyTorch only if the user imported it."""
    makers: dict[str, Callable[[np.ndarray], Any]] = {
        "NumPy": lambda array: array,
        "JAX": jnp.asarray,
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        makers["PyTorch"] = lambda array: torch.tensor(np.asarray(array))
    return makers


def jax_keys(seed: int) -> Any:
    """Yield JAX keys for a sampler that takes one, endlessly."""
    key = jax.random.key(seed)
    while True:
        key, one = jax.random.split(key)
        yield one
