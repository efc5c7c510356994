"""The command line: each command beside its arguments."""
