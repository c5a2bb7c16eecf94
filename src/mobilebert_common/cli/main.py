"""The entry point of `mobilebert`, which prints errors as one line instead of a traceback."""

import contextlib
import io
import os
import sys

from .. import processes
from ..errors import CheckpointError, ConfigError, DataError, InputError, Interrupted, printable
from ..interrupts import catching
from ..optional import needs

# the frameworks read these when they are imported
ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "OMP_WAIT_POLICY": "PASSIVE",  # when cores are shared, torch's threads waste most of their time spinning
}


def main() -> None:
    """Run the command line.

    Exit status: 0 success, 1 an error the user can fix, 2 wrong usage, 129 interrupted by SIGHUP, 130 by SIGINT, 143 by SIGTERM.
    """
    with catching():
        try:
            _run()
        except BaseException as error:
            interrupted = _interruption(error)
            if interrupted is None:
                raise
            if processes.is_main():
                with contextlib.suppress(OSError):  # the terminal may be closed
                    print(interrupted, file=sys.stderr, flush=True)
            sys.exit(interrupted.status)


def _interruption(error: BaseException | None) -> Interrupted | None:
    """The signal that caused an exception: Typer makes an exit of its own from it."""
    while error is not None and not isinstance(error, Interrupted):
        error = error.__cause__ or error.__context__
    return error


def _run() -> None:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if not processes.is_main():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None where the descriptor is closed
            stream.reconfigure(errors="backslashreplace")  # a text may not fit the terminal's encoding
    try:
        with needs("cli"):
            from .commands import app
            from .console import show_warnings
        show_warnings()
        app()
    except (CheckpointError, ConfigError, DataError, InputError, ImportError, OSError) as error:
        lists_findings = isinstance(error, CheckpointError | ConfigError | ImportError)
        processes.wait_for_the_first()
        print(f"error: {printable(str(error), keep=chr(10) if lists_findings else '')}", file=sys.stderr)
        sys.exit(1)
    except Exception:
        processes.wait_for_the_first()
        raise
