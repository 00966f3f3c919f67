# %% [markdown]
# # A language model
#
# Learn a text one character at a time: how well the network predicts what comes next,
# and what it writes.
#
# The text is the manual that comes with Python, without its line breaks.

# %%
import math
import sys
import textwrap
from pydoc_data.topics import topics

import matplotlib.pyplot as plt
import numpy as np

from seqkeras.text import LanguageModel

QUICK = "--quick" in sys.argv
SIZE, UNITS, EPOCHS = (6_000, 16, 1) if QUICK else (250_000, 192, 8)

words = [word for name in sorted(topics) for word in topics[name].split()]
text = " ".join(words)[:SIZE]
cut = SIZE * 9 // 10
train, test = text[:cut], text[cut:]

# %% [markdown]
# `LanguageModel` makes the vocabulary, and carries the state of the network through the
# text. The last tenth of the text is only judged.

# %%
model = LanguageModel(
    "char", units=UNITS, epochs=EPOCHS, dropout=0.05, seed=0, progress=False
)
model.fit(train)
bits = math.log2(model.perplexity(test))
print(f"{len(model.vocabulary_)} different characters")
print(f"{bits:.2f} bits for each character that it has not seen")

# %% [markdown]
# What is that worth? Guesses from how often single characters or pairs of characters
# occur in the training text need more bits.


# %%
def entropies() -> tuple[float, float]:
    alphabet, ids = np.unique(list(text), return_inverse=True)
    before, after = ids[:cut], ids[cut:]
    pairs = np.ones((len(alphabet), len(alphabet)))
    np.add.at(pairs, (before[:-1], before[1:]), 1)
    singles = pairs.sum(axis=0) / pairs.sum()
    pairs /= pairs.sum(axis=1, keepdims=True)
    from_singles = -np.log2(singles[after]).mean()
    from_pairs = -np.log2(pairs[after[:-1], after[1:]]).mean()
    return from_singles, from_pairs


from_singles, from_pairs = entropies()
print(f"from characters {from_singles:.2f} bits, from pairs {from_pairs:.2f} bits")

# %% [markdown]
# What does it write? A lower temperature keeps to what is likely. The sentences make
# little sense, but the network has learned to spell, and how a manual sounds.

# %%
written = model.continue_text("The ", 40 if QUICK else 500, temperature=0.5, seed=1)
print(textwrap.fill(written.text, 80))

# %% [markdown]
# How surprising was each of the first characters to the network? Most surprises are
# where a word begins; within a word it is sure.

# %%
tokens = written.tokens[:70]
surprise = -written.log_probabilities[:70] / math.log(2)
figure, axes = plt.subplots(figsize=(10, 2.6), layout="constrained")
axes.bar(range(len(tokens)), surprise, color="#0b7285")
axes.set_xticks(range(len(tokens)), [token.strip() or "\u00b7" for token in tokens])
axes.set(ylabel="bits", title="Surprise at each character that it wrote")
axes.margins(x=0.01)
figure.savefig("language_model.png")
