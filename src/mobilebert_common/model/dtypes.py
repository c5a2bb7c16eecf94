"""The dtypes weights can have, by name."""

import ml_dtypes
import numpy as np

from ..errors import ConfigError, brief

DTYPES: dict[str, np.dtype] = {
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float16": np.dtype(np.float16),
}


def parse_dtype(dtype: str) -> np.dtype:
    """Return the numpy dtype with this name; bfloat16 comes from ml_dtypes.

    Raises:
        ConfigError: no weights have such a dtype.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"dtype must be one of {', '.join(DTYPES)}, not {brief(dtype)}")
    return DTYPES[dtype]
