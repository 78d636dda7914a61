"""The loss that a net was compiled with: read from a saved net without its code, and what of it can be measured."""

from hw1 import quiet  # noqa: F401, I001
import inspect

import keras

from hw1.evaluation import losses

_CROSS_ENTROPIES = ("sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy")
_OF_BATCHES = ("circle", "dice", "tversky", "ctc")  # losses that compare the examples of a batch, or have other targets
_LOST = {"self", "kwargs", "name", "reduction", "dtype", "axis", "ignore_class"}  # not in each file: the default ones
_REMEDY = "--loss (in Python loss=) chooses another"


def give(model, config: dict | None):
    """Gives a model that is not compiled the loss with which it was saved, as ``model.loss``.

    Args:
        model: as it was made from its configuration; it stays without an optimizer.
        config: of its compilation, as Keras writes it, or None. Only losses of Keras itself are made of it; others, and
            those with weights of the outputs, become a text that describes them. No code runs.

    Returns:
        The model.
    """
    config = config or {}
    loss = _read(config.get("loss"))
    model.loss = f"{described(loss)} with loss_weights" if loss is not None and config.get("loss_weights") else loss
    return model


def _read(config):
    """A loss of a configuration: an object or a name of Keras; a text that Keras does not know for any other."""
    if config is None or isinstance(config, str):
        return config
    if isinstance(config, list):
        return [_read(part) for part in config]
    if "class_name" not in config:
        return {name: _read(part) for name, part in config.items()}
    name, settings, module = str(config["class_name"]), config.get("config"), config.get("module", "keras.losses")
    if name == "function":  # of Keras or not: a function of one's own may be called mse
        return f"the function {settings} whose code is not in the file"
    kind, text = getattr(keras.losses, name, None), f"{module or 'its own'} {name}"
    if module != "keras.losses" or not inspect.isclass(kind) or not isinstance(settings, dict):
        return text
    ignored = {"name", "dtype", "fn"} | ({"reduction"} if settings.get("reduction") == "auto" else set())  # of Keras 2
    given = {key: value for key, value in settings.items() if key not in ignored}
    if lost := set(inspect.signature(kind.__init__).parameters) - {*settings, *_LOST}:
        return f"{name} whose {', '.join(sorted(lost))} is not in the file"  # as Keras saves Huber
    try:
        return kind(**given) if all(map(_is_plain, given.values())) else text
    except (TypeError, ValueError):  # a setting that this version of Keras does not have
        return text


def _is_plain(value) -> bool:
    """Whether a setting is a number, a text, None, or a list of such."""
    return all(map(_is_plain, value)) if isinstance(value, list) else not isinstance(value, dict)


def _each(loss) -> list:
    """The losses of several outputs, or the one."""
    return list(loss.values()) if isinstance(loss, dict) else loss if isinstance(loss, list) else [loss]


def _of(model):
    """The loss of a model's compilation, of one output as such, a function of Keras by its name; None without."""
    loss = getattr(model, "loss", None)
    if not isinstance(loss, str | keras.losses.Loss | list | dict) and not inspect.isroutine(loss):
        return None
    loss = _each(loss)[0] if len(_each(loss)) == 1 else loss
    return loss.__name__ if inspect.isroutine(loss) and all(map(_is_known, (loss, loss.__name__))) else loss


def _parts(loss) -> tuple[str, dict]:
    """Name of a loss of Keras, and its settings that are not the default ones."""
    resolved = losses.resolve(loss)
    function = getattr(resolved, "fn", resolved)
    defaults = inspect.signature(function).parameters
    settings = getattr(resolved, "_fn_kwargs", {})
    return function.__name__, {
        key: value for key, value in settings.items() if key not in defaults or value != defaults[key].default
    }


def _is_known(loss) -> bool:
    """Whether a loss is one of Keras itself."""
    try:
        loss = losses.resolve(loss)
    except (TypeError, ValueError):
        return False
    kind = type(loss) if isinstance(loss, keras.losses.Loss) else loss
    return str(getattr(kind, "__module__", "")).startswith("keras.") and (kind is loss or hasattr(loss, "fn"))


