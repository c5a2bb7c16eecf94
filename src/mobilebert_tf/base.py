"""What Keras lacks beside torch: layers that know their sizes, models built with them, and checkpointing of one layer."""

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import keras


class Sized:
    """A layer that knows the sizes of its inputs, so that building it needs no shape and creates all variables."""


class Layer(Sized, keras.layers.Layer):
    """A layer of sized sub-layers."""

    def build(self, input_shape: Any = None) -> None:
        build_children(self)


class BuiltAfterInit(type(keras.Model)):
    """Builds a model after its outermost `__init__`, when the layers that a subclass adds are there too.

    These layers also get the model's dtype unless they are given one.
    """

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        with dtype_scope(kwargs.get("dtype")):
            model = super().__call__(*args, **accepted(cls, kwargs, optional=("dtype",)))
            build_model(model)
        return model


def accepted(cls: type, arguments: dict[str, Any], optional: tuple[str, ...]) -> dict[str, Any]:
    """The arguments without the optional ones that the `__init__` of a subclass does not take."""
    parameters = inspect.signature(cls.__init__).parameters.values()
    names = {parameter.name for parameter in parameters}
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return arguments
    return {name: value for name, value in arguments.items() if name in names or name not in optional}


def build_children(layer: keras.layers.Layer) -> None:
    """Build the sized sub-layers that are not built yet; called in `build`, so that variable paths follow the layers' names."""
    for child in parts(layer).values():
        if isinstance(child, Sized) and not child.built:
            child.build()


def build_model(model: Any) -> None:
    """Build a model whose `__init__` is done.

    Layers of the user's own get their shapes from a symbolic call. Where it fails, because they need a length, or inputs that
    cannot be guessed, the first call builds them.
    """
    with model._open_name_scope():
        build_children(model)
    if not unbuilt(model) and not takes_shapes(type(model).build):
        if not model.built:
            model.build(model.input_shapes())
        return
    for inputs in model.symbolic_inputs():
        try:
            call_symbolically(model, inputs)
        except Exception:  # whatever the user's `call` raises; the first call raises it again
            if any(variable._value is None for variable in model.variables):
                raise  # an initializer failed
        if not unbuilt(model):
            break
    model.is_waiting, model.first_inputs = bool(unbuilt(model)), None


def call_symbolically(model: keras.layers.Layer, *args: Any, **kwargs: Any) -> None:
    """Call a model on keras.KerasTensor, which builds its layers and computes nothing."""
    trace = keras.Operation()
    trace.call = model.__call__
    trace.compute_output_spec(*args, **kwargs)


def takes_shapes(build: Callable[..., None]) -> bool:
    """Whether a `build` cannot do without shapes."""
    parameters = list(inspect.signature(build).parameters.values())[1:]
    return any(parameter.default is parameter.empty for parameter in parameters)


def unbuilt(model: Any) -> list[str]:
    """The attributes with layers that have no weights yet, because the model was not called."""
    return [
        name
        for name, child in parts(model).items()
        if not all(layer.built for layer in child._flatten_layers(include_self=True))
    ]


def parts(layer: keras.layers.Layer) -> dict[str, keras.layers.Layer]:
    """{name: sub-layer} of one level, by the attributes that hold them; those in a list are numbered.

    A layer that an attribute does not hold any more, because a subclass has put another one in its place, is no part.
    """
    found: dict[str, keras.layers.Layer] = {}

    def visit(name: str, value: Any) -> None:
        if isinstance(value, keras.layers.Layer):
            if value not in found.values():
                found[name] = value
        elif isinstance(value, dict | list | tuple):
            pairs = value.items() if isinstance(value, dict) else enumerate(value)
            for key, item in pairs:
                visit(f"{name}.{key}", item)

    for name, value in vars(layer).items():
        if value is not layer._layers and not name.startswith("_self_"):  # which list all that were ever there
            visit(name.rstrip("_"), value)
    return found


def layers_by_name(model: keras.layers.Layer) -> dict[str, keras.layers.Layer]:
    """{canonical module name: layer} for all layers below a model, by the attributes that hold them."""
    found: dict[str, keras.layers.Layer] = {}

    def walk(layer: keras.layers.Layer, prefix: str) -> None:
        for name, child in parts(layer).items():
            if child not in found.values():
                found[prefix + name] = child
                walk(child, f"{prefix}{name}.")

    walk(model, "")
    return found


@contextlib.contextmanager
def dtype_scope(dtype: Any) -> Iterator[None]:
    """Make a dtype the default of layers; None changes nothing."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(before if dtype is None else keras.dtype_policies.get(dtype))
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def checkpoint(layer: keras.layers.Layer) -> Callable[..., tuple[Any, ...]]:
    """Call a layer, and recompute it in the backward pass; it returns a tuple, in which None stays None."""

    def call(hidden_states: Any, *arguments: Any, **keywords: Any) -> tuple[Any, ...]:
        absent: list[bool] = []

        def present(x: Any) -> list[Any]:
            outputs = layer(x, *arguments, **keywords)
            absent[:] = [output is None for output in outputs]
            return [output for output in outputs if output is not None]

        found = iter(keras.remat(present)(hidden_states))
        return tuple(None if missing else next(found) for missing in absent)

    return call
