"""Judging a model on labelled rows: data, metrics, intervals, gates and the report.

`run.evaluate` is the way in. The data flow one way, and every arrow is a value:

    data -> engine -> predict (processes for each version) -> predictions.parquet
         -> metrics.Counts -> gates.Verdict -> metrics.json, summary.md, report.html
"""