def described(loss) -> str:
    """A loss in a word, with its settings: None is "crossentropy"."""
    if loss is None or isinstance(loss, str):
        return loss or "crossentropy"
    if isinstance(loss, list | dict):
        return ", ".join(map(described, _each(loss)))
    if not _is_known(loss):
        return str(getattr(loss, "name", getattr(loss, "__name__", type(loss).__name__)))
    name, settings = _parts(loss)
    text = ", ".join(f"{key}={value}" for key, value in settings.items() if key != "from_logits")
    return f"{name}({text})" if text else name


def default(model) -> str:
    """The cross-entropy that fits the number of outputs."""
    outputs = getattr(model, "output_shape", None)
    return "binary" if isinstance(outputs, tuple) and outputs[1:] in ((), (1,)) else "crossentropy"


def chosen(model) -> tuple[object, str]:
    """What is measured of a net for which no loss is given.

    Args:
        model: compiled, or as `hw1.saved.load` returns it.

    Returns:
        The loss with which it was compiled, as "crossentropy" or "binary" where it is that one, on logits; None if it
        was not compiled or with what cannot be measured. And what is to be said of it, empty if it is the default.
    """
    loss, usual = _of(model), default(model)
    if loss is None:
        return None, ""
    text, why = described(loss), unmeasured(model)
    if why:
        return None, f"the net was compiled with {text}, {why}: taken instead is {usual}; {_REMEDY}"
    if isinstance(loss, list | dict):
        return loss, f"measured is the sum of the losses that the net was compiled with, {text}; {_REMEDY}"
    said = f"measured is the loss that the net was compiled with, {text}; {_REMEDY}"
    name, settings = _parts(loss)
    if name not in _CROSS_ENTROPIES or set(settings) - {"from_logits"}:
        return loss, said
    plain = _cross_entropy(loss)
    if plain == "crossentropy" and usual == "binary":
        return None, f"the net was compiled with {text}, which is constant for one output: taken instead is binary"
    if not losses.from_logits(loss):  # a net that gives probabilities is refused with this loss
        return plain, f"the net was compiled with {text} of probabilities, but gives logits: measured is that of logits"
    return plain, "" if plain == usual else said


def _cross_entropy(loss) -> str:
    """The name in --loss of a cross-entropy of Keras, whatever its settings."""
    return "binary" if _parts(loss)[0].startswith("binary") else "crossentropy"


def unmeasured(model) -> str:
    """Why what a net was compiled with cannot be measured as a mean over examples; empty if it can or there is none."""
    loss = _of(model)
    is_known = loss is None or all(map(_is_known, _each(loss)))
    return reduced(model) if is_known else "which a card does not measure"


def reduced(model) -> str:
    """In what way a net's objective is not the mean of its compiled loss over examples; empty if it is."""
    if getattr(getattr(model, "_compile_loss", None), "_user_loss_weights", None) is not None:
        return "with loss_weights"
    for part in _each(_of(model)):
        if isinstance(part, keras.losses.Loss) and part.reduction in ("sum", "none", None):
            return "added over a batch, not averaged"
        if part is not None and _is_known(part) and _parts(part)[0] in _OF_BATCHES:
            return "which is no mean over examples"
    return ""


def of_end(model) -> str | None:
    """The compiled loss of a net that ends in a softmax or sigmoid, as --loss names it.

    Returns:
        "crossentropy" or "binary" for a loss that has a form for logits, which is better than that for probabilities;
        the name of another; None if it is not compiled, or with what is not measured.
    """
    loss = _of(model)
    if loss is None or unmeasured(model):
        return None
    return described(loss) if losses.from_logits(loss) is None else _cross_entropy(loss)


def of_logits(model, ending: str):
    """The compiled loss of a net of probabilities for the same net without its end.

    Args:
        model: that ends in a softmax or sigmoid.
        ending: which.

    Returns:
        A cross-entropy of Keras with ``from_logits=True``; for a loss that is no function of the logits alone, which
        takes logits already or compares probabilities in another way, a text that describes it. None without a loss.
    """
    loss = _of(model)
    if loss is None or unmeasured(model):
        return None if loss is None else described(loss)
    if losses.from_logits(loss) is not False:
        takes = "(from_logits=True)" if losses.from_logits(loss) else ""
        return f"{described(loss)}{takes} of what its {ending} gives"
    name, settings = _parts(loss)
    kind = getattr(keras.losses, "".join(part.capitalize() for part in name.split("_")))
    return kind(**{**settings, "from_logits": True})
