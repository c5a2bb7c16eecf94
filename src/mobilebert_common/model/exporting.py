"""The switch that both twins trace a model under for a runtime of its own, such as LiteRT or ExecuTorch.

Under it, a model checks no ids (such a runtime has no assertions, so whoever runs the file checks them before), and attention consists of
products, a sum with the mask and a softmax, which every converter knows. The mask adds a finite number that no score can
pass, close to the smallest; and in a runtime that computes in float16 it becomes -inf, where a factor of 0 would make it NaN.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

_EXPORTING = ContextVar("exporting", default=False)


def is_exporting() -> bool:
    """Whether models are being traced for another runtime."""
    return _EXPORTING.get()


@contextlib.contextmanager
def exporting() -> Iterator[None]:
    """Trace for another runtime in this block, and in this thread alone."""
    token = _EXPORTING.set(True)
    try:
        yield
    finally:
        _EXPORTING.reset(token)
