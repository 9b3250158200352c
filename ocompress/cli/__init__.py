"""The command line: one file per command; nothing here imports the runtime before it is needed."""
