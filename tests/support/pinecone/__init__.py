"""Pinecone for the tests: an emulator of its documented answers and limits on loopback, and needledb."""
