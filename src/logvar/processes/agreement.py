"""Refuse processes that are not of one run, before they train anything."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from logvar.errors import LogvarError
from logvar.processes.ending import exchanged
from logvar.processes.placement import Placement


def check_agreement(facts: Mapping[str, Any], placement: Placement) -> None:
    """Check that all processes have the same facts.

    Args:
        facts: by name, anything that JSON can write, at most three; a message says the names.
        placement: the devices of all processes.

    Raises:
        LogvarError: some differ from the first process; all processes raise it. Or one of them
            has failed before.
    """
    digests = [
        hashlib.blake2b(json.dumps(fact, sort_keys=True, default=str).encode(), digest_size=8)
        for fact in facts.values()
    ]
    words = np.frombuffer(b"".join(digest.digest() for digest in digests), np.int32).tolist()
    told = exchanged(placement, words).reshape(-1, len(facts), 2)
    differs = np.any(told != told[0], axis=2)
    if not differs.any():
        return
    which = np.flatnonzero(differs.any(axis=1))
    some = ", ".join(map(str, which[:5])) + (", …" if len(which) > 5 else "")
    what = [name for name, column in zip(facts, differs.T, strict=True) if column.any()]
    raise LogvarError(
        f"process {some} of {len(told)} differs from process 0 in {' and '.join(what)}: start all "
        "processes with the same version, the same data and the same settings"
    )
