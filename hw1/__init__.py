"""MLDS 2018 homework 1 in TensorFlow and Keras: do flat minima generalise?"""

import os

# Read once, when TensorFlow is first imported; only here is early enough for every command.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
