"""Other tools' formats and interfaces: lm-eval's tasks and files, Inspect's objects and logs, GuardBench's function."""
