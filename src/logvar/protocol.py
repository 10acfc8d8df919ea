"""scikit-learn's protocol for estimators that transform, without importing scikit-learn.

`sklearn.base` takes 0.9 s and 130 MB to import (it brings scipy.stats, and pandas where that is
installed): more than JAX. So `Estimator` states the protocol itself, and scikit-learn is imported
only where something of it is asked for: its tags, its errors, its checks of column names. What
scikit-learn does with an estimator (clone, pipelines, searches, set_output) it does with this one;
its own `check_estimator` is among the tests.
"""

import inspect
import sys
from typing import Any

import numpy as np

from logvar.errors import LogvarError

CONTAINERS = ("default", "pandas", "polars")
"""What `transform` may be asked to return."""


class Estimator:
    """Parameters by name, fitting and transforming, names of features and containers.

    A subclass stores each argument of its `__init__` under the argument's name, and sets
    `_n_features_out` when it is fitted.
    """

    _n_features_out: int

    @classmethod
    def _get_param_names(cls) -> list[str]:
        return sorted(name for name in inspect.signature(cls.__init__).parameters if name != "self")

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments by name; with `deep` also those of arguments that have some themselves."""
        found = {name: getattr(self, name) for name in self._get_param_names()}
        if deep:
            for name, value in list(found.items()):
                if hasattr(value, "get_params") and not isinstance(value, type):
                    inner = value.get_params().items()
                    found.update((f"{name}__{key}", of_value) for key, of_value in inner)
        return found

    def set_params(self, **params: Any) -> "Estimator":
        """Set arguments by name.

        Raises:
            LogvarError: there is no such argument.
        """
        known = self._get_param_names()
        for name in params:
            if name.partition("__")[0] not in known:
                raise LogvarError(
                    f"Invalid parameter {name!r} for estimator {type(self).__name__}: "
                    f"expected one of {', '.join(known)}"
                )
        for name, value in params.items():
            own, _, inner = name.partition("__")
            if inner:
                getattr(self, own).set_params(**{inner: value})
            else:
                setattr(self, own, value)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        changed = {
            name: value
            for name, value in self.get_params(deep=False).items()
            if repr(value) != repr(defaults[name].default)
        }
        arguments = ", ".join(f"{name}={value!r}" for name, value in changed.items())
        return f"{type(self).__name__}({arguments})"

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Any:
        """Fit on X and transform it."""
        return self.fit(X, y, **fit_params).transform(X)  # type: ignore[attr-defined]

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """The names of what `transform` returns: the class's name in small letters, numbered.

        Raises:
            LogvarError: `input_features` are not those that were fitted on.
        """
        check_fitted(self, "_n_features_out")
        if input_features is not None:
            given, seen = np.asarray(input_features), getattr(self, "feature_names_in_", None)
            if seen is not None and not np.array_equal(given, seen):
                raise LogvarError(
                    "input_features is not equal to feature_names_in_: leave it out, or give those"
                )
            if len(given) != self.n_features_in_:  # type: ignore[attr-defined]
                raise LogvarError(
                    "input_features should have length equal to number of features "
                    f"({self.n_features_in_}), got {len(given)}"  # type: ignore[attr-defined]
                )
        prefix = type(self).__name__.lower()
        return np.asarray([f"{prefix}{i}" for i in range(self._n_features_out)], object)

    def set_output(self, *, transform: str | None = None) -> "Estimator":
        """Have `transform` return arrays ("default"), or frames of "pandas" or "polars".

        Raises:
            LogvarError: another container was asked for.
        """
        if transform is not None:
            if transform not in CONTAINERS:
                raise LogvarError(
                    f"set_output got transform={transform!r}: expected {', '.join(CONTAINERS)}"
                )
            self._sklearn_output_config = {"transform": transform}  # under the name `clone` copies
        return self

    def in_container(self, values: np.ndarray, X: Any) -> Any:
        """What `transform` found, in the container asked for here or of scikit-learn at large."""
        kind = getattr(self, "_sklearn_output_config", {}).get("transform")
        if kind is None and "sklearn" in sys.modules:
            kind = sys.modules["sklearn"].get_config()["transform_output"]
        if kind == "pandas":
            import pandas as pd

            index = X.index if isinstance(X, pd.DataFrame) else None
            return pd.DataFrame(values, index=index, columns=self.get_feature_names_out())
        if kind == "polars":
            import polars as pl

            return pl.DataFrame(values, schema=list(self.get_feature_names_out()), orient="row")
        return values

    def check_columns(self, X: Any, *, reset: bool) -> None:
        """Remember the names of X's columns, or hold X to those remembered.

        Raises:
            ValueError: X has other columns.
        """
        if hasattr(X, "columns") or hasattr(self, "feature_names_in_"):
            from sklearn.utils.validation import validate_data

            validate_data(self, X, reset=reset, skip_check_array=True)

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(preserves_dtype=["float32"]),
            input_tags=InputTags(three_d_array=True),
        )

    def _repr_html_(self) -> str:
        from sklearn.utils import estimator_html_repr

        return estimator_html_repr(self)


def check_fitted(estimator: Estimator, attribute: str) -> None:
    """Raise scikit-learn's NotFittedError unless the estimator has an attribute of fitting."""
    if not hasattr(estimator, attribute):
        from sklearn.exceptions import NotFittedError

        name = type(estimator).__name__
        raise NotFittedError(
            f"This {name} instance is not fitted yet. Call 'fit' with appropriate arguments before "
            "using this estimator."
        )
