"""The entry point of `mobilebert`: errors as one line, not as a traceback."""

import os
import sys

from ..errors import CheckpointError, ConfigError, DataError, InputError, printable
from ..optional import needs

# read by the frameworks when they are imported
ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "OMP_WAIT_POLICY": "PASSIVE",  # where another program wants a core, torch's threads spin away most of the time
}


def main() -> None:
    """Run the command line. Exit status: 0 done, 1 an error the user can mend, 2 a wrong command, 130 interrupted."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        with needs("cli"):
            from .commands import app
            from .console import show_warnings
        show_warnings()
        app()
    except (CheckpointError, ConfigError, DataError, InputError, ImportError, OSError) as error:
        print(f"error: {printable(str(error), keep=chr(10))}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
