"""Slow truths, written without hw1: TensorFlow's tapes on the model itself, NumPy, brute force, closed forms."""

import contextlib
import itertools

import numpy as np
import tensorflow as tf


def cross_entropy(y, outputs):
    """Softmax cross-entropy per example by TensorFlow's own op."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(y, outputs)


def softmax(logits):
    """Softmax of the rows of a NumPy array."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def softmax_curvature(y, logits):
    """The second derivative of the cross-entropy in the logits, diag(p) − ppᵀ, shape [n, classes, classes]."""
    p = softmax(logits)
    return p[:, :, None] * np.eye(logits.shape[1]) - p[:, :, None] * p[:, None, :]


def mean_squared_error(y, outputs):
    """The mean over the outputs of the squared errors of each example."""
    return tf.reduce_mean((outputs - y) ** 2, axis=1)


def flat(tensors):
    """One vector of the values of tensors (dense or sparse) or variables."""
    return np.concatenate([np.asarray(tf.convert_to_tensor(t)).ravel() for t in tensors])


def assign(model, theta):
    """Sets the trainable variables to a flat vector."""
    start = 0
    for variable in model.trainable_variables:
        size = int(np.prod(variable.shape))
        variable.assign(np.reshape(theta[start : start + size], variable.shape))
        start += size
    assert start == len(theta)


@contextlib.contextmanager
def moved(model, theta):
    """A context in which the trainable variables of a model have other values."""
    own = flat(model.trainable_variables)
    assign(model, theta)
    try:
        yield
    finally:
        assign(model, own)


def losses(model, x, y, loss=cross_entropy):
    """The loss of each example, in inference mode."""
    return np.asarray(loss(tf.constant(y), model(x, training=False)))


def accuracy(model, x, y):
    """The share of examples whose largest logit is their label's."""
    return np.mean(np.argmax(np.asarray(model(x, training=False)), axis=1) == y)


def evaluate(model, x, y, loss=cross_entropy):
    """Mean loss and accuracy."""
    return losses(model, x, y, loss).mean(), accuracy(model, x, y)


def loss_at(model, x, y, theta, loss=cross_entropy):
    """The mean loss at a flat parameter vector."""
    with moved(model, theta):
        return losses(model, x, y, loss).mean()


def gradient(model, x, y, loss=cross_entropy):
    """The gradient of the mean loss as a flat vector."""
    parameters = [v.value for v in model.trainable_variables]
    with tf.GradientTape() as tape:
        mean = tf.reduce_mean(loss(tf.constant(y), model(x, training=False)))
    return flat(tape.gradient(mean, parameters, unconnected_gradients="zero"))


def hessian(model, x, y, loss=cross_entropy):
    """The whole Hessian of the mean loss, one row after the other: the gradient of an entry of the gradient.

    The nested tapes are traced once for each call, which takes a third of the time of eager rows and gives their bits.
    """
    parameters, x, y = [v.value for v in model.trainable_variables], tf.constant(x), tf.constant(y)

    @tf.function(autograph=False)
    def row(unit):
        with tf.GradientTape() as outer:
            with tf.GradientTape() as tape:
                mean = tf.reduce_mean(loss(y, model(x, training=False)))
            gradients = tape.gradient(mean, parameters, unconnected_gradients="zero")
            entry = tf.reduce_sum(tf.concat([tf.reshape(g, [-1]) for g in gradients], axis=0) * unit)
        return [tf.convert_to_tensor(g) for g in outer.gradient(entry, parameters, unconnected_gradients="zero")]

    units = np.eye(len(flat(parameters)), dtype=parameters[0].dtype.as_numpy_dtype)
    return np.stack([flat(row(tf.constant(unit))) for unit in units])


def jacobian(model, x):
    """The derivative of all outputs in the parameters by one tape, shape [n, outputs, parameters]."""
    parameters = [v.value for v in model.trainable_variables]
    with tf.GradientTape() as tape:
        outputs = model(x, training=False)
    found = tape.jacobian(outputs, parameters, unconnected_gradients="zero")
    return np.concatenate([np.reshape(j, (*outputs.shape, -1)) for j in found], axis=2)


def gauss_newton(model, x, y, curvature):
    """G = mean Jᵀ (∂²ℓ/∂f²) J by the whole Jacobian; `curvature` gives ∂²ℓ/∂f² of (y, outputs) in closed form."""
    slopes = jacobian(model, x)
    return np.einsum("nap,nab,nbq->pq", slopes, curvature(y, np.asarray(model(x))), slopes) / len(x)


def input_gradients(model, x, y, loss=cross_entropy):
    """∂ℓ_i/∂x_i of one example after the other, each in a batch of its own; shape of x."""
    found = []
    for i in range(len(x)):
        image = tf.constant(x[i : i + 1])
        with tf.GradientTape() as tape:
            tape.watch(image)
            value = tf.reduce_sum(loss(tf.constant(y[i : i + 1]), model(image, training=False)))
        found.append(tape.gradient(value, image)[0])
    return np.array(found)


def difference_product(model, x, y, vector, loss=cross_entropy, step=1e-5):
    """Hv by central differences of gradients; with this step the error is about 1e-10 of third derivatives."""
    theta = flat(model.trainable_variables)
    slopes = []
    for sign in (1, -1):
        with moved(model, theta + sign * step * vector):
            slopes.append(gradient(model, x, y, loss))
    return (slopes[0] - slopes[1]) / (2 * step)


def block_diagonal(model, matrix):
    """The diagonal blocks of a matrix of all parameters, one per trainable variable."""
    ends = np.cumsum([0, *(int(np.prod(v.shape)) for v in model.trainable_variables)])
    return [matrix[a:b, a:b] for a, b in itertools.pairwise(ends)]


