"""CSV → figure: one file per part of the course, one function per question. No TensorFlow here."""
