"""Qdrant for the tests: a stand-in server over HTTP, the real engine behind it, and points to write."""
