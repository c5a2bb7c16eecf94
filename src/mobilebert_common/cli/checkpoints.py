"""The commands `convert`, `verify` and `info`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from ..checkpoints import checkpoint
from ..errors import printable
from ..frameworks import FRAMEWORKS
from ..model.architectures import named_architecture
from ..model.config import CONFIG_FILE, MobileBertConfig
from ..model.schema import count_parameters, expand
from ..model.zoo import ZOO
from ..training import jobs
from .console import add_row, console, make_grid, open_twin, say
from .options import Checkpoint, Overwrite


def verify(
    directory: Checkpoint,
    dtype: Annotated[Literal["float64", "float32"], typer.Option(help="Compute in this dtype.")] = "float64",
    accept: Annotated[
        bool, typer.Option("--accept", help="Instead, accept files that changed since they were saved, if they are usable.")
    ] = False,
) -> None:
    """Open a checkpoint in both frameworks and compare every output; exit status 1 if they differ beyond the tolerance."""
    if accept:
        changed = checkpoint.accept(directory)
        say(f"accepted {', '.join(changed)}" if changed else f"{directory}: nothing changed since it was saved")
        return
    jobs.check_place(directory)
    for name in FRAMEWORKS:
        open_twin(name)
    from ..verification import TOLERANCE, verify

    grid = make_grid("output", "shape", "largest difference", "relative (L2)")
    say(f"{directory}: PyTorch and Keras in {dtype}")
    differences = verify(directory, dtype)
    for found in differences:
        add_row(grid, found.output, list(found.shape), f"{found.absolute:.1e}", f"{found.relative:.1e}")
    console.print(grid)
    apart = [found.output for found in differences if not found.relative <= TOLERANCE[dtype]]  # true for NaN too
    if apart:
        say(f"THE TWINS DIFFER by more than {TOLERANCE[dtype]:.0e} in {', '.join(apart)}")
        raise typer.Exit(1)
    worst = max(found.relative for found in differences)
    say(f"the twins agree: largest difference {worst:.1e}, tolerance {TOLERANCE[dtype]:.0e}")


@dataclass(kw_only=True)
class ConvertOptions:
    """The options of `convert`."""

    source: Annotated[
        str,
        typer.Argument(help="A checkpoint directory, a weights file, the prefix of a TensorFlow checkpoint, or owner/name on the hub."),
    ]
    destination: Annotated[Path, typer.Argument(help="The checkpoint directory to write.")]
    to: Annotated[Literal["safetensors", "bin", "h5", "keras", "tf1"], typer.Option(help="Dialect to write.")] = "safetensors"
    dtype: Annotated[
        Literal["float32", "float64", "bfloat16", "float16"] | None, typer.Option(help="Dtype to write. Default: the source's.")
    ] = None
    head: Annotated[
        str | None, typer.Option(help="Model class, for example MobileBertModel. Default: the source's.")
    ] = None
    config: Annotated[
        Path | None, typer.Option(help="Use this config.json, bert_config.json or name in the zoo instead of what is beside the weights.")
    ] = None
    overwrite: Overwrite = False


def convert(options: ConvertOptions) -> None:
    """Convert a checkpoint from any dialect to another without changing a bit, including configuration and tokenizer."""
    from mobilebert_conversion.convert import convert as run
    from mobilebert_conversion.convert import frameworks
    from mobilebert_conversion.source import TOKENIZER_FILES, locate

    path = locate(options.source)
    for name in sorted(frameworks(path, options.to)):
        open_twin(name)
    with console.status("") as status:
        done = run(
            path,
            options.destination,
            options.to,
            options.dtype,
            options.head,
            config=options.config,
            overwrite=options.overwrite,
            stage=lambda text: status.update(escape(printable(text))),
        )
    say(f"read {done.dialect} from {done.source}: {done.head}")
    say(f"{done.tensors:,} tensors, {done.parameters:,} parameters, {done.dtype}")
    if done.ignored:
        shown = ", ".join(done.ignored[:5])
        say(f"ignored: {shown}{f' and {len(done.ignored) - 5:,} more' if len(done.ignored) > 5 else ''}")
    say(f"wrote {', '.join(done.written)} in {done.destination} after {done.seconds:.1f} s")
    if CONFIG_FILE in done.written and not {*done.written} & {*TOKENIZER_FILES}:
        say("the source has no tokenizer: copy its vocab.txt or tokenizer.json to the destination")


def info(
    directory: Annotated[
        str | None,
        typer.Argument(help="A checkpoint directory, owner/name on the hub, or a name from the zoo.", show_default=False),
    ] = None,
) -> None:
    """Describe a checkpoint or a named configuration; without an argument, list the zoo."""
    if directory is None:
        grid = make_grid("name", "L/FFNs", "h/k/i", "norm", "parameters")
        for name in ZOO:
            config = MobileBertConfig.from_zoo(name)
            add_row(
                grid,
                name,
                f"{config.num_hidden_layers}/{config.num_feedforward_networks}",
                f"{config.hidden_size}/{config.true_hidden_size}/{config.intermediate_size}",
                config.normalization_type,
                f"{_parameters(config, 'MobileBertModel'):,}",
            )
        console.print(grid)
        return
    if directory in ZOO:
        config = MobileBertConfig.from_zoo(directory)
    else:
        jobs.check_place(directory, " nor in the zoo")
        config = MobileBertConfig.from_pretrained(directory)
    architecture = named_architecture(config) or "MobileBertModel"
    say(f"{directory}: {architecture}, {_parameters(config, architecture):,} parameters")
    grid = make_grid("key", "value")
    for key, value in config.to_dict().items():
        if value is not None:
            add_row(grid, key, value)
    console.print(grid)


def _parameters(config: MobileBertConfig, architecture: str) -> int:
    return count_parameters(expand(config, architecture))
