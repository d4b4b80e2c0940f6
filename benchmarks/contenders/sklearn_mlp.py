"""scikit-learn's MLP: an epoch is one `partial_fit`, which keeps weights and Adam's moments.

It is given float32 (the faster of the two types that it trains in) and predicts in float64. Its
other settings are its own defaults, an L2 penalty of 1e-4 over the batch among them. Its loop ends
an epoch early only on flat *training* loss, which in `partial_fit` is where the epoch ends anyway.
"""

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

from benchmarks.network import HIDDEN, LR, Predict
from benchmarks.problem import CLASSIFICATION, Problem
from benchmarks.referee import Referee


def train(problem: Problem, referee: Referee, *, seed: int) -> None:
    """Train scikit-learn's own network; the seed decides its weights and its order."""
    is_classifier = problem.kind == CLASSIFICATION
    estimator = MLPClassifier if is_classifier else MLPRegressor
    model = estimator(
        hidden_layer_sizes=HIDDEN,
        solver="adam",
        learning_rate_init=LR,
        batch_size=problem.batch_size,
        # A generator, not a number: a number would give every partial_fit the same order.
        random_state=np.random.RandomState(seed),
    )
    classes = {"classes": np.arange(problem.num_outputs)} if is_classifier else {}
    y = problem.train.y.reshape(-1)
    predict = predictor(model, problem.kind)

    referee.start()
    going = True
    while going:
        model.partial_fit(problem.train.x, y, **classes)
        going = referee.epoch(predict)


def predictor(model: MLPClassifier | MLPRegressor, kind: str) -> Predict:
    """A function from features to float64 probabilities or values."""
    said = model.predict_proba if kind == CLASSIFICATION else model.predict
    return lambda x: said(x.astype(np.float64))
