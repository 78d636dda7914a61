"""The hash of a data set."""

import dataclasses

from stored import write_npz

from hw1 import datasets


def test_hash_covers_every_array_and_nothing_else(tmp_path):
    """One changed value, or another shape, changes the hash; the name does not."""
    data = datasets.load(write_npz(tmp_path / "own.npz"))
    assert dataclasses.replace(data, name="other").sha256 == data.sha256
    assert datasets.load(tmp_path / "own.npz", train=11).sha256 != data.sha256
    for key in datasets.KEYS:
        changed = getattr(data, key).copy()
        changed.flat[-1] = 1 - changed.flat[-1]
        assert dataclasses.replace(data, **{key: changed}).sha256 != data.sha256
    reshaped = data.x_train.reshape(12, 4, 5)
    assert dataclasses.replace(data, x_train=reshaped).sha256 != data.sha256
