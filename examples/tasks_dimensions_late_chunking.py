"""The three options side by side: python examples/tasks_dimensions_late_chunking.py [hub id or folder]"""

import sys

from taskvec import Encoder, Task

CHUNKS = ["Berlin is the capital of Germany.", "The city has 3.8 million inhabitants.", "It lies on the Spree."]
QUESTION = "How many people live in Berlin?"

with Encoder.from_pretrained(*sys.argv[1:2]) as encoder:
    print(encoder)
    print("\nThe same sentence under each task, cosine to the bare model:")
    bare = encoder.encode(QUESTION, task=None)
    for task in Task:
        print(f"  {task:20} {encoder.encode(QUESTION, task=task) @ bare:.3f}")

    print(f"\n{QUESTION!r} against each chunk, at several dimensions, chunks alone and late:")
    for dimensions in (encoder.dimensions, 256, 32):
        query = encoder.encode_queries(QUESTION, dimensions=dimensions)
        for late in (False, True):
            scores = encoder.encode_documents(CHUNKS, dimensions=dimensions, late_chunking=late) @ query
            print(f"  {dimensions:5} {'late ' if late else 'alone'}", *(f"{score:.3f}" for score in scores))
