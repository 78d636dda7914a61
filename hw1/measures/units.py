"""Which weights belong to which hidden units of a net, found by following its graph.

Every tensor carries the names of the groups of units along its last axis. A dense or convolutional layer begins a
group. Activations, pooling, normalisation and dropout pass it on. Flattening repeats it, once for each place of the
image. A sum of two tensors makes one group of two. Groups that reach an output are fixed, and those of the inputs.
"""

import keras
import numpy as np

L = keras.layers
_KERNELS = {L.Dense, L.Conv1D, L.Conv2D, L.Conv3D}
_PLAIN = """
    Activation ActivityRegularization AlphaDropout Dropout ELU GaussianDropout GaussianNoise Identity LeakyReLU ReLU
    SpatialDropout1D SpatialDropout2D SpatialDropout3D
    AveragePooling1D AveragePooling2D AveragePooling3D MaxPooling1D MaxPooling2D MaxPooling3D
    GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D
    GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D
    Cropping1D Cropping2D Cropping3D UpSampling1D UpSampling2D UpSampling3D
    ZeroPadding1D ZeroPadding2D ZeroPadding3D
"""
_PLAIN = {getattr(L, name) for name in _PLAIN.split()}  # what treats every unit alike and by itself
_MERGING = {L.Add, L.Average, L.Maximum, L.Minimum, L.Multiply, L.Subtract}
_OPERATIONS = {"Add", "Maximum", "Minimum", "Multiply", "Subtract"}  # the same as operations, such as x + y


def functional(model):
    """The graph of a Sequential or Functional model; ValueError for any other, and for layers whose units are fixed."""
    graph = model._functional if isinstance(model, keras.Sequential) else model
    if not hasattr(graph, "_run_through_graph"):
        raise ValueError(
            f"model {model.name!r} is written as a class, which does not tell how its layers are connected: units can "
            "be matched in Sequential and Functional models only"
        )
    for layer in model._flatten_layers():
        first = getattr(layer, "data_format", None) == "channels_first" or getattr(layer, "groups", 1) > 1
        special = getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None)
        if type(layer) in _KERNELS and (first or special):
            raise ValueError(
                f"layer {layer.name!r} cannot be permuted: it has groups of channels, channels first, LoRA or "
                "quantised weights"
            )
    return graph


def elementwise(activation) -> bool:
    """Whether each output of an activation depends on the one input in its place alone, and on all in the same way."""
    if activation is None:
        return True
    x = np.random.default_rng(0).standard_normal((4, 6)).astype("float32")
    try:
        whole, alone = (np.asarray(activation(keras.ops.convert_to_tensor(part))) for part in (x, x[:, :1]))
        mirrored = np.asarray(activation(keras.ops.convert_to_tensor(x[:, ::-1].copy())))[:, ::-1]
    except Exception:  # an activation for tensors of another shape
        return False
    return all(
        part.shape == other.shape and np.allclose(part, other, rtol=1e-4, atol=1e-6)
        for part, other in ((whole, mirrored), (whole[:, :1], alone))
    )


def axes(axis, rank) -> set[int]:
    """The axes of a layer that normalises over one or several, counted from 0."""
    return {each % rank for each in (axis if isinstance(axis, list | tuple) else [axis])}


class Tensor:
    """A tensor on some examples, with the groups of units along its last axis, one block after the other."""

    def __init__(self, value, blocks):
        """Remembers both; `blocks` is a list of groups."""
        self.value, self.blocks = value, blocks


