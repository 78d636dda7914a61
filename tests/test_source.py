"""What the source of a question says of it, beside what the imported module has."""

import pytest

from hw1 import catalogue, question, source


@pytest.mark.parametrize("name", catalogue.names())
def test_source_and_module_agree(name):
    """Docstring, settings and their help texts, inherited ones too; each label is where its help text begins."""
    module = catalogue.experiment(name)
    assert source.docstring(name).splitlines()[0] == source.summary(name) == module.__doc__.splitlines()[0]
    helps = {field.name: field.metadata["help"] for field, *_ in question.fields(module.Settings)}
    labels = source.labels(name)
    assert set(labels) == set(helps)
    assert all(helps[setting].startswith(label) for setting, label in labels.items())


def test_labels_end_with_their_clause():
    """At the first comma, semicolon or bracket; not at a comma or bracket within a word."""
    labels = source.labels("parameter_count")
    assert labels["learning_rate"] == "first learning rate of Adam for at most 200 hidden units"
    assert labels["pool"] == "side of the squares of pixels that are averaged"
    assert labels["target_loss"] == "training loss"
    assert labels["seeds"] == "independent repetitions"


@pytest.mark.parametrize("name", catalogue.names())
def test_labels_tell_the_settings_of_a_question_apart(name):
    """No two settings are named alike, and none is named in more than a line."""
    labels = source.labels(name)
    assert len(set(labels.values())) == len(labels)
    assert max(map(len, labels.values())) <= 80
