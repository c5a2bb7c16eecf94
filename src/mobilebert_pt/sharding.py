"""Parameters that FSDP2 shards over processes: each is a DTensor, of which every process holds a part."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mobilebert_common.errors import ConfigError


def mesh_of(tensors: Iterable[Tensor]) -> Any:
    """The processes (DeviceMesh) that tensors are sharded over; None if each tensor is whole."""
    return next((tensor.device_mesh for tensor in tensors if hasattr(tensor, "full_tensor")), None)


def refuse_sharded(model: nn.Module) -> None:
    """Refuse to exchange parameters that FSDP2 has taken over."""
    if mesh_of(model.state_dict().values()) is not None:  # state_dict shards again what a forward pass left whole
        raise ConfigError("a sharded model keeps its word embeddings: change them before fully_shard or accelerator.prepare")


def gathered(tensor: Tensor) -> Tensor:
    """The whole of a sharded tensor, whose processes must all call this; any other tensor as it is.

    Its gradient is averaged over the processes, as FSDP averages all others.
    """
    if (mesh := mesh_of([tensor])) is None:
        return tensor
    from torch.distributed.tensor import Partial

    return tensor.to(mesh.device_type).full_tensor(grad_placements=[Partial("avg")] * mesh.ndim)


@contextmanager
def whole_parameters(module: nn.Module) -> Iterator[None]:
    """Let a block set the parameters of one module as if they were not sharded; then each process keeps its part of them.

    A random tensor drawn part by part would have equal parts where the processes have equal seeds.
    """
    sharded = {name: tensor for name, tensor in module.named_parameters(recurse=False) if mesh_of([tensor]) is not None}
    for name, tensor in sharded.items():
        module._parameters[name] = nn.Parameter(torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device))
    yield
    for name, tensor in sharded.items():
        from torch.distributed.tensor import distribute_tensor

        values = module.get_parameter(name).detach()
        with torch.no_grad():
            tensor.copy_(distribute_tensor(values, tensor.device_mesh, tensor.placements, src_data_rank=None))
        module._parameters[name] = tensor


@contextmanager
def one_of(mesh: Any, candidate: bool) -> Iterator[bool]:
    """Whether this process is the first candidate of a mesh; all its processes leave the block together.

    Without a mesh, each process decides for itself.
    """
    if mesh is None:
        yield candidate
        return
    rank = torch.distributed.get_rank()
    first = torch.tensor(rank if candidate else torch.distributed.get_world_size(), device=mesh.device_type)
    groups = [mesh.get_group(axis) for axis in range(mesh.ndim)]
    for group in groups:
        torch.distributed.all_reduce(first, torch.distributed.ReduceOp.MIN, group=group)
    try:
        yield first.item() == rank
    finally:  # also after an error, or the others would wait for this process
        for group in groups:
            torch.distributed.barrier(group)
