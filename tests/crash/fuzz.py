"""Mutate run folders, and read them: each loads right or gives one clear error.

python -m tests.crash.fuzz --mutations 2000
"""

import argparse
import collections
import json
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.datasets import load_iris

import logvar
from logvar.errors import OutsideTrainingRange
from logvar.runs.loading import load_state
from logvar.storage.files import sha256

X = load_iris().data
FILES = (
    "manifest.json", "recipe.toml", "weights.safetensors", "standardization.safetensors",
    "metrics.jsonl",
)  # fmt: skip
HOSTILE = [
    None, True, -1, 0, 10**30, 1e308, "", "../../etc/passwd", "/dev/zero", [], [0], [10**9, 10**9], {},
    {"format": 1}, "NaN", "\u0000", "x" * 100_000, [[[[[]]]]],
]  # fmt: skip


def original(folder: Path) -> tuple[Path, np.ndarray]:
    """A small run and what it says of the data."""
    vae = logvar.VAE(latent_dim=2, network="mlp(hidden=[8])", epochs=2).fit(X)
    return vae.save(folder / "run"), vae.transform(X)


def mutate(run: Path, rng: np.random.Generator) -> str:
    """Change a run folder in one way; what was done, in words."""
    kinds = (truncated, flipped, swapped, hostile_json, hostile_header, missing, extended, linked)
    kind = kinds[rng.integers(len(kinds))]
    done = kind(run, rng)
    if rng.random() < 0.6:
        done += ", hashes made right"
        rehash(run)
    return done


def _pick(run: Path, rng: np.random.Generator) -> Path:
    names = [*FILES, *(str(p.relative_to(run)) for p in run.glob("checkpoints/*/*"))]
    return run / names[rng.integers(len(names))]


def truncated(run: Path, rng: np.random.Generator) -> str:
    path = _pick(run, rng)
    content = path.read_bytes()
    path.write_bytes(content[: rng.integers(len(content))])
    return f"truncated {path.name}"


def flipped(run: Path, rng: np.random.Generator) -> str:
    path = _pick(run, rng)
    content = bytearray(path.read_bytes())
    for _ in range(rng.integers(1, 6)):
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    path.write_bytes(content)
    return f"flipped bits of {path.name}"


def swapped(run: Path, rng: np.random.Generator) -> str:
    a, b = _pick(run, rng), _pick(run, rng)
    one, other = a.read_bytes(), b.read_bytes()
    a.write_bytes(other)
    b.write_bytes(one)
    return f"swapped {a.name} and {b.name}"


def hostile_json(run: Path, rng: np.random.Generator) -> str:
    path = run / "manifest.json"
    content = json.loads(path.read_text())
    key = list(content)[rng.integers(len(content))]
    content[key] = HOSTILE[rng.integers(len(HOSTILE))]
    path.write_text(json.dumps(content))
    return f"manifest {key} = {str(content[key])[:30]!r}"


def hostile_header(run: Path, rng: np.random.Generator) -> str:
    """A safetensors header that claims what is not there."""
    path = run / "weights.safetensors"
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    name = [key for key in header if key != "__metadata__"][rng.integers(len(header) - 1)]
    choice = rng.integers(4)
    if choice == 0:
        header[name]["shape"] = [2**40, 2**20]
    elif choice == 1:
        header[name]["data_offsets"] = [0, 2**50]
    elif choice == 2:
        header["../../escape"] = header.pop(name)
    else:
        header[name]["dtype"] = "F64"
    text = json.dumps(header).encode()
    size = 2**62 if rng.random() < 0.2 else len(text)
    path.write_bytes(int(size).to_bytes(8, "little") + text + content[8 + length :])
    return f"header of {name}"


def missing(run: Path, rng: np.random.Generator) -> str:
    path = _pick(run, rng)
    path.unlink()
    return f"removed {path.name}"


def extended(run: Path, rng: np.random.Generator) -> str:
    path = _pick(run, rng)
    with open(path, "ab") as file:
        file.write(rng.bytes(int(rng.integers(1, 5000))))
    return f"appended to {path.name}"


def linked(run: Path, rng: np.random.Generator) -> str:
    path = _pick(run, rng)
    path.unlink()
    path.symlink_to("/dev/zero" if rng.random() < 0.5 else "/etc/passwd")
    return f"linked {path.name} elsewhere"


def rehash(run: Path) -> None:
    """Make the manifest's hashes those of the files, as someone hostile would."""
    if not (run / "manifest.json").is_file():
        return  # such as a link to /dev/zero, which this program should not read either
    try:
        path = run / "manifest.json"
        content = json.loads(path.read_text())
        for name in content["hashes"]:
            if (run / name).is_file():
                content["hashes"][name] = sha256(run / name)
        path.write_text(json.dumps(content))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return


def read(run: Path, expected: np.ndarray) -> str:
    """What came of reading it: "loaded right", "loaded, other numbers" or "one error"."""
    try:
        vae = logvar.load(run)
        load_state(vae.fitted_, run)
        with warnings.catch_warnings():
            # Where bits of the range were flipped, rows may lie outside of it.
            warnings.simplefilter("ignore", OutsideTrainingRange)
            codes = vae.transform(X)
    except logvar.LogvarError as error:
        return "one error" if str(error).strip() else "an error without a word"
    return "loaded right" if np.array_equal(codes, expected) else "loaded, other numbers"


def command_line(run_all: Callable[[int, int], tuple[collections.Counter, list[str]]]) -> None:
    """Mutate as often as the command line says, print outcomes, and exit 1 if something went wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mutations", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    outcomes, wrong = run_all(chosen.mutations, chosen.seed)
    for outcome, count in outcomes.most_common():
        print(f"{count:>6}  {outcome}")
    print("\n".join(wrong) or "none hung, crashed or took memory")
    sys.exit(bool(wrong))


def run_all(mutations: int, seed: int) -> tuple[collections.Counter, list[str]]:
    """Mutate and read so many folders; outcomes, and what went wrong."""
    rng = np.random.default_rng(seed)
    outcomes: collections.Counter[str] = collections.Counter()
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        run, expected = original(Path(folder))
        read(run, expected)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for index in range(mutations):
            other = Path(folder) / f"mutated{index}"
            shutil.copytree(run, other)
            done = mutate(other, rng)
            started = time.monotonic()
            try:
                outcomes[read(other, expected)] += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
                wrong.append(f"{index}: {done}: {type(error).__name__}: {str(error)[:200]}")
            if time.monotonic() - started > 30:
                wrong.append(f"{index}: {done}: took {time.monotonic() - started:.0f} s")
            shutil.rmtree(other)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
        if grown > 500_000:
            wrong.append(f"memory grew by {grown / 1e6:.1f} GB")
    return outcomes, wrong


if __name__ == "__main__":
    command_line(run_all)
