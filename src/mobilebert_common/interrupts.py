"""SIGINT and SIGTERM as an exception: raised at once, or, while work must not be cut in two, where that work checks for it."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator

from .errors import Interrupted

AGAIN = 1.0  # seconds after which a second Ctrl-C does not wait; launchers send a signal twice


class Interrupts:
    """What arrives while `catching` is in force.

    Attributes:
        signum: of the first signal that arrived; 0 before.
    """

    def __init__(self) -> None:
        self.signum = 0
        self._since = 0.0
        self._held = False

    def check(self) -> None:
        """Raise Interrupted if a signal has arrived."""
        if self.signum:
            raise Interrupted(self.signum)

    @contextlib.contextmanager
    def held(self, hold: bool = True) -> Iterator[None]:
        """Raise nothing in the block, however many signals arrive, but for a second Ctrl-C after a while.

        Args:
            hold: False raises again, in a block inside of one that holds.
        """
        before, self._held = self._held, hold
        try:
            if not hold:
                self.check()
            yield
        finally:
            self._held = before

    def arrive(self, signum: int, frame: object = None) -> None:
        """The handler of both signals."""
        now = time.monotonic()
        impatient = self.signum == signum == signal.SIGINT and now - self._since > AGAIN
        if not self.signum:
            self.signum, self._since = signum, now
        if impatient or not self._held:
            raise Interrupted(signum)


_active: list[Interrupts] = []


@contextlib.contextmanager
def catching() -> Iterator[Interrupts]:
    """Turn SIGINT and SIGTERM into Interrupted while the block runs; a block inside of one shares it.

    Only the main thread can: in another one, signals do what they did before.
    """
    if _active:
        yield _active[0]
        return
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    before = {signum: signal.signal(signum, interrupts.arrive) for signum in (signal.SIGINT, signal.SIGTERM)}
    _active.append(interrupts)
    try:
        yield interrupts
    finally:
        _active.remove(interrupts)
        for signum, handler in before.items():
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)
