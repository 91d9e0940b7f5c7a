"""The claims (DESIGN.md 2): pure functions from the records of a run to numbers and verdicts."""
