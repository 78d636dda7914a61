"""What the report says about part 1-2. Each function takes rows and settings and gives title, caption and comment."""

import numpy as np
import scipy.stats

NEAR = 1e-8  # ‖∇L‖₂ below which the gradient counts as zero
PLATEAU = 0.087  # the variance of sin(5πx)/(5πx) on (0, 1]: the least loss of a constant output


def zero_gradient(frame, settings) -> dict:
    """Comment on the end points of both methods."""
    by = {name: frame[frame.method == name] for name in ("gradient norm", "newton")}
    newton, norm = by["newton"], by["gradient norm"]
    near = {name: int((rows.gradient_norm < NEAR).sum()) for name, rows in by.items()}
    first = (
        f"From the same {len(newton)} trained nets (median loss {newton.trained_loss.median():.2g}) the second-order steps bring "
        f"{near['newton']} below ‖∇L‖₂ = {NEAR:g} (median {newton.gradient_norm.median():.1e}, largest {newton.gradient_norm.max():.1e}), "
        f"Adam on ‖∇L‖² {near['gradient norm']} (median {norm.gradient_norm.median():.1e}). Their median losses are "
        f"{newton.loss.median():.1e} and {norm.loss.median():.1e}. "
    )
    if norm.gradient_norm.median() > 10 * newton.gradient_norm.median():
        first += (
            "The valleys of ‖∇L‖² are as narrow as those of the loss squared, so a first-order method crawls in them. "
        )
    minima = {name: int((rows.negative == 0).sum()) for name, rows in by.items()}
    depth = (newton.smallest_eigenvalue / newton.largest_eigenvalue).median()
    second = (
        f"With every eigenvalue beyond the rounding of H counted, {minima['newton']} of the end points of the second-order steps "
        f"and {minima['gradient norm']} of the others have no negative one. "
    )
    if minima["newton"] < len(newton):
        second += (
            f"But the most negative eigenvalue of the former is {depth:.0e} of the largest (median): the points "
            "are neither proven minima nor proper saddles. Its size is that of the residuals' part of H, which vanishes with the loss. "
        )
    on_plateau = int((np.abs(frame.loss - PLATEAU) < 0.1 * PLATEAU).sum())
    second += (
        f"{on_plateau or 'None'} of the end points lie{'s' if on_plateau == 1 else ''} on the slides' plateau at loss {PLATEAU:g}, that of a constant "
        "output, where a net of dead units stays; a tanh has none. "
    )
    third = _definitions(newton)
    return {
        "title": "Points of zero gradient",
        "method": f"Nets 1-{'-'.join(map(str, settings['hidden']))}-1 in float64; both methods start from the same trained nets.",
        "caption": "Loss of the final point against the minimal ratio by both definitions, a point per net, for both methods.",
        "comment": [first, second + third],
    }


def _definitions(rows) -> str:
    """What the two definitions of the minimal ratio say, and how they go with the loss."""
    low, high = rows.minimal_ratio.min(), rows.minimal_ratio.max()
    sampled, text = rows.minimal_ratio_sampled, ""
    if rows.minimal_ratio.nunique() > 1 and rows.loss.nunique() > 1:
        rank, chance = scipy.stats.spearmanr(rows.minimal_ratio, rows.loss)
        trend = (
            "no rank correlation with the loss can be told from 0" if chance > 0.05 else "ratio and loss go together"
        )
        if chance <= 0.05 and rank < 0:
            trend = "the ratio is the higher the lower the loss"
        text = f" ({trend}; Spearman {rank:.2f}, p = {chance:.2g})"
    text = f"The share of positive eigenvalues is {low:.2f} to {high:.2f}{text}; of the sampled neighbours {sampled.min():.2f} to {sampled.max():.2f} have a higher loss. "
    if np.median(sampled) > np.median(rows.minimal_ratio) + 0.2:
        text += (
            "The definitions disagree because one counts directions and the other weighs them by curvature: a few steep "
            "directions decide what happens to a random neighbour."
        )
    elif np.abs(sampled - rows.minimal_ratio).max() < 0.1:
        text += "The definitions agree."
    return text


QUESTIONS = {"zero_gradient": zero_gradient}
