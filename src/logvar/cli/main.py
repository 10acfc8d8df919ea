"""The command line: its commands, and how it answers invalid input.

Only light modules are imported here; the rest is imported inside the commands that need it, so that
`logvar --help` answers at once. Exit codes: 0 done, 1 the doctor found a problem, 2 invalid input,
130 and 143 interrupted by Ctrl-C or SIGTERM. tests/test_startup.py checks that help and usage
errors import neither JAX nor scikit-learn.
"""

import sys

import tyro

import logvar
from logvar.cli.arguments import Settings, defaults
from logvar.cli.commands.catalogue import parts, scales
from logvar.cli.commands.converting import convert
from logvar.cli.commands.fitting import compare, fit_from
from logvar.cli.commands.judging import doctor, evaluate, report
from logvar.cli.commands.outliers import outliers
from logvar.cli.commands.results import decode, encode, impute, predict, reconstruct, sample, score
from logvar.cli.terminal import refuse_removed, refuse_unknown, warnings_in_one_line
from logvar.errors import LogvarError
from logvar.signals import leaving_unheard, unwinding


def main() -> None:
    """Run the command line; invalid input is answered in one line with exit code 2."""
    if sys.argv[1:2] == ["--version"]:
        print(f"logvar {logvar.__version__}")  # noqa: T201
        return
    try:
        refuse_removed(sys.argv[1:])
        app = tyro.extras.SubcommandApp()
        fit = fit_from(defaults() if sys.argv[1:2] == ["fit"] else Settings())
        commands = (
            fit, evaluate, encode, decode, reconstruct, sample, predict, score, outliers, impute,
            convert, report, doctor, parts, scales, compare,
        )  # fmt: skip
        refuse_unknown(sys.argv[1:], [command.__name__ for command in commands])
        for command in commands:
            app.command(command)
        with unwinding(), leaving_unheard(harmless=lambda: True), warnings_in_one_line():
            app.cli(
                prog="logvar",
                description="Variational autoencoders in which the scale parameterization is one "
                "explicit object. `logvar --version` prints the version.",
            )
    except LogvarError as error:
        print(f"logvar: {' '.join(str(error).split())}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(0)
    except KeyboardInterrupt:
        print("logvar: interrupted", file=sys.stderr)  # noqa: T201
        sys.exit(130)
