"""Our server for the tests: as an app, as a process, and the clients of other packages that talk to it."""
