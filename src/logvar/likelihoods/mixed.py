"""The likelihood of a table: each column has the one of its kind.

Categories have a softmax over their levels; ordered levels have a location and cut points that all
rows share. A number is an atom, a value of its own such as 0, or has Normal noise in normal scores:
log p(x | z) = log N(T(x); location, σ²) + log T′(x), where T takes the training column to a
standard Normal. Rounded numbers have the probability of their rounding interval instead of a
density at a point. A constant is the constant.
"""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from logvar import scales
from logvar.distributions.interval import log_normal_interval
from logvar.distributions.normal import HALF_LOG_TWO_PI
from logvar.errors import LogvarError
from logvar.likelihoods.base import Likelihood, LikelihoodSpec, Outputs, Shape
from logvar.likelihoods.columns import LEVELS, NEVER, NUMBER, ORDERED, Form, Layout
from logvar.likelihoods.cut_points import CutPoints
from logvar.likelihoods.noise import ObservationNoise
from logvar.likelihoods.warps import Warps
from logvar.registry import setting
from logvar.scales import Scale
from logvar.scales.registry import SCALES
from logvar.trainable import frozen

FIELDS = 6
"""Numbers for each cell: the code (of numbers 0 for no atom, otherwise the atom, from 1), the
normal score, end and width of the rounding interval, the log-density's constant, the value in model
units."""
_CODE, _SCORE, _END, _WIDTH, _CONSTANT, _VALUE = range(FIELDS)
_NEAR = 0.5
"""A number is reconstructed if it is off by at most this, in units of its column's spread."""
_SEEN_TO = 5.0
"""The encoder sees normal scores up to this; a farther one is an odd value in any case."""

Row = Float[Array, "columns six"]
ByColumn = Float[Array, "columns"]
Observed = Bool[Array, "columns"]


@runtime_checkable
class UnitsOfTable(Protocol):
    """The interface that the likelihood needs of `logvar.data.table.units.TableUnits`."""

    forms: tuple[Form, ...]
    counts: tuple[np.ndarray, ...]

    def warps(self) -> Mapping[str, np.ndarray]: ...

    def atoms(self) -> Sequence[np.ndarray]: ...


class Mixed(LikelihoodSpec):
    """The columns of a table, each by its kind; σ of each number is learned, in normal scores."""

    sigma: float = setting(1.0, help="the start of σ, in normal scores", above=0, below=math.inf)
    scale: Scale = setting(
        scales.get("log-std"),
        help="the scale in which σ and the gaps between cut points are learned",
        part=SCALES,
    )
    floor: float = setting(1e-2, help="σ's smallest value; 0 is none", at_least=0)
    normalized = (
        "probability of categories and rounded numbers, density of continuous ones in their units"
    )

    def build(self, shape: Shape, log_factor: ArrayLike = 0.0) -> "MixedColumns":
        raise LogvarError(
            "likelihood 'mixed' is for tables with a schema: fit a data frame, a dict of columns "
            "or a file, or use another likelihood for an array"
        )

    def build_for(self, units: UnitsOfTable) -> "MixedColumns":
        """Return the likelihood of a table whose cells have these units, with initial weights.

        At outputs of 0 and σ = 1 each column has its distribution in the training rows, so
        training starts there.
        """
        layout = Layout(tuple(units.forms))
        numbers = [j for j, (kind, _, _) in enumerate(layout.forms) if kind == NUMBER]
        place = [numbers.index(j) for j in layout.of_numbers]
        of_number = dict(zip(numbers, units.atoms(), strict=True))
        constant = np.array([units.counts[j][0] for j in layout.constants])
        offset = np.zeros(layout.outputs)
        cuts: list[CutPoints] = []
        for group, start in zip(layout.coded, layout.split_points(), strict=False):
            counts = [units.counts[j] for j in group.columns]
            if group in layout.numbers:  # "no atom" comes first
                counts = [np.roll(each, 1) for each in counts]
            logits = [_log_shares(each) for each in counts]
            if group.ordered:
                cuts.append(CutPoints.of_shares(logits, self.scale))
            else:
                offset[start : start + group.size] = np.concatenate(logits)
        warps = noise = None
        if numbers:
            found = {name: array[place] for name, array in units.warps().items()}
            warps = Warps(**{name: _float32(array) for name, array in found.items()})
            noise = ObservationNoise.starting_at(
                self.sigma, (len(numbers),), "per-feature", self.scale, self.floor
            )
        succession = np.stack([constant + 1, np.ones_like(constant)], 1) / (constant + 2)[:, None]
        atoms = tuple(
            _float32(_padded([of_number[j] for j in group.columns]))
            for group in layout.numbers
            if group.width
        )
        log_probs = _float32(np.log(succession))
        return MixedColumns(noise, tuple(cuts), layout, _float32(offset), log_probs, atoms, warps)


