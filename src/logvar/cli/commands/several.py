"""The flags of `logvar fit` for several processes."""

import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import tyro

from logvar.errors import LogvarError
from logvar.processes import launching, runtime

EXACT = 8
"""The shards of --exact."""


@dataclasses.dataclass(frozen=True)
class Several:
    """How many processes train, and where they find each other."""

    processes: Annotated[
        int, tyro.conf.arg(metavar="N", help="train in so many processes of this machine")
    ] = 1
    distributed: Annotated[
        bool,
        tyro.conf.arg(help="this process is one of several that srun or mpirun has started"),
    ] = False
    exact: Annotated[
        bool,
        tyro.conf.arg(help="the same bytes from 1, 2, 4 or 8 processes, slower: --shards 8"),
    ] = False
    coordinator_address: Annotated[
        str | None,
        tyro.conf.arg(
            metavar="HOST:PORT", help="of the first process; default: as the launcher says"
        ),
    ] = None
    num_processes: Annotated[
        int | None, tyro.conf.arg(metavar="N", help="of the run; likewise")
    ] = None
    process_id: Annotated[
        int | None, tyro.conf.arg(metavar="I", help="this one's number, from 0; likewise")
    ] = None
    coordinator_seconds: Annotated[
        int, tyro.conf.arg(help="how long to wait until all processes have started")
    ] = 50

    def settings(self, chosen: dict[str, Any]) -> dict[str, Any]:
        """Return the settings of the recipe, with the shards that `exact` stands for.

        Raises:
            LogvarError: the flags contradict each other, or the numbers do not divide.
        """
        given = (self.coordinator_address, self.num_processes, self.process_id)
        if self.processes < 1:
            raise LogvarError(f"--processes is {self.processes}: expected at least 1")
        if self.processes > 1 and (self.distributed or given != (None, None, None)):
            raise LogvarError(
                "--processes starts processes on this machine, and --distributed joins those that "
                "a launcher has started: give one of them"
            )
        if self.exact and chosen["shards"] == 1:
            chosen = chosen | {"shards": EXACT}
        shards, batch_size = chosen["shards"], chosen["batch_size"]
        what, number = ("shards", shards) if shards > 1 else ("batch_size", batch_size)
        if number % self.processes:
            raise LogvarError(
                f"{what} {number} does not divide among {self.processes} processes: use "
                f"--{what.replace('_', '-')} {-(-number // self.processes) * self.processes}, or "
                "another number of processes"
                if what == "batch_size"
                else f"{shards} shards do not divide among {self.processes} processes: use 1, 2, "
                "4, … processes, at most as many as shards"
            )
        return chosen

    @contextlib.contextmanager
    def joined(self, shards: int) -> Iterator[None]:
        """Within this context, this process is part of a run; or start its processes, and end with
        them.

        Args:
            shards: of the recipe.
        """
        if runtime.launched():
            launching.begin()
        elif self.processes > 1:
            sys.exit(launching.launch(self.processes, sys.argv[1:]))
        elif not self._joins():
            if shards > 1:
                runtime.compute_as_two()
            yield
            return
        cluster = runtime.Cluster(
            self.coordinator_address,
            self.num_processes,
            self.process_id,
            seconds=self.coordinator_seconds,
        )
        with runtime.joined(cluster):
            yield

    def _joins(self) -> bool:
        given = (self.coordinator_address, self.num_processes, self.process_id)
        return self.distributed or given != (None, None, None)


ALONE = Several()
