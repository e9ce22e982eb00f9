"""The commands, one file each: `describe(parser)` and `run(arguments)`."""
