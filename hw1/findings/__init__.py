"""What the rows show: one file a question, in the same folders and under the same names as the experiments.

A finding reads the CSVs of its question, never TensorFlow nor an experiment, and has

    figure(rows, settings, **tables)    a Matplotlib figure
    claims(rows, settings, **tables)    yields `hw1.findings.verdict.Claim`s: what a source says, and what the rows say
    comment(rows, settings, **tables)   dict of title, method, caption and comment (a list of paragraphs): the text of
                                        report and supplement, in Typst markup; every number comes from the rows
    table(rows, settings, **tables)     optional: dict of caption and lines, a table of the supplement

`rows` and `tables` are pandas frames, `settings` those of the run, with "classes", "shape" and "chance" (the share of the
largest class) of its data. `style`, `verdict` and
`words` hold what findings share, `drawing` saves a figure.
"""
