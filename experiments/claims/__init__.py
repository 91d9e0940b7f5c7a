"""The claims (docs/results.md): pure functions from the records of a run to numbers and verdicts."""
