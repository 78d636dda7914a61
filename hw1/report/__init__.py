"""The report: figures and sentences filled from the CSVs of a run, set by typst. No TensorFlow here."""
