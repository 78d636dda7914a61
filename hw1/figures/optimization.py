"""The figures of part 1-2. Each function takes the rows and the settings of a question and gives a figure."""

from matplotlib.colors import LogNorm

from hw1.figures import style

METHODS = {"gradient norm": "Adam on ‖∇L‖²", "newton": "second-order steps"}
RATIOS = {"minimal_ratio": "eigenvalues > 0 (share)", "minimal_ratio_sampled": "higher neighbours (share)"}


def zero_gradient(frame, settings):
    """Loss against the minimal ratio, a point per net in the colour of its gradient's norm, by both definitions."""
    figure, panels = style.figure(1, 4, 2.6, sharey=True)
    colours = LogNorm(frame.gradient_norm.min(), frame.gradient_norm.max())
    pairs = [(method, ratio) for method in METHODS for ratio in RATIOS]
    for axes, (method, ratio) in zip(panels, pairs, strict=True):
        rows = frame[frame.method == method]
        dots = axes.scatter(rows[ratio], rows.loss, s=9, c=rows.gradient_norm, norm=colours, cmap="viridis", zorder=2)
        axes.set(yscale="log", xlim=(-0.03, 1.03), xlabel=RATIOS[ratio], title=METHODS[method])
        axes.xaxis.label.set_fontsize(6.5)
    panels[0].set_ylabel("loss (mean squared error)")
    figure.colorbar(dots, ax=panels, label="‖∇L‖₂ reached", pad=0.01)
    return figure
