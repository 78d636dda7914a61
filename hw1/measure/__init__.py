"""How flat is your own net? Measures a saved Keras model, with the error of every value.

    python -m hw1.measure --net=my_net.keras                  two minutes for 24,380 parameters on two cores
    python -m hw1.measure --net=my_net.keras --data=fashion10k --out=card
    python -m hw1.measure --net=a.keras --net=b.keras --out=card            side by side

A net is a .keras file, an .h5 file, or a SavedModel folder that Keras 2 wrote; no code from it runs. It must take the
inputs of the data set (pixels in [0, 1], or those times --pixels) and output logits. Of a net that ends in a softmax or
a sigmoid, --probabilities takes that off; the rest is compared with the net. A channel axis is added to the images, or
they are flattened, if the net expects it. Labels are the numbers of the net's outputs; they are numbered from 0 where
the net has as many outputs as there are labels. For inputs that are no images, such as tables and sequences, --raw
takes the arrays of an .npz, or the columns of a table, as they are. --out=FOLDER gets card.csv, card.json, and
card.html and card.pdf with the pictures. What would take longer than --minutes is left out, and named; so is what
cannot be measured of a net. Ctrl-C keeps what was measured.

In Python: `hw1.measure.card(model, data)`, of a net of probabilities `card(logits(model), data)`; during training: the
callback `hw1.measure.Flatness`.

The rows, with L the mean loss, θ the parameters and H the Hessian of L. Unless --loss says otherwise, L is the loss of
Keras that the net was compiled with, a cross-entropy on logits; of a net without one, or with one that cannot be
measured, the softmax cross-entropy in nats, of one output the binary one. What is not the default is said. An .h5
file has a function's name only: one of your own called mse is taken for that of Keras. All examples count alike:
`class_weight` and `sample_weight` of `fit` are in no file.

    parameters                number of trainable parameters
    train_loss, train_accuracy, test_loss, test_accuracy
                              L and the fraction of correct predictions, on all training and on all test examples
    margin_median, margin_tenth_percentile
                              of right logit − largest other, over the training examples
    spectral_norm_full        largest |eigenvalue| of H
    trace, layer_trace/LAYER  trace of H, and of each layer's block, by Hutch++, exact up to 100 parameters
    loss_gradient_norm        mean over examples of the norm of the gradient of an example's loss in its input
    whole_loss_gradient_norm  norm of the gradient of L in all inputs together; the more examples, the smaller
    jacobian_norm             mean over examples of the norm of the Jacobian of the class probabilities
    spectral_norm_block       largest |eigenvalue| of H without the blocks between two variables, as in `tf.hessians`
    hessian_sharpness         the course's ‖H‖₂ ε² / (2 (1 + L)) with the norm of the blocks and ε = --epsilon
    adaptive_norm, adaptive_trace
                              largest |eigenvalue| and trace of |θ| H |θ|, relative to the size of each parameter
    adaptive_average          mean rise of L if each parameter changes by a normal 10 % of itself
    adaptive_worst            largest rise of L found for a relative change of norm 0.5
    pac_bayes_sigma           largest normal perturbation of the parameters with a mean rise of L below --rise
    keskar_box                Keskar's sharpness in per cent: the largest L in a box of --keskar_epsilon around the net
    keskar_subspace           the same within a random subspace of --manifold dimensions
    frobenius_norm            Frobenius norm of H, by Hutch++
    gauss_newton_norm         largest eigenvalue of the Gauss–Newton part of H, which ignores the curvature of the net
    outliers                  number of eigenvalues above the last gap wider than a hundredth of the largest
    smallest_eigenvalue       the most negative eigenvalue
    layer_norm/LAYER          largest |eigenvalue| of a layer's block of H

The Hessian is that of the first --examples training examples; so are the adaptive measures and pac_bayes_sigma.
Keskar's sharpness and the margins are measured on all training examples, the sensitivities on the test examples. L is
the loss of the data alone. If the net has losses of its own, such as L2 regularisation, measures of L are followed by
those of the whole objective, named `…_regularized`. A net in half precision is measured as a float32 copy.

After ± stands the standard error: of random probes and draws, of what Lanczos leaves, and of the choice of examples
(jackknife over ten chunks of them), as the root of the sum of squares; card.csv has each. The column "for ± 5 %" says
on how many examples the last of these would be 5 % of the value. It does not say how much a net trained anew would
differ. Nets of images are ranked among this project's nets, where the loss is the cross-entropy: these are nets of
MNIST, and say nothing of tables or tokens. hw1/measures explains each measure and names its source.
"""

import importlib

_PLACES = {
    "Card": ".cards",
    "Flatness": ".callback",
    "Row": ".rows",
    "Settings": ".work",
    "card": ".cards",
    "load": "hw1.saved",
    "logits": "hw1.saved",
    "main": ".__main__",
}
__all__ = list(_PLACES)


def __getattr__(name: str):
    """Imports what is asked for: the command's help needs no TensorFlow."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name], __name__), name)
