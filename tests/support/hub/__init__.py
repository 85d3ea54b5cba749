"""The Hugging Face hub for the tests, on loopback."""
