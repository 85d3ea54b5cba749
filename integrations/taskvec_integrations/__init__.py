"""Native embedders for vector stores and frameworks, each a thin translation onto taskvec's encoder."""