class Graph:
    """The groups of hidden units of a net, and which axes of which variables they count.

    Attributes:
        sizes: number of units of each group.
        layers: name of a layer with a kernel -> the groups of its units.
        held: the group of each tensor that holds one group alone, in the order of the calls.
        axes: number of a variable -> axis -> the groups along it.
    """

    def __init__(self, model, inputs):
        """Follows the net on some examples; ValueError, naming the layer, for what cannot be permuted."""
        self.model, self.sizes, self.layers, self.held, self.axes = model, [], {}, [], {}
        self._parents, self._fixed, self._refusals, self._values = [], set(), [], []
        self._numbers = {id(variable): number for number, variable in enumerate(model.variables)}
        outputs = self._follow(inputs)
        for output in outputs:
            self._fixed |= set(output.blocks)
        fixed = {self.root(group) for group in self._fixed}
        self._fixed = fixed
        for blocks, message in self._refusals:
            if {self.root(group) for group in blocks} - fixed:
                raise ValueError(message)

    def root(self, group) -> int:
        """The first of the groups that have one order with this one."""
        while self._parents[group] != group:
            group = self._parents[group]
        return group

    def free(self) -> list[int]:
        """The groups that may be permuted, from the inputs to the outputs."""
        roots = dict.fromkeys(self.root(group) for group in range(len(self.sizes)))
        return [group for group in roots if group not in self._fixed]

    def split(self) -> tuple[list[str], list[str]]:
        """The names of the layers whose units may be permuted, and of those whose units keep their places."""
        found = [], []
        for name, units in self.layers.items():
            found[all(self.root(group) in self._fixed for group in units)].append(name)
        return found

    def activations(self, inputs) -> list:
        """The values of the tensors in `held` on the inputs."""
        again = Graph(self.model, inputs)
        return again._values

    def permuted(self, number, array, orders, but=None) -> np.ndarray:
        """The values of a variable with all groups in their orders, `but` one axis."""
        for axis, blocks in self.axes.get(number, {}).items():
            if axis != but:
                starts = np.cumsum([0, *(self.sizes[group] for group in blocks)])
                rows = [
                    start + orders.get(self.root(group), np.arange(self.sizes[group]))
                    for start, group in zip(starts, blocks, strict=False)
                ]
                array = np.take(array, np.concatenate(rows), axis=axis)
        return array

    def product(self, ours, theirs, orders) -> float:
        """θ_a · θ_b after permutation, over the variables that have units."""
        pairs = ((ours[n], self.permuted(n, theirs[n], orders)) for n in self.weights())
        return sum(float((a * b).sum()) for a, b in pairs)

    def similarity(self, group, ours, theirs, orders, known=None) -> np.ndarray:
        """What each unit of model_b adds to θ_a · θ_b in the place of each unit of model_a, shape [units, units].

        With `known`, only from weights whose other axes are fixed or of known groups.
        """
        found = np.zeros((self.sizes[group],) * 2)
        for number in self.weights():
            for axis, blocks in self.axes[number].items():
                others = {self.root(g) for a, groups in self.axes[number].items() if a != axis for g in groups}
                if known is not None and others - self._fixed - known:
                    continue
                start = 0
                a, b = (
                    np.moveaxis(v, axis, 0) for v in (ours[number], self.permuted(number, theirs[number], orders, axis))
                )
                for block in blocks:
                    end = start + self.sizes[block]
                    if self.root(block) == group:
                        found += a[start:end].reshape(end - start, -1) @ b[start:end].reshape(end - start, -1).T
                    start = end
        return found

    def weights(self) -> list[int]:
        """The variables with units, but for the averages that batch normalisation keeps, which are no parameters."""
        names = [variable.name for variable in self.model.variables]
        return [number for number in self.axes if not names[number].startswith(("moving_", "renorm_"))]

    # Following the net

    def _follow(self, inputs) -> list[Tensor]:
        """The outputs of the net."""
        with keras.StatelessScope():
            given = [Tensor(array, [self._new(array.shape[-1], fixed=True)]) for array in inputs]
            return keras.tree.flatten(self._run(self.model, given))

    def _run(self, model, inputs):
        return functional(model)._run_through_graph(inputs, call_fn=self._call)

    def _new(self, size, fixed=False) -> int:
        self.sizes.append(int(size))
        self._parents.append(len(self._parents))
        if fixed:
            self._fixed.add(len(self._parents) - 1)
        return len(self._parents) - 1

    def _call(self, layer, *args, **kwargs):
        """What `_run_through_graph` does for each layer or operation."""
        tensors = [each for each in keras.tree.flatten((args, kwargs)) if isinstance(each, Tensor)]
        if isinstance(layer, keras.Model):
            return self._run(layer, tensors)
        args, kwargs = keras.tree.map_structure(
            lambda each: each.value if isinstance(each, Tensor) else each, (args, kwargs)
        )
        outputs = layer(*args, **kwargs)
        blocks = self._blocks(layer, tensors, keras.tree.flatten((args, kwargs)))
        if blocks is None:  # nothing is known of it: units must keep their places before it, and do behind it
            self._refuse(layer, tensors)
            return keras.tree.map_structure(lambda v: Tensor(v, [self._new((1, *v.shape)[-1], fixed=True)]), outputs)
        if len(blocks) == 1:
            self.held.append(blocks[0])
            self._values.append(outputs)
        return Tensor(outputs, blocks)

    def _refuse(self, layer, tensors, why="treats units differently, or mixes them") -> None:
        """Remembers that a layer cannot be permuted; ValueError at once if it has weights of its own."""
        message = (
            f"layer {layer.name!r} ({type(layer).__name__}) cannot be permuted: it {why}. Dense layers, convolutions, "
            "element-wise activations, pooling, dropout, flattening, batch and layer normalisation can"
        )
        if getattr(layer, "trainable_weights", None) and type(layer) not in _KERNELS:
            raise ValueError(message)
        self._refusals.append(([group for tensor in tensors for group in tensor.blocks], message))

    def _blocks(self, layer, tensors, arguments) -> list[int] | None:
        """The groups along the last axis of a layer's output; None if nothing is known of the layer."""
        kind, first = type(layer), tensors[0]
        rank = len(first.value.shape)
        last = (-1, rank - 1)
        if kind in _KERNELS:
            return self._kernel(layer, first)
        if getattr(layer, "data_format", None) == "channels_first" and rank > 2:
            return None
        if kind in _PLAIN:
            if not elementwise(getattr(layer, "activation", None)):
                self._refuse(layer, tensors, "has an activation that is not element-wise")
            return first.blocks
        if kind is L.Flatten:
            return first.blocks * int(np.prod(first.value.shape[1:-1]))
        if kind is L.BatchNormalization and layer.axis in last:
            return self._vectors(layer.variables, first.blocks)
        if kind is L.LayerNormalization and axes(layer.axis, rank) == {rank - 1}:
            return self._vectors((layer.gamma, layer.beta), first.blocks)
        if kind is L.PReLU:
            return self._vectors((layer.alpha,) if layer.alpha.shape[-1] > 1 else (), first.blocks)
        if kind is L.Concatenate and layer.axis in last:
            return [group for tensor in tensors for group in tensor.blocks]
        merging = kind in _MERGING or (kind.__module__ == "keras.src.ops.numpy" and kind.__name__ in _OPERATIONS)
        arrays = [each for each in arguments if keras.ops.is_tensor(each) or isinstance(each, np.ndarray)]
        if merging and len(arrays) == len(tensors) and self._unite(*(tensor.blocks for tensor in tensors)):
            return first.blocks
        return None

    def _kernel(self, layer, tensor) -> list[int] | None:
        """A group of new units, or that which the layer had when it was called before."""
        kernel = self._numbers.get(id(layer._kernel))
        if kernel is None:
            raise ValueError(f"layer {layer.name!r} cannot be permuted: its kernel is no variable of the model")
        axis, count = len(layer._kernel.shape) - 1, layer._kernel.shape[-1]
        units = self.axes[kernel][axis] if kernel in self.axes else [self._new(count)]
        self._hold(layer._kernel, axis - 1, tensor.blocks)
        self._hold(layer._kernel, axis, units)
        self.layers[layer.name] = units
        output = self._vectors((layer.bias,), units)
        if not elementwise(layer.activation):
            self._refuse(layer, [Tensor(None, units)], "has an activation that is not element-wise")
        return output

    def _vectors(self, variables, blocks) -> list[int]:
        """Remembers that the last axis of some variables, if they exist, counts these groups."""
        for variable in variables:
            if variable is not None:
                self._hold(variable, len(variable.shape) - 1, blocks)
        return blocks

    def _hold(self, variable, axis, blocks) -> None:
        held = self.axes.setdefault(self._numbers[id(variable)], {}).setdefault(axis, blocks)
        if not self._unite(held, blocks):
            raise ValueError(f"{variable.path} is used twice, for different units: it cannot be permuted")

    def _unite(self, first, *others) -> bool:
        """Gives groups that stand in the same places one order; False if their sizes differ."""
        sizes = [[self.sizes[group] for group in blocks] for blocks in (first, *others)]
        if any(each != sizes[0] for each in sizes):
            return False
        for blocks in others:
            for pair in zip(first, blocks, strict=True):
                low, high = sorted(map(self.root, pair))
                self._parents[high] = low
        return True
