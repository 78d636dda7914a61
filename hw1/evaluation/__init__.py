"""What training and every measure share: the loss, checks of the input, and a Keras model as a pure function.

- `losses`: softmax cross-entropy, or any other loss, as one value per example.
- `examples`: checks of a model and of the examples it is measured on; the examples in chunks.
- `architectures`: which models compute the same function of their variables, and which are faster under XLA.
- `functional`: a model as ``forward(parameters, state, x)``; programs compiled once per architecture.
- `means`: mean loss, accuracy and gradient over all examples.
"""

from hw1.evaluation.architectures import all_layers, architecture, clone, consists_of, jit_compile
from hw1.evaluation.examples import Example, check, check_model, chunks
from hw1.evaluation.functional import compiled, flatten, remember, unflatten, variables
from hw1.evaluation.losses import cross_entropy, per_example
from hw1.evaluation.means import evaluate, evaluate_at, evaluate_sets, objective

__all__ = [
    "Example",
    "all_layers",
    "architecture",
    "check",
    "check_model",
    "chunks",
    "clone",
    "compiled",
    "consists_of",
    "cross_entropy",
    "evaluate",
    "evaluate_at",
    "evaluate_sets",
    "flatten",
    "jit_compile",
    "objective",
    "per_example",
    "remember",
    "unflatten",
    "variables",
]
