"""Milvus for the tests: a real server, a stub of its wire, and checks of what a collection holds."""
