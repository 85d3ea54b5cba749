"""Find questions that were asked before in other words: the text-matching adapter and scikit-learn's nearest neighbours.

python examples/near_duplicates.py
"""

from sklearn.neighbors import NearestNeighbors

from taskvec import Encoder, Task

QUESTIONS = """How do I reset my password?
What is the best way to learn the piano as an adult?
I cannot remember my password, how can I get a new one?
How far is the moon from the earth?
Why do cats purr?
Is it too late to take up the piano at forty?
How many kilometres are there between earth and moon?
Which vegetables can be planted in autumn?
What makes a cat purr?
What should I sow in my garden in October?
How is cheese made?
Can I take my dog on the train?
Are dogs allowed on trains?
How do planes stay in the air?
What keeps an aeroplane from falling down?
How do I change my password?
How long must an egg boil to be soft?
When was the printing press invented?""".splitlines()

THRESHOLD = 0.6

encoder = Encoder.from_pretrained("mini")
vectors = encoder.encode(QUESTIONS, task=Task.TEXT_MATCHING)
distances, neighbours = NearestNeighbors(n_neighbors=2, metric="cosine").fit(vectors).kneighbors(vectors)

print(f"Questions whose nearest one is more similar than {THRESHOLD}:")
for one, (distance, other) in enumerate(zip(distances[:, 1], neighbours[:, 1], strict=True)):
    similarity = 1 - distance
    mutual = neighbours[other, 1] == one
    if similarity > THRESHOLD and (one < other or not mutual):
        print(f"  {similarity:.2f}  {QUESTIONS[one]}\n        {QUESTIONS[other]}")
