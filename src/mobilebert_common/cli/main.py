"""The entry point of `mobilebert`, which prints errors as one line instead of a traceback."""

import io
import os
import sys

from ..errors import CheckpointError, ConfigError, DataError, InputError, printable
from ..optional import needs

# the frameworks read these when they are imported
ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "OMP_WAIT_POLICY": "PASSIVE",  # when cores are shared, torch's threads waste most of their time spinning
}


def main() -> None:
    """Run the command line. Exit status: 0 success, 1 an error the user can fix, 2 wrong usage, 130 interrupted."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
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
        print(f"error: {printable(str(error), keep=chr(10) if lists_findings else '')}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
