"""Teach a classifier four kinds of support requests from five examples each: the classification adapter and scikit-learn.

python examples/few_shot_classification.py
"""

from sklearn.linear_model import LogisticRegression

from taskvec import Encoder, Task

EXAMPLES = {
    "billing": """I was charged twice this month.
Please send the invoice to our accounting department.
How do I change the credit card you bill?
The discount code was not applied to my order.
I want my money back for last year's subscription.""",
    "bug": """The app crashes whenever I open the settings.
Export to PDF gives an empty file.
Since the update the search finds nothing at all.
The page stays white in Firefox.
Uploading a photo ends with error 500.""",
    "wish": """It would be great to have a dark theme.
Could you add an import from spreadsheets?
Please let us sort the list by date.
A keyboard shortcut for saving would help a lot.
I am missing a calendar view.""",
    "account": """I forgot my password and the reset mail never comes.
How can I delete my profile?
Please change my e-mail address.
My colleague needs access to our team.
I am locked out after too many attempts to sign in.""",
}
REQUESTS = [
    ("billing", "Why did the price on my receipt go up?"),
    ("billing", "You took the fee although I had cancelled."),
    ("billing", "Can we pay by bank transfer instead?"),
    ("billing", "The VAT number on the bill is wrong."),
    ("bug", "Clicking on print does nothing."),
    ("bug", "The totals in the report are wrong since Tuesday."),
    ("bug", "It freezes when I scroll quickly."),
    ("bug", "Notifications arrive hours late or never."),
    ("wish", "Will there ever be a version for tablets?"),
    ("wish", "An option to merge two lists would be nice."),
    ("wish", "I'd love to see statistics for each week."),
    ("wish", "Please support French."),
    ("account", "The code for two-factor login is refused."),
    ("account", "I have two users by mistake, please join them."),
    ("account", "Who in our company is an administrator?"),
    ("account", "My user name is misspelt, how do I correct it?"),
]

texts = [line for lines in EXAMPLES.values() for line in lines.splitlines()]
labels = [label for label, lines in EXAMPLES.items() for _ in lines.splitlines()]

encoder = Encoder.from_pretrained("mini")
for name, task in (("classification adapter", Task.CLASSIFICATION), ("no adapter", None)):
    classifier = LogisticRegression(C=100).fit(encoder.encode(texts, task=task), labels)
    guesses = classifier.predict(encoder.encode([text for _, text in REQUESTS], task=task))
    right = sum(guess == label for guess, (label, _) in zip(guesses, REQUESTS, strict=True))
    print(f"{name}: {right} of {len(REQUESTS)} right")
    if task is not None:
        for guess, (label, text) in zip(guesses, REQUESTS, strict=True):
            print(f"  {guess:8} {'' if guess == label else f'(is {label}) '}{text}")
