"""Other tools' formats and interfaces, spoken by guardeval."""

"""What speaks other tools' formats: logs of Inspect and lm-eval, out and in; GuardBench's function."""
