"""SIGINT, SIGTERM and SIGHUP as an exception: raised at once, or, while work must not be cut in two, where that work checks for it.

SIGHUP, which a process gets when its terminal closes, ends work as SIGTERM does. What is ignored stays ignored: SIGHUP under nohup,
SIGINT in a script's background job.
"""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator

from .errors import Interrupted

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
AGAIN = 1.0  # seconds after which a second signal counts; launchers send a signal twice


class Interrupts:
    """What arrives while `catching` is in force.

    Attributes:
        signum: of the first signal that arrived, here or at another process of the same work; 0 before.
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

        In another thread than the main one, where no signal arrives, it does nothing.

        Args:
            hold: False raises again, in a block inside of one that holds.
        """
        if not _is_main_thread():
            yield
            return
        before, self._held = self._held, hold
        try:
            if not hold:
                self.check()
            yield
        finally:
            self._held = before

    def note(self, signum: int) -> None:
        """Keep a signal, which may have reached another process of the same work, if it is the first one."""
        if not self.signum:
            self.signum, self._since = signum, time.monotonic()

    def arrive(self, signum: int, frame: object = None) -> None:
        """The handler of all of them."""
        now = time.monotonic()
        first, again = not self.signum, self.signum and now - self._since > AGAIN
        impatient = again and self.signum == signum == signal.SIGINT
        self.note(signum)
        if impatient or ((first or again) and not self._held):  # one that comes at once must not cut off what the first one ends
            raise Interrupted(self.signum)


_active: list[Interrupts] = []


@contextlib.contextmanager
def catching() -> Iterator[Interrupts]:
    """Turn the signals into Interrupted while the block runs; a block inside of one shares it.

    Only the main thread can: in another one, signals do what they did before.
    """
    if _active:
        yield _active[0]
        return
    interrupts = Interrupts()
    if not _is_main_thread():
        yield interrupts
        return
    signals = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    listened = [signum for signum in signals if signal.getsignal(signum) != signal.SIG_IGN]
    before = {signum: signal.signal(signum, interrupts.arrive) for signum in listened}
    _active.append(interrupts)
    try:
        yield interrupts
    finally:
        _active.remove(interrupts)
        for signum, handler in before.items():
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
