"""Naive Bayes on the tokens of a text: the baseline that asks for no descent."""

from __future__ import annotations

import numpy as np


def naive_bayes(train: tuple[np.ndarray, np.ndarray], tokens: np.ndarray) -> np.ndarray:
    """The likeliest class of each text, (n,), by counts of tokens in each class, plus one each.

    Tokens that no training text holds are passed over.
    train: tokens (m, length), 0 where a text has no more, and classes (m,); tokens: (n, length)
    """
    num_tokens = int(max(train[0].max(), tokens.max())) + 1
    is_known = np.bincount(train[0].reshape(-1), minlength=num_tokens) > 0
    is_known[0] = False
    scores = np.empty((len(tokens), int(train[1].max()) + 1))
    for one in range(scores.shape[1]):
        own = train[0][train[1] == one]
        counts = np.where(is_known, np.bincount(own.reshape(-1), minlength=num_tokens) + 1.0, 0.0)
        logs = np.log(np.where(is_known, counts / counts.sum(), 1.0))
        scores[:, one] = np.log(max(len(own), 1e-9)) + logs[tokens].sum(axis=1)
    return scores.argmax(axis=1)
