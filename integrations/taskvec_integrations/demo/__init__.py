"""`taskvec demo`: Python's language reference in an embedded Qdrant, and questions to it."""
