"""One module per verb: its keys, with their types and a word of help, and `run(config) -> exit code`."""
