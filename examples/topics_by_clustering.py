"""Sort texts by topic with the separation adapter and scikit-learn's k-means: nobody says which topics there are.

python examples/topics_by_clustering.py
"""

from sklearn.cluster import KMeans
from sklearn.metrics import v_measure_score

from taskvec import Encoder, Task

TOPICS = {
    "cooking": """Let the dough rest until it has doubled in size.
Roast the peppers over an open flame, then peel them.
A pinch of salt brings out the taste of chocolate.
Simmer the stock for three hours and skim off the fat.
Fold the egg whites in gently so that the air stays inside.
Marinate the chicken overnight in yoghurt and lemon.
Which pan is best for a thin omelette?""",
    "space": """The probe swung by Jupiter to gain speed for its journey.
Dust from the comet left a long bright tail.
The crew docked with the station after a day in orbit.
A new telescope has seen galaxies formed soon after the Big Bang.
Two moons of the planet may hide oceans under the ice.
The rocket's first stage landed upright on the barge.
How long does light take from the sun to the earth?""",
    "football": """The striker was offside when the ball was played.
A header in extra time decided the cup final.
The keeper saved two penalties and was carried off by his team mates.
Relegation threatens the club after a seventh defeat in a row.
The coach changed to a back line of three after the break.
Fans queued all night for tickets to the derby.
Who scored most goals in the league last season?""",
    "money": """The central bank raised its rate by a quarter point.
Shares of the insurer fell after a profit warning.
Inflation eats up the interest on savings accounts.
She pays back the mortgage over twenty years.
The fund spreads its holdings over bonds and stocks.
A weaker currency makes exports cheaper.
What is the difference between a stock and a bond?""",
}

texts = [line for lines in TOPICS.values() for line in lines.splitlines()]
truth = [topic for topic, lines in TOPICS.items() for _ in lines.splitlines()]

encoder = Encoder.from_pretrained("mini")
for name, task in (("separation adapter", Task.SEPARATION), ("no adapter", None)):
    vectors = encoder.encode(texts, task=task)
    found = KMeans(n_clusters=len(TOPICS), n_init=10, random_state=0).fit_predict(vectors)
    print(f"{name}: agreement with the true topics (V-measure, 1 is perfect) {v_measure_score(truth, found):.2f}")
    if task is not None:
        for cluster in sorted(set(found)):
            members = [text for text, owner in zip(texts, found, strict=True) if owner == cluster]
            print(f"  topic {cluster}, {len(members)} texts:", *members[:3], sep="\n    ")
