"""Imports TensorFlow without its start-up lines, which no setting suppresses; what imports it first imports this.

They come from C++ before its log can be told anything, so the file of stderr itself is turned elsewhere for that long.
If the import fails, they are shown.
"""

import os
import sys
import tempfile

if "tensorflow" not in sys.modules:
    with tempfile.TemporaryFile() as lines:
        stderr = os.dup(2)
        os.dup2(lines.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
        except BaseException:
            lines.seek(0)
            os.write(stderr, lines.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
