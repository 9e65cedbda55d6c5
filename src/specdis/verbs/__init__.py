"""The verbs of the command line, apart from `run`: one module each."""
