# %% [markdown]
# # Translation
#
# Turn dates as people write them into ISO dates: an encoder reads the characters, and a
# decoder writes the translation and looks back at them.

# %%
import datetime
import sys

import matplotlib.pyplot as plt
import numpy as np

from seqkeras.text import Translator

QUICK = "--quick" in sys.argv
COUNT, UNITS, EPOCHS = (24, 8, 1) if QUICK else (8_000, 96, 12)

FORMATS = (
    "%A, %d %B %Y",
    "%B %d, %Y",
    "%d %b %Y",
    "%b %d %Y",
    "%d.%m.%Y",
    "the %d of %B, %Y",
)

random = np.random.default_rng(0)
days = random.choice(36_500, COUNT, replace=False)
dates = [datetime.date(1950, 1, 1) + datetime.timedelta(int(day)) for day in days]
sources = [date.strftime(random.choice(FORMATS)) for date in dates]
targets = [date.isoformat() for date in dates]

# %% [markdown]
# The translator knows nothing about dates. It learns from pairs; the last tenth is not
# among them.

# %%
cut = COUNT * 9 // 10
translator = Translator(
    "char", units=UNITS, epochs=EPOCHS, batch_size=64, seed=0, progress=False
)
translator.fit(sources[:cut], targets[:cut])

outputs = translator.translate(sources[cut:])
right = np.mean(
    [output == target for output, target in zip(outputs, targets[cut:], strict=True)]
)
for source, output in list(zip(sources[cut:], outputs, strict=True))[:6]:
    print(f"{source:>28} -> {output}")
print(f"{len(outputs)} unseen dates, {right:.1%} right in every digit")

# %% [markdown]
# `translations` also returns a probability. Here it meets ways of writing that were not
# among the pairs. The second is close to what it has learned; the last two are far from
# it, come out wrong, and their low probabilities warn of that. (Training smooths the
# targets, so even a sure translation stays well below 1.)

# %%
results = translator.translations(
    [
        "Friday, 14 July 1989",
        "14th July 1989",
        "July 14 1989, a Friday",
        "1989, July 14",
    ]
)
for result in results:
    source = "".join(result.source_tokens[:-1])
    probability = np.exp(result.log_probability)
    print(f"{source:>28} -> {result.text}, probability {probability:.2f}")

# %% [markdown]
# The attention of the first: each column is a character that was read, each row one
# that was written, and dark where the network looked. It finds the year at the end,
# then the month, then the day.

# %%
first = results[0]
figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.imshow(first.attention[: len(first.tokens)], cmap="GnBu", aspect="auto")
axes.set_xticks(range(len(first.source_tokens)), [*first.source_tokens[:-1], "end"])
axes.set_yticks(range(len(first.tokens)), first.tokens)
axes.set_title(f"Friday, 14 July 1989 \u2192 {first.text}")
figure.savefig("translation.png")
