"""What training and every measure share: the loss, checks of the input, and a Keras model as a pure function.

- `problem`: what a measure is computed on, checked: model, examples and loss.
- `losses`: softmax cross-entropy, or any other loss, as one value per example.
- `examples`: arrays or the batches of a data set. `checks`: of models, outputs and targets.
- `functional`: a model as a pure function of its variables; programs that are compiled from it. `tracing`: how it is
  traced. `graphs`: what its graph tells. `partial`: programs whose arguments but one are fixed.
- `layers`: which layer owns which variable. `cloning`: models made anew. `statistics`: of batch normalisation.
- `architectures`: which models compute the same function of their variables, and which are faster under XLA.
- `means`: mean loss, accuracy and gradient over all examples.
"""

from hw1.evaluation.architectures import all_layers, architecture, consists_of, jit_compile
from hw1.evaluation.checks import check_model
from hw1.evaluation.cloning import clone
from hw1.evaluation.functional import Net, compiled, flatten, remember, stateless, unflatten, variables
from hw1.evaluation.losses import cross_entropy, per_example
from hw1.evaluation.means import evaluate, evaluate_all, evaluate_at, evaluate_sets, objective
from hw1.evaluation.partial import fix
from hw1.evaluation.problem import Options, Problem, check

__all__ = [
    "Net",
    "Options",
    "Problem",
    "all_layers",
    "architecture",
    "check",
    "check_model",
    "clone",
    "compiled",
    "consists_of",
    "cross_entropy",
    "evaluate",
    "evaluate_all",
    "evaluate_at",
    "evaluate_sets",
    "fix",
    "flatten",
    "jit_compile",
    "objective",
    "per_example",
    "remember",
    "stateless",
    "unflatten",
    "variables",
]
