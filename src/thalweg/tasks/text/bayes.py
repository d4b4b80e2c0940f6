"""Naive Bayes on the tokens of a text: the baseline that asks for no descent."""

from __future__ import annotations

import numpy as np


def naive_bayes(train: tuple[np.ndarray, np.ndarray], tokens: np.ndarray) -> np.ndarray:
    """The likeliest class of each text, (n,), by counts of tokens in each class, plus one each.

    train: tokens (m, length), 0 where a text has no more, and classes (m,); tokens: (n, length)
    """
    num_tokens = int(max(train[0].max(), tokens.max())) + 1
    num_classes = int(train[1].max()) + 1
    scores = np.empty((len(tokens), num_classes))
    for one in range(num_classes):
        own = train[0][train[1] == one]
        counts = np.bincount(own.reshape(-1), minlength=num_tokens) + 1.0
        counts[0] = 0
        surprise = np.log(counts.clip(min=1)) - np.log(counts.sum())
        surprise[0] = 0
        scores[:, one] = np.log(max(len(own), 1e-9)) + surprise[tokens].sum(axis=1)
    return scores.argmax(axis=1)
