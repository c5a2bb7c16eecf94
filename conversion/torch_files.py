"""Write pytorch_model.bin with torch.save. mobilebert_common reads it without torch."""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mobilebert_common.checkpoints.matching import with_copies
from mobilebert_common.checkpoints.torch_bin import WEIGHTS_FILE
from mobilebert_common.files.folder import Content
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.optional import needs


def contents(config: MobileBertConfig, architecture: str, tensors: Mapping[str, np.ndarray]) -> dict[str, Content]:
    """The weights file of a state_dict, for files.save_files.

    Raises:
        ImportError: PyTorch is not installed.
    """
    with needs("pt"):
        import torch

        from mobilebert_pt.arrays import to_tensor

    def write(path: Path) -> None:
        state = OrderedDict((name, to_tensor(array)) for name, array in with_copies(config, tensors).items())
        try:
            torch.save(state, path)
        except RuntimeError as error:  # torch's zip writer raises no OSError when the disk is full
            raise OSError(f"{path}: PyTorch could not write it: {str(error).splitlines()[0]}") from None

    return {WEIGHTS_FILE: write}
