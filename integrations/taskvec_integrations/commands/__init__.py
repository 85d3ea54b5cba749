"""What the commands of `taskvec` do, one module each; cli.py only says how they are called. Imported when a command runs."""
