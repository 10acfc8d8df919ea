"""One side of a comparison, in a process of its own: `python worker.py WORK` then "go" lines.

Prints "ready" when it is set up and warm; then, for each line "go" it reads, the seconds that one
repetition took for each unit of work (a step, an epoch, a call).
"""

import os
import sys
import time
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
warnings.filterwarnings("ignore")  # of the peers, about themselves


def serve(setup):
    """`setup()` returns (run, units): run() does that many units of work and waits for them."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not an answer
    run, units = setup()
    run()
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        if line.strip() != "go":
            break
        started = time.perf_counter()
        run()
        print((time.perf_counter() - started) / units, file=out, flush=True)


if __name__ == "__main__":
    name = sys.argv[1]
    if name.startswith("logvar-"):
        import ours as works
    else:
        import peers as works
    serve(works.WORKS[name])
