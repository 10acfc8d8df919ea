"""The start of the command line, which answers Ctrl-C while the rest is imported, too."""

import sys


def run() -> None:
    """Run the command line."""
    try:
        from logvar.cli.main import main
    except KeyboardInterrupt:
        print("logvar: interrupted", file=sys.stderr)  # noqa: T201
        sys.exit(130)
    main()


if __name__ == "__main__":
    run()
