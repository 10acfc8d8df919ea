"""Which of a table's columns is what, and where its outputs and inputs lie: static, no arrays."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

LEVELS, ORDERED, CONSTANT, NUMBER = "levels", "ordered levels", "constant", "number"
Form = tuple[str, int, bool]
"""(kind, size, rounded): levels and their number, a constant, or a number and its atoms."""
NEVER = -1e30
"""The logit of a level that a column does not have: finite, so that no slope is NaN."""


@dataclasses.dataclass(frozen=True)
class Group:
    """Columns that are computed together: their logits are padded to one width.

    Args:
        columns: their indices in the table.
        widths: the number of codes of each, ascending; 0 for numbers without atoms.
        ordered: whether they are levels with an order, which need one output each, a location.
    """

    columns: tuple[int, ...]
    widths: tuple[int, ...]
    ordered: bool = False

    @property
    def width(self) -> int:
        return max(self.widths)

    @property
    def size(self) -> int:
        """The number of codes of all."""
        return sum(self.widths)

    @property
    def outputs(self) -> int:
        """The number of the decoder's outputs for all, without the locations of numbers."""
        return len(self.columns) if self.ordered else self.size

    @functools.cached_property
    def runs(self) -> tuple[tuple[int, int], ...]:
        """(number of columns, their width) for each width, in order."""
        return tuple((len(list(same)), width) for width, same in itertools.groupby(self.widths))

    @functools.cached_property
    def there(self) -> Bool[np.ndarray, "columns width"]:
        """The logits that each column has."""
        return np.arange(self.width) < np.asarray(self.widths)[:, None]

    def padded(self, logits: Float[Array, "size"], value: float) -> Float[Array, "columns width"]:
        """Return logits by column, with this value for those that a column does not have."""
        ends = np.cumsum([count * width for count, width in self.runs])[:-1]
        parts = [
            jnp.pad(
                part.reshape(count, width),
                ((0, 0), (0, self.width - width)),
                constant_values=value,
            )
            for part, (count, width) in zip(
                jnp.split(logits, [int(end) for end in ends]), self.runs, strict=True
            )
        ]
        return jnp.concatenate(parts)


@dataclasses.dataclass(frozen=True)
class Layout:
    """The columns of a table, grouped by kind and number of logits.

    The order inside is: constants, levels by their number, ordered levels by their number,
    continuous numbers by their atoms, rounded numbers by their atoms. Outputs are one location for
    each number, then the logits of groups in that order, or the locations of ordered levels; a
    number with atoms has a logit for "none of them", then one for each.
    """

    forms: tuple[Form, ...]

    def _groups(self, kind: str, rounded: bool) -> tuple[Group, ...]:
        """Widths within a factor of four share a group: few groups, and little is padded."""
        found: dict[int, list[tuple[int, int]]] = {}
        for j, (its_kind, size, its_rounded) in enumerate(self.forms):
            if (its_kind, its_rounded) == (kind, rounded):
                width = size + 1 if kind == NUMBER and size else size
                found.setdefault(math.ceil(math.log(width, 4)) if width else -1, []).append(
                    (width, j)
                )
        return tuple(
            Group(tuple(j for _, j in group), tuple(width for width, _ in group), kind == ORDERED)
            for _, group in sorted((key, sorted(group)) for key, group in found.items())
        )

    @functools.cached_property
    def constants(self) -> tuple[int, ...]:
        return tuple(j for j, (kind, _, _) in enumerate(self.forms) if kind == CONSTANT)

    @functools.cached_property
    def levels(self) -> tuple[Group, ...]:
        return self._groups(LEVELS, False) + self._groups(ORDERED, False)

    @functools.cached_property
    def numbers(self) -> tuple[Group, ...]:
        """Continuous numbers, then rounded ones; `width` is 0 for those without atoms."""
        return self._groups(NUMBER, False) + self._groups(NUMBER, True)

    @functools.cached_property
    def of_numbers(self) -> tuple[int, ...]:
        """The number columns in the order inside."""
        return tuple(j for group in self.numbers for j in group.columns)

    @functools.cached_property
    def continuous(self) -> int:
        """The number of continuous columns, which come first."""
        return sum(not self.forms[j][2] for j in self.of_numbers)

    @functools.cached_property
    def order(self) -> Int[np.ndarray, "columns"]:
        """The table's columns in the order inside."""
        of_levels = [j for group in self.levels for j in group.columns]
        return np.array([*self.constants, *of_levels, *self.of_numbers], np.int32)

    @functools.cached_property
    def back(self) -> Int[np.ndarray, "columns"]:
        """The position inside of each column of the table."""
        return np.argsort(self.order).astype(np.int32)

    @functools.cached_property
    def coded(self) -> tuple[Group, ...]:
        """The groups whose cells have codes, of levels or atoms, with a probability each."""
        return tuple(group for group in self.levels + self.numbers if group.width)

    @functools.cached_property
    def outputs(self) -> int:
        """The length of the decoder's outputs; 1 if no column needs any."""
        return max(1, len(self.of_numbers) + sum(group.outputs for group in self.coded))

    @functools.cached_property
    def inputs(self) -> int:
        """The length of the encoder's input; 1 if no column has any."""
        return max(1, len(self.of_numbers) + sum(group.size for group in self.coded))

    def split_points(self) -> Sequence[int]:
        """Return where the outputs are split into locations and those of each group with codes."""
        sizes = [len(self.of_numbers), *(group.outputs for group in self.coded)]
        return [int(end) for end in np.cumsum(sizes)]
