"""Which device has which part of an array, and what the processes tell each other.

An array is either the same on all devices, or it is cut by rows into one part for each device. The
devices are in the order of their processes, so those of a process have successive parts.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, PyTree

AXIS = "data"
"""The name of the axis of devices."""
SAME, CUT = PartitionSpec(), PartitionSpec(AXIS)


def several() -> bool:
    """Return whether this process is one of several, and has not left them."""
    return jax.process_count() > 1 and jax.distributed.is_initialized()


def writes() -> bool:
    """Return whether this process is the one that writes and prints."""
    return not several() or jax.process_index() == 0


@dataclasses.dataclass(frozen=True)
class Placement:
    """The devices that train one model, in the order of the parts of a batch."""

    devices: tuple[jax.Device, ...]

    @classmethod
    def of(cls, devices: Sequence[jax.Device]) -> "Placement":
        """Put devices into the order of their processes."""
        return cls(tuple(sorted(devices, key=lambda device: (device.process_index, device.id))))

    @property
    def mesh(self) -> Mesh:
        """The devices as JAX takes them."""
        return Mesh(np.asarray(self.devices), (AXIS,))

    @property
    def parts(self) -> int:
        """The number of parts."""
        return len(self.devices)

    @property
    def here(self) -> slice:
        """The parts of this process."""
        mine = [i for i, d in enumerate(self.devices) if d.process_index == jax.process_index()]
        return slice(mine[0], mine[-1] + 1)

    def mine(self, rows: np.ndarray) -> np.ndarray:
        """Return those of successive batches that this process computes, device after device.

        Args:
            rows: (steps, batch), an integer for each position.
        """
        parts = rows.reshape(len(rows), self.parts, -1)[:, self.here]
        return np.ascontiguousarray(parts.swapaxes(0, 1)).reshape(-1)

    def everywhere(self, tree: PyTree) -> PyTree:
        """Place arrays that all processes have alike on all devices."""
        return self._placed(tree, SAME)

    def cut(self, tree: PyTree) -> PyTree:
        """Place the rows of this process on its devices, an equal part on each."""
        return self._placed(tree, CUT)

    def _placed(self, tree: PyTree, spec: PartitionSpec) -> PyTree:
        sharding = NamedSharding(self.mesh, spec)

        def placed(leaf: Any) -> Any:
            if not isinstance(leaf, jax.Array | np.ndarray | np.generic):
                return leaf
            return jax.make_array_from_process_local_data(sharding, np.asarray(leaf))

        return jax.tree.map(placed, tree)

    def on_each_device(self, function: Callable, arguments: tuple, specs: Any) -> Any:
        """Call a function of trees on each device, inside a compiled program.

        Its results must be the same on all of them.

        Args:
            function: what a device computes.
            arguments: of the function.
            specs: a tree like the arguments, or a part of it, that says which arrays are `CUT` and
                which are the `SAME` on all devices.
        """
        arrays, static = eqx.partition(arguments, eqx.is_array)
        return jax.shard_map(
            lambda arrays: function(*eqx.combine(arrays, static)),
            mesh=self.mesh,
            in_specs=(specs,),
            out_specs=SAME,
            check_vma=False,
        )(arrays)

    def of_the_first(self, tree: PyTree) -> PyTree:
        """Place the arrays of the first process on all devices, to the bit.

        The other processes give arrays of the same shapes, which are not read.
        """
        leaves, structure = jax.tree.flatten(tree)
        leaves = [np.asarray(leaf) for leaf in leaves]
        if several():
            words = np.concatenate([_words(leaf) for leaf in leaves])
            mine = self.cut(np.tile(words if writes() else 0 * words, (self._count, 1)))
            # Several devices of the first process have the words; all but one are left out.
            summed = np.asarray(_sum_of_first(self.mesh)(mine))
            ends = np.cumsum([len(_words(leaf)) for leaf in leaves])[:-1]
            leaves = [
                np.frombuffer(part.tobytes()[: leaf.nbytes], leaf.dtype).reshape(leaf.shape)
                for part, leaf in zip(np.split(summed, ends), leaves, strict=True)
            ]
        return self.everywhere(jax.tree.unflatten(structure, leaves))

    def told(self, numbers: Sequence[int]) -> Int[np.ndarray, "processes numbers"]:
        """Tell all processes some integers of 32 bits, and return what each of them tells."""
        mine = self.cut(np.tile(np.asarray(numbers, np.int32), (self._count, 1)))
        everyone = np.asarray(_gathered(self.mesh)(mine)).reshape(self.parts, -1)
        indices = [device.process_index for device in self.devices]
        return everyone[[indices.index(process) for process in sorted(set(indices))]]

    @property
    def _count(self) -> int:
        return self.here.stop - self.here.start


def local(tree: PyTree) -> PyTree:
    """Return arrays that are the same on all devices as arrays of this process alone."""
    return jax.tree.map(
        lambda leaf: jnp.asarray(np.asarray(leaf)) if isinstance(leaf, jax.Array) else leaf, tree
    )


def _words(leaf: np.ndarray) -> np.ndarray:
    data = leaf.tobytes()
    return np.frombuffer(data + bytes(-len(data) % 4), np.int32)


@functools.cache
def _gathered(mesh: Mesh) -> Any:
    def gathered(mine: Array) -> Array:
        return lax.all_gather(mine[0], AXIS)

    return _on_each_device(gathered, mesh)


@functools.cache
def _sum_of_first(mesh: Mesh) -> Any:
    """Integers of one device and zeros of all others add to the same integers."""

    def summed(mine: Array) -> Array:
        return lax.psum(jnp.where(lax.axis_index(AXIS) == 0, mine[0], 0), AXIS)

    return _on_each_device(summed, mesh)


def _on_each_device(function: Any, mesh: Mesh) -> Any:
    return jax.jit(
        jax.shard_map(function, mesh=mesh, in_specs=CUT, out_specs=SAME, check_vma=False)
    )