def _float32(array: np.ndarray) -> Array:
    return jnp.asarray(array, jnp.float32)


def _padded(atoms: Sequence[np.ndarray]) -> np.ndarray:
    """Return the atoms of each column in a row, with zeros behind them."""
    longest = max(len(each) for each in atoms)
    return np.stack([np.pad(each, (0, longest - len(each))) for each in atoms])


def _log_shares(counts: np.ndarray) -> np.ndarray:
    """Log of the shares of levels, each with half a row more, so that none is impossible."""
    return np.log((counts + 0.5) / (counts.sum() + 0.5 * len(counts)))


class MixedColumns(Likelihood):
    """p(x | outputs) of one row of a table, by column, in nats and in the data's own units.

    A row is (columns, 6): what `TableUnits.to_model` returns of its cells. The outputs are one
    vector: a location for each number and each column of ordered levels, and logits for each other
    level and each atom, to which the log shares of the training rows are added.

    Args:
        noise: σ of each number in normal scores; None if there are no numbers.
        cuts: the cut points of each group of ordered levels.
        layout: the columns.
        offset: log shares of levels and atoms, added to the outputs.
        constant_log_probs: log((n + 1)/(n + 2)) that a constant is as in all n training rows, and
            log(1/(n + 2)) that it is not: the rule of succession.
        atoms: the atoms of each group of number columns that has some, in model units.
        warps: T⁻¹ of each number; None if there are none.
    """

    noise: ObservationNoise | None
    cuts: tuple[CutPoints, ...]
    layout: Layout = eqx.field(static=True)
    offset: Float[Array, "outputs"] = frozen()
    constant_log_probs: Float[Array, "constants 2"] = frozen()
    atoms: tuple[Float[Array, "_ _"], ...] = frozen()  # each group has its own shape
    warps: Warps | None = frozen()
    normalized: ClassVar[str] = Mixed.normalized

    def example_shape(self, shape: Shape) -> Shape:
        return (*shape, FIELDS)

    def cells(self, observed: Bool[Array, "columns six"]) -> Observed:
        return observed[..., 0]

    def all_cells(self, read: Float[Array, "inputs"]) -> Bool[Array, "columns"]:
        return jnp.ones(len(self.layout.forms), bool)

    def encoder_shape(self, shape: Shape) -> Shape:
        return (self.layout.inputs,)

    def output_shape(self, shape: Shape) -> Shape:
        return (self.layout.outputs,)

    def _parts(self, outputs: Outputs) -> tuple[Outputs, list[Float[Array, "_ _"]]]:
        """Return the locations of numbers, and by group the logits of those with codes."""
        shifted = outputs + self.offset
        locations, *rest = jnp.split(shifted, self.layout.split_points())[:-1]
        cuts = iter(self.cuts)
        return locations, [
            next(cuts).log_probs(of) if group.ordered else group.padded(of, NEVER)
            for of, group in zip(rest, self.layout.coded, strict=True)
        ]

    def _sigma(self) -> Float[Array, "numbers"]:
        assert self.noise is not None
        return self.noise.scale.sigma(self.noise.raw)

    def _log_densities(self, x: Row, locations: Outputs) -> Float[Array, "numbers"]:
        """log p of numbers that are no atoms; `x` has the number columns in the order inside."""
        assert self.noise is not None
        c = self.layout.continuous
        sigma, log_sigma = self._sigma(), self.noise.scale.log_sigma(self.noise.raw)
        u = (x[:c, _SCORE] - locations[:c]) / sigma[:c]
        continuous = -0.5 * jnp.square(u) - log_sigma[:c] - HALF_LOG_TWO_PI
        end = (x[c:, _END] - locations[c:]) / sigma[c:]
        rounded = log_normal_interval(end, x[c:, _WIDTH] / sigma[c:])
        return jnp.concatenate([continuous, rounded]) + x[:, _CONSTANT]

    def _log_prob_inside(self, x: Row, outputs: Outputs) -> ByColumn:
        """log p by column, with the columns of x and of the result in the order inside."""
        layout = self.layout
        locations, logits = self._parts(outputs)
        found: list[Array] = []
        start = len(layout.constants)
        if start:
            differs = x[:start, _CODE] != 0
            found.append(
                jnp.where(differs, self.constant_log_probs[:, 1], self.constant_log_probs[:, 0])
            )
        logits_left = iter(logits)
        for group in layout.levels:
            stop = start + len(group.columns)
            log_probs = jax.nn.log_softmax(next(logits_left), axis=-1)
            found.append(_picked(log_probs, x[start:stop, _CODE]))
            start = stop
        if layout.of_numbers:
            densities = self._log_densities(x[start:], locations)
            first = 0
            for group in layout.numbers:
                last = first + len(group.columns)
                of_rest = densities[first:last]
                if group.width:
                    inside = x[start + first : start + last]
                    rounded = layout.forms[group.columns[0]][2]
                    log_probs = jax.nn.log_softmax(next(logits_left), axis=-1)
                    of_rest = _with_atoms(log_probs, inside, of_rest, rounded)
                found.append(of_rest)
                first = last
        return jnp.concatenate(found)

    def log_prob(self, x: Row, outputs: Outputs) -> ByColumn:
        return self._log_prob_inside(x[self.layout.order], outputs)[self.layout.back]

    def total(
        self, x: Row, outputs: Outputs, observed: Bool[Array, "columns six"] | None = None
    ) -> Float[Array, ""]:
        """Return log p of the observed cells: the sum of `log_prob` over them."""
        log_probs = self._log_prob_inside(x[self.layout.order], outputs)
        if observed is not None:
            log_probs = jnp.where(self.cells(observed)[self.layout.order], log_probs, 0.0)
        return jnp.sum(log_probs)

    def encoder_input(
        self, x: Row, observed: Bool[Array, "columns six"] | None = None
    ) -> Float[Array, "inputs"]:
        """Return normal scores, then one-hot levels and atoms; zeros where a cell is missing."""
        layout = self.layout
        inside = x[layout.order]
        there = jnp.ones(len(layout.order), bool)
        if observed is not None:
            there = self.cells(observed)[layout.order]
        start = len(layout.constants)
        parts: list[Array] = []
        one_hot = []
        scores = []
        for group in layout.levels + layout.numbers:
            stop = start + len(group.columns)
            code, known = inside[start:stop, _CODE], there[start:stop]
            if group.width:
                is_level = code[:, None] == jnp.arange(group.width, dtype=code.dtype)
                seen = (is_level & known[:, None]).astype(jnp.float32)
                one_hot.append(seen[group.there])
            if group in layout.numbers:
                is_rest = code == 0
                score = jnp.clip(inside[start:stop, _SCORE], -_SEEN_TO, _SEEN_TO)
                scores.append(jnp.where(known & is_rest, score, 0.0))
            start = stop
        parts = scores + one_hot
        return jnp.concatenate(parts) if parts else jnp.zeros(layout.inputs, x.dtype)

    def value(self, x: Row) -> ByColumn:
        """Return the cells in model units, as `mean` and `sample` return them."""
        return x[:, _VALUE]

    def sample(self, outputs: Outputs, key: PRNGKeyArray) -> ByColumn:
        """Draw one row of cells in model units; `TableUnits.to_user` rounds them."""
        layout = self.layout
        locations, logits = self._parts(outputs)
        for_noise, *for_codes = jax.random.split(key, 1 + len(logits))
        codes = [
            jax.random.categorical(each, of, axis=-1)
            for each, of in zip(for_codes, logits, strict=True)
        ]
        found = [jnp.zeros(len(layout.constants), outputs.dtype)]
        found += [code.astype(outputs.dtype) for code in codes[: len(layout.levels)]]
        if self.warps is not None:
            noise = jax.random.normal(for_noise, locations.shape, outputs.dtype)
            values = self.warps.inverse(locations + self._sigma() * noise)
            codes_left, atoms_left = iter(codes[len(layout.levels) :]), iter(self.atoms)
            first = 0
            for group in layout.numbers:
                last = first + len(group.columns)
                of_rest = values[first:last]
                if group.width:
                    atoms = next(atoms_left)
                    both = jnp.concatenate([of_rest[:, None], atoms], axis=1)
                    of_rest = _picked(both, next(codes_left).astype(outputs.dtype))
                found.append(of_rest)
                first = last
        return jnp.concatenate(found)[layout.back]

    def mean(self, outputs: Outputs) -> ByColumn:
        """E[x | outputs] of numbers, the most probable code of others, in model units."""
        layout = self.layout
        locations, logits = self._parts(outputs)
        found = [jnp.zeros(len(layout.constants), outputs.dtype)]
        for of in logits[: len(layout.levels)]:
            found.append(jnp.argmax(of, axis=-1).astype(outputs.dtype))
        found.append(self._means(locations, logits))
        return jnp.concatenate(found)[layout.back]

    def _means(self, locations: Outputs, logits: list[Array]) -> Float[Array, "numbers"]:
        """E[x | outputs] of the number columns, in the order inside."""
        if self.warps is None:
            return locations
        values = self.warps.means(self._sigma(), locations)
        logits_left = iter(logits[len(self.layout.levels) :])
        atoms_left = iter(self.atoms)
        found = []
        first = 0
        for group in self.layout.numbers:
            last = first + len(group.columns)
            of_rest = values[first:last]
            if group.width:
                shares = jax.nn.softmax(next(logits_left), axis=-1)
                both = jnp.concatenate([of_rest[:, None], next(atoms_left)], axis=1)
                of_rest = jnp.sum(shares * both, axis=-1)
            found.append(of_rest)
            first = last
        return jnp.concatenate(found)

    def expectation(self, outputs: Outputs) -> Float[Array, "expected"]:
        """Return what may be averaged over draws of z: means of numbers, probabilities of levels,
        in the order of the columns. `TableUnits.cells_of_expectation` makes cells of it."""
        layout = self.layout
        locations, logits = self._parts(outputs)
        by_column: dict[int, Array] = {}
        for group, of in zip(layout.levels, logits, strict=False):
            shares = jax.nn.softmax(of, axis=-1)
            sizes = zip(group.columns, group.widths, strict=True)
            by_column |= {j: shares[i, :width] for i, (j, width) in enumerate(sizes)}
        means = self._means(locations, logits)
        by_column |= {j: means[i : i + 1] for i, j in enumerate(layout.of_numbers)}
        parts = [by_column[j] for j in range(len(layout.forms)) if j in by_column]
        return jnp.concatenate(parts) if parts else jnp.zeros(0, outputs.dtype)

    def most_probable(self, expectation: Float[Array, "expected"]) -> ByColumn:
        cells, start = [], 0
        for kind, size, _ in self.layout.forms:
            if kind == NUMBER:
                cells.append(expectation[start])
                start += 1
            elif kind in (LEVELS, ORDERED):
                code = jnp.argmax(expectation[start : start + size])
                cells.append(code.astype(expectation.dtype))
                start += size
            else:
                cells.append(jnp.zeros((), expectation.dtype))
        return jnp.stack(cells)

    noise_unit: ClassVar[str] = "normal scores"
    error_name: ClassVar[str] = "wrong_cells"
    error_means: ClassVar[str] = "share with a wrong level, or a number off by over half a spread"

    def errors(self, mean: ByColumn, x: Row, unit: ArrayLike = 1.0) -> ByColumn:
        """Return 1 for a wrong level, and for a number that is off by over half a spread."""
        is_number = np.array([kind == NUMBER for kind, _, _ in self.layout.forms])
        allowed = jnp.where(is_number, _NEAR, 0.0)
        return (jnp.abs(mean - self.value(x)) > allowed).astype(mean.dtype)


def _picked(values: Float[Array, "group width"], code: Float[Array, "group"]) -> Array:
    """Return one value of each row, by a comparison: its gradient is no scatter."""
    chosen = code[:, None] == jnp.arange(values.shape[1], dtype=code.dtype)
    return jnp.sum(jnp.where(chosen, values, 0.0), axis=-1)


def _with_atoms(
    log_probs: Float[Array, "group width"],
    x: Float[Array, "group six"],
    of_rest: Float[Array, "group"],
    rounded: bool,
) -> Float[Array, "group"]:
    """Return log p of numbers with atoms; a rounded draw of the rest may be an atom's value.

    An atom has a probability, so what the rest adds to it is one, too, and not divided by the step.
    """
    code = x[:, _CODE]
    is_rest = code == 0
    other = log_probs[:, 0] + of_rest
    atom = _picked(log_probs, code)
    if not rounded:
        return jnp.where(is_rest, other, atom)
    return jnp.where(is_rest, other, jnp.logaddexp(atom, other - x[:, _CONSTANT]))
