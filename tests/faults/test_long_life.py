"""A long life: thousands of nets of hundreds of architectures in one process, whose memory stays."""

import os
import subprocess
import sys

import pytest
from faults import children
from toys import ROOT, python

# A process that measures nets, one architecture after the other, and says by how many bytes its memory rose.
LIFE = """
import gc, sys
import numpy as np
from hw1 import evaluation, models, quiet
from hw1.evaluation import functional
from hw1.measures import hessian, sensitivity

warm, architectures, nets, kept, collecting = map(int, sys.argv[1:])
if not collecting:
    gc.disable()
functional._MOST_PROGRAMS, functional._AT_ONCE = kept, min(kept, functional._AT_ONCE)
x, y = np.random.default_rng(0).random((20, 6, 6), np.float32), np.arange(20) % 3

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

for number in range(warm + architectures):
    if number == warm:
        before = resident()
    for seed in range(nets):
        net = models.mlp((5 + number % 50, 4 + number // 50), input_shape=(6, 6), classes=3, seed=seed)
        evaluation.evaluate(net, x, y)
        hessian.product(net, x, y)(np.ones(net.count_params()))
        hessian.eigenvalues(net, x, y, k=1)
        hessian.trace(net, x, y)
        sensitivity.loss_gradient_norm(net, x, y)
        sensitivity.jacobian_norm(net, x)
print(resident() - before)
"""
# Architectures before and while memory is read, nets of each, programs that are kept, whether Python collects cycles by
# itself: it does so rarely where there are as many objects as TensorFlow has.
SHORT, FULL = (4, 6, 2, 8, 0), (20, 200, 10, 64, 1)
EACH, MOST = 10**6, 200 * 10**6  # bytes for an architecture in short, and for all in full


def rise(sizes, **environment):
    """The bytes by which the memory of a process rose."""
    line = python(LIFE, *sizes)
    done = subprocess.run(line, env=os.environ | environment, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays(faults):
    """Short: without oneDNN, whose store of compiled matrix products is full only after many architectures."""
    kind = faults("architectures in one process", short=1, full=1)
    for _ in kind:
        if children.FULL:
            assert rise(FULL) < MOST
        else:
            assert rise(SHORT, TF_ENABLE_ONEDNN_OPTS="0") < EACH * SHORT[1]
