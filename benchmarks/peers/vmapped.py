"""The worker that trains `grid`'s nets by JAX: python -m benchmarks.peers.vmapped FILE THREADS, started by `speed`.

One net's training is a `lax.scan` over its steps, compiled for all nets by `vmap`.
"""

import sys

import jax
import jax.numpy as jnp

from benchmarks.peers import grid
from benchmarks.peers.worker import Case, serve, start_on


def cases() -> dict[str, Case]:
    """The training, compiled."""
    data = {key: jnp.asarray(value) for key, value in grid.problem().items()}
    start = tuple(data[f"weights/{number}"] for number in range(4))

    def outputs(weights, x):
        first, bias, second, other = weights
        return jax.nn.relu(x @ first + bias) @ second + other

    def loss(weights, x, y):
        return -jnp.take_along_axis(jax.nn.log_softmax(outputs(weights, x)), y[:, None], axis=1).mean()

    def train(weights, order, rate, momentum):
        def step(state, rows):
            weights, velocities = state
            slopes = jax.grad(loss)(weights, data["x"][rows], data["y"][rows])
            velocities = tuple(momentum * v - rate * g for v, g in zip(velocities, slopes, strict=True))
            return (tuple(w + v for w, v in zip(weights, velocities, strict=True)), velocities), None

        (weights, _), _ = jax.lax.scan(step, (weights, tuple(map(jnp.zeros_like, weights))), order)
        return weights

    everything = jax.jit(jax.vmap(train))
    orders = data["order"].transpose(1, 0, 2)

    def run():
        return jax.block_until_ready(everything(start, orders, data["rates"], data["momenta"]))

    final = jax.vmap(loss, in_axes=(0, None, None))(run(), data["x"], data["y"]).mean()
    return {f"{grid.NAME}: JAX, vmap of scan": Case(run, 1, f"final loss {final:.4f}")}


if __name__ == "__main__":
    start_on(int(sys.argv[2]), jax.devices)
    serve(cases(), {"jax": jax.__version__, "threads": sys.argv[2]})
