"""What holds for all tests: TensorFlow is quiet, and Ctrl-C reaches the processes that tests start."""

import os
import signal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# A shell may start its background jobs with SIGINT ignored, which their children would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
