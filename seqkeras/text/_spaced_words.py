"""Words and marks of a text, so that the text can be put together again with its spaces."""

import re
from collections.abc import Iterable

#: Marks the side of a token on which there is no space, as in the tokenizer of OpenNMT (Klein et
#: al. 2017, arXiv 1701.02810): `"Why (not)?"` is `Why (￭ not ￭) ￭?`.
JOINER = "￭"

_TOKEN = re.compile(
    r"""
    \n                          # the end of a line
    | &\#?\w+;                  # an entity of HTML, as in corpora that were tokenized before
    | <\w+>                     # a name such as <unk>
    | \d+(?:[.,:/]\d+)+         # 3,000.50
    | \w+(?:-\w+)*['\u2019]?    # word, t-shirt, l', don'
    | [^\w\s]                   # any other sign
    """,
    re.VERBOSE,
)
_IS_WORD = re.compile(r"\w")


def split_words(text: str) -> list[str]:
    r"""Split a text into words, marks and ends of lines; `join_words` puts them together again.

    Upper and lower case stay. Runs of spaces and tabs become one space.

    Example:
        >>> split_words("Don't stop: it's 3.50 (more or less).")
        ["Don'￭", 't', 'stop', '￭:', "it'￭", 's', '3.50', '(￭', 'more', 'or', 'less', '￭)', '￭.']
    """
    tokens: list[str] = []
    end = -1
    for match in _TOKEN.finditer(text):
        token = match.group()
        if match.start() == end and "\n" not in (token, tokens[-1]):
            # A sign is marked rather than a word, so that words look the same everywhere.
            if _is_word(token):
                tokens[-1] += JOINER
            else:
                token = JOINER + token
        tokens.append(token)
        end = match.end()
    return tokens


def join_words(tokens: Iterable[str]) -> str:
    """Return the text of tokens of `split_words`, or of tokens like these that a model wrote.

    Example:
        >>> join_words(["(￭", "not", "￭)", "￭?"])
        '(not)?'
    """
    text = " ".join(tokens)
    text = re.sub(f" ?{JOINER} ?", "", text)
    return re.sub(r" ?\n ?", "\n", text)


def _is_word(token: str) -> bool:
    return bool(_IS_WORD.match(token))