def softmax_regression(kernel, bias, x, y):
    """Closed forms of softmax regression in NumPy: gradient and Hessian in (kernel, bias), slopes in the input.

    With p the probabilities, x̃ = (x, 1) and e the unit vector of the label, the gradient is mean (p − e) ⊗ x̃, the
    Hessian mean (diag(p) − ppᵀ) ⊗ x̃x̃ᵀ; in the input the loss has the gradient W(p − e), the probabilities the
    Jacobian (diag(p) − ppᵀ)Wᵀ.

    Returns:
        A dict of ``gradient`` [parameters], ``hessian`` [parameters, parameters], in the order of a Keras Dense layer,
        ``input_gradient`` [n, inputs] and ``jacobian`` [n, classes, inputs].
    """
    x = x.reshape(len(x), -1)
    inputs, classes = kernel.shape
    p = softmax(x @ kernel + bias)
    one_hot = np.eye(classes)[y]
    extended = np.hstack([x, np.ones((len(x), 1))])
    spread = p[:, :, None] * np.eye(classes) - p[:, :, None] * p[:, None, :]
    # Keras flattens the kernel [inputs, classes] row by row and appends the bias: index (input, class).
    hessian = np.einsum("nab,ni,nj->iajb", spread, extended, extended) / len(x)
    size = (inputs + 1) * classes
    return {
        "gradient": (np.einsum("na,ni->ia", p - one_hot, extended) / len(x)).ravel(),
        "hessian": hessian.reshape(size, size),
        "input_gradient": (p - one_hot) @ kernel.T,
        "jacobian": spread @ kernel.T,
    }


def largest_in_box(function, bound, points=2):
    """The largest value of `function` on a grid over the box |z_i| ≤ bound_i; two points a side are its corners."""
    axes = [np.linspace(-b, b, points) for b in bound]
    return max(function(np.array(z)) for z in itertools.product(*axes))


def ascend_in_box(model, x, y, bound, starts, steps):
    """The largest loss that plain projected gradient ascent meets in the box |θ' − θ| ≤ bound, step after step.

    Steps are measured in the box's own sides, the largest coordinate moving by a length that shrinks from 0.5 to 0.005.
    """
    theta, best = flat(model.trainable_variables), -np.inf
    for z in starts:
        for length in np.geomspace(0.5, 0.005, steps):
            with moved(model, theta + z):
                best = max(best, losses(model, x, y).mean())
                slope = gradient(model, x, y) * bound
            z = np.clip(z + length * bound * slope / np.abs(slope).max(), -bound, bound)
        best = max(best, loss_at(model, x, y, theta + z))
    return best


def largest_on_sphere(hessian, gradient, radius):
    """The maximum of ½ zᵀHz + gᵀz over ‖z‖ = radius, by the secular equation ‖(νI − H)⁻¹g‖ = radius, ν > λ₁.

    Bisection for ν. Where g has no part along the first eigenvector ("the hard case") ν is λ₁ itself.
    """
    values, vectors = np.linalg.eigh(hessian)
    along = vectors.T @ gradient

    def length(nu):
        return np.linalg.norm(along / (nu - values))

    low, high = values[-1] + 1e-13 * max(1, abs(values[-1])), values[-1] + np.linalg.norm(gradient) / radius + 1
    if length(low) < radius:
        others = values < values[-1] - 1e-9
        z = np.where(others, along / np.where(others, values[-1] - values, 1), 0)
        z[-1] = np.sqrt(radius**2 - z @ z)
    else:
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if length(middle) > radius else (low, middle)
        z = along / (high - values)
    return float(values @ z**2 / 2 + along @ z)


def orders(seed, n, batch_size):
    """The batches of a member, for ever: rows of the training set, a new order every epoch."""
    rng = np.random.default_rng([seed, 1])
    while True:
        order = rng.permutation(n)
        for start in range(0, n, batch_size):
            yield order[start : start + batch_size]


def train(
    model, data, *, batch_size, updates, optimizer, seed, loss=cross_entropy, inputs=None, inner_steps=1, proximal=0.0
):
    """Trains an ordinary Keras model in place by an ordinary loop of tapes, one update after the other.

    Each mini-batch is given `inner_steps` steps, with a pull of strength `proximal` to the parameters at its start.
    With `inputs`, a function (model, x, y) -> x', half of the loss is that of the moved inputs.

    Returns:
        The loss of every mini-batch and the norm of its gradient, before the first step; shape [updates] each.
    """
    batches = orders(seed, len(data.x_train), batch_size)
    values, norms = [], []
    for rows, _ in zip(batches, range(updates), strict=False):
        x, y = data.x_train[rows], tf.constant(data.y_train[rows])
        start = flat(model.trainable_variables)
        for number in range(inner_steps):
            pull = proximal * (flat(model.trainable_variables) - start)
            moved_x = None if inputs is None else inputs(model, x, y)
            with tf.GradientTape() as tape:
                value = tf.reduce_mean(loss(y, model(x, training=True)))
                if inputs is not None:
                    value = (value + tf.reduce_mean(loss(y, model(moved_x, training=True)))) / 2
                total = tf.add_n([value, *model.losses])
            gradients = tape.gradient(total, [v.value for v in model.trainable_variables], unconnected_gradients="zero")
            if number == 0:
                values.append(float(value))
                norms.append(np.sqrt(sum(np.sum(flat([g]) ** 2) for g in gradients)))
            ends = np.cumsum([0, *(int(np.prod(v.shape)) for v in model.trainable_variables)])
            gradients = [
                tf.convert_to_tensor(g) + np.reshape(pull[a:b], g.shape)
                for g, (a, b) in zip(gradients, itertools.pairwise(ends), strict=True)
            ]
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    return np.array(values), np.array(norms)
