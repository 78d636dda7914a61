"""MLDS 2018 homework 1 in TensorFlow and Keras: do flat minima generalise?"""

import os

# Read once, when TensorFlow is first imported; only here is early enough for every command.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Read when NumPy is. The matrices here are small: on busy cores a second thread makes eigenvalues 10 times slower.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
