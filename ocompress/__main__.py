"""`ocompress` and `python -m ocompress`: takes over signals before the program itself is loaded."""

import sys

from ocompress.cli import exits, signals


def main() -> None:
    """Run the program, and end the process with its exit code."""
    signals.install()
    try:
        from ocompress.cli.app import run  # a signal may come while it is loaded

        code = run(sys.argv[1:])
    except BaseException as error:
        if exits.interrupt_in(error) is None:
            raise
        code, sentence = exits.describe(error)
        if not exits.complained():
            exits.complain(sentence)
    signals.settle(code)
    if code == exits.INTERRUPTED:
        signals.leave(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
