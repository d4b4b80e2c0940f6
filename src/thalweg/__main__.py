"""The command `thalweg`, as a script and as `python -m thalweg`."""

import sys


def main() -> int:
    """Run one command; returns the exit code. Ctrl-C while it is being loaded is answered too."""
    try:
        from thalweg.cli.main import main as run

        return run()
    except KeyboardInterrupt:
        print("thalweg: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
