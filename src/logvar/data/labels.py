"""Labels as users have them, some unknown, and as models learn them: numbers from 0, −1 unknown.

Unknown are NaN, None, pandas' NA, masked entries, and −1 among numbers, as in scikit-learn's
semi-supervised estimators.
"""

import dataclasses
import math
import numbers
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from logvar.errors import LogvarError

Codes = Int[np.ndarray, "rows"]
UNKNOWN = -1
_SHOWN = 10


@dataclasses.dataclass(frozen=True)
class Labels:
    """The labels that a model tells apart, in their order.

    Example:
        >>> labels, codes = Labels.found(["b", None, "a", "b"])
        >>> labels.classes, codes.tolist()
        (('a', 'b'), [1, -1, 0, 1])
        >>> labels.codes_of(["a", "c"])
        Traceback (most recent call last):
        logvar.errors.LogvarError: label 'c' is none of those the model was fitted on: 'a', 'b'
    """

    classes: tuple[Any, ...]
    dtype: str
    """NumPy's type of these."""
    column: Any = None
    """The name of the table's column that they are from, if they are."""

    @classmethod
    def found(
        cls, y: Any, column: Any = None, kept: Int[np.ndarray, "counting"] | None = None
    ) -> tuple["Labels", Codes]:
        """Return the labels that occur in y, and the number of each entry's.

        Args:
            y: one label for each row, some of them unknown.
            column: the name of the table's column that it is, if it is one.
            kept: the numbers of the rows that count, if others do not; the labels of those are
                unknown, whatever they are.

        Raises:
            LogvarError: no label is known, all known ones are the same, or they are real numbers.
        """
        called = getattr(y, "name", None) if column is None else str(column)  # that of a Series
        name = f"label {called.strip()!r}" if isinstance(called, str) else "y"
        values, unknown = _read(y, name, kept)
        known = values[~unknown]
        if not len(known):
            raise LogvarError(
                f"{name} has no known label in {len(values):,} rows (NaN, None, −1 are unknown): "
                "give some rows theirs, or fit a VAE without labels"
            )
        try:
            check_classification_targets(known)
        except ValueError as error:
            raise LogvarError(f"{name}: {error}") from error
        classes = np.unique(known)
        if len(classes) == 1:
            only = f"{name} has one class, {_plain(classes[0])!r}, in {len(known):,} known labels"
            if values.dtype.kind in "if" and (values == UNKNOWN).any():
                only += " (−1 is an unknown label: of classes −1 and 1, write the first as 0)"
            raise LogvarError(f"{only}: expected at least two")
        labels = cls(tuple(classes.tolist()), classes.dtype.str, column)
        codes = np.full(len(values), UNKNOWN, np.int32)
        codes[~unknown] = np.searchsorted(classes, known)
        return labels, codes

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def array(self) -> np.ndarray:
        """The labels as one array."""
        return np.array(self.classes, np.dtype(self.dtype))

    @staticmethod
    def known_in(y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return y as an array, and which of its entries are known."""
        values, unknown = _read(y, "y")
        return values, ~unknown

    def codes_of(self, y: Any, name: str = "label") -> Codes:
        """Return the number of each label, −1 where it is unknown.

        Raises:
            LogvarError: a label is none of these.
        """
        values, unknown = _read(y, name)
        number = {label: i for i, label in enumerate(self.classes)}
        codes = np.full(len(values), UNKNOWN, np.int32)
        for i in np.flatnonzero(~unknown):
            found = number.get(_plain(values[i]))
            if found is None:
                shown = ", ".join(map(repr, self.classes[:_SHOWN]))
                more = ", …" if len(self) > _SHOWN else ""
                raise LogvarError(
                    f"{name} {_plain(values[i])!r} is none of those the model was fitted on: "
                    f"{shown}{more}"
                )
            codes[i] = found
        return codes

    def one_hot(self, codes: Codes) -> Float[np.ndarray, "rows classes"]:
        """Return a row of 0s and a 1 for each label."""
        return np.eye(len(self), dtype=np.float32)[codes]

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {"classes": list(self.classes), "dtype": self.dtype, "column": self.column}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Labels | None":
        """Return the labels of a manifest; None if its model learned none.

        Raises:
            LogvarError: the entry is not what `as_json` returns.
        """
        if not content:
            return None
        classes, dtype = content.get("classes"), content.get("dtype")
        fine = (
            isinstance(classes, list)
            and len(classes) > 1
            and all(isinstance(label, str | int | float) for label in classes)
            and isinstance(dtype, str)
            and dtype[1:2] in tuple("biufUO")
            and isinstance(content.get("column"), str | int | float | None)
        )
        try:
            labels = cls(tuple(classes), dtype, content["column"]) if fine else None  # type: ignore[arg-type]
            fine = labels is not None and len(labels.array) == len(labels)
        except (TypeError, ValueError, OverflowError):
            fine = False
        if not fine:
            raise LogvarError(
                "the manifest's labels are no labels; the file was changed: fit again"
            )
        return labels


def _read(
    y: Any, name: str, kept: Int[np.ndarray, "counting"] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return y as a vector, and which of its entries are unknown: all but those kept, as well."""
    masked = np.ma.getmaskarray(y) if isinstance(y, np.ma.MaskedArray) else None
    array = _array(y)
    try:
        array = column_or_1d(array, warn=True)
    except ValueError as error:
        raise LogvarError(f"{name}: {error}") from error
    left_out = np.zeros(len(array), bool)
    if kept is not None:
        left_out = ~np.isin(np.arange(len(array)), kept)
    if array.dtype.kind == "O":
        unknown = left_out | np.array([_is_unknown(value) for value in array], bool)
        array = _of_one_type(array, unknown, name)
    else:
        unknown = left_out | _unknown_in(array, left_out, name)
    if masked is not None:
        unknown = unknown | masked.reshape(unknown.shape)
    return array, unknown


def _array(y: Any) -> np.ndarray:
    """Return y as an array, of objects if it is of a type that NumPy lacks or some are unknown.

    Integers with unknown ones among them would otherwise become real numbers, and NumPy would
    write None beside texts as the text "None".
    """
    listed = getattr(y, "to_pylist", getattr(y, "to_list", None))  # of Arrow, pandas and polars
    if listed is not None and not isinstance(getattr(y, "dtype", None), np.dtype):
        y = listed()
    array = y.to_numpy() if hasattr(y, "to_numpy") else y
    if isinstance(array, np.ndarray):
        return array
    objects = np.array(array, dtype=object)
    return np.asarray(array) if all(map(_is_number, objects.flat)) else objects


def _of_one_type(array: np.ndarray, unknown: np.ndarray, name: str) -> np.ndarray:
    """Return objects as numbers if all known ones are; texts stay objects."""
    known = array[~unknown]
    texts = [isinstance(value, str) for value in known]
    if all(texts):
        plain = array.copy()
        plain[~unknown] = [_plain(text) for text in known]  # NumPy's own texts print as np.str_(…)
        return plain
    if any(texts) or not all(_is_number(value) for value in known):
        odd = next(value for value, text in zip(known, texts, strict=True) if not text)
        raise LogvarError(
            f"{name} mixes labels of different types ({odd!r} is a {type(odd).__name__}): give all "
            "labels as texts, or all as numbers"
        )
    numeric = np.zeros(len(array), np.asarray(known.tolist()).dtype)
    numeric[~unknown] = known.tolist()
    return numeric


def _unknown_in(array: np.ndarray, left_out: np.ndarray, name: str) -> np.ndarray:
    if array.dtype.kind == "f":
        if np.isinf(array[~left_out]).any():
            raise LogvarError(
                f"Input {name} contains infinity or a value too large for {array.dtype!r}: give "
                "labels, and NaN where they are unknown"
            )
        return np.isnan(array) | (array == UNKNOWN)
    if array.dtype.kind == "i":
        return array == UNKNOWN
    if array.dtype.kind in "ubU":
        return np.zeros(len(array), bool)
    raise LogvarError(f"{name} has dtype {array.dtype}: expected texts, integers or booleans")


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real | np.bool_)


def _is_unknown(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        return False
    return math.isnan(value) or bool(value == UNKNOWN)


def _plain(label: Any) -> Any:
    return label.item() if isinstance(label, np.generic) else label
