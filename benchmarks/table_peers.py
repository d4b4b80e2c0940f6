"""What people use for a table, each at its defaults: a function from training rows to predictions.

A peer gets the rows of a `Part` and gives class probabilities (n, classes) or numbers (n,) for the
test rows. Trees get categories as codes; networks get them one-hot and numbers standardised, which
is the least that their users do.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

# Levels that a one-hot peer tells apart, and that a tree may (its bins are bytes).
MOST_LEVELS, MOST_BINS = 64, 254


@dataclass(frozen=True)
class Part:
    """Rows to train on and rows to predict; classes are ids, in the order of their names."""

    train: pl.DataFrame
    train_y: np.ndarray
    test: pl.DataFrame
    num_classes: int

    @property
    def texts(self) -> list[str]:
        return [name for name, kind in self.train.schema.items() if not is_number(kind)]

    @property
    def numbers(self) -> list[str]:
        return [name for name, kind in self.train.schema.items() if is_number(kind)]


Peer = Callable[[Part, int], np.ndarray]


def is_number(kind: pl.DataType) -> bool:
    """Is it a column of numbers, and not of texts?"""
    return kind.is_numeric() or kind == pl.Boolean


def sklearn_mlp(part: Part, seed: int) -> np.ndarray:
    """MLPClassifier or MLPRegressor; the target of a regression is standardised for it."""
    if part.num_classes:
        model = make_pipeline(one_hot(part), MLPClassifier(random_state=seed))
        return probabilities(model.fit(pandas(part.train), part.train_y), part)
    scaled = TransformedTargetRegressor(
        MLPRegressor(random_state=seed), transformer=StandardScaler()
    )
    model = make_pipeline(one_hot(part), scaled)
    return model.fit(pandas(part.train), part.train_y).predict(pandas(part.test))


def boosting(part: Part, seed: int) -> np.ndarray:
    """Gradient-boosted trees over histograms, with native categories."""
    codes = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        encoded_missing_value=np.nan,
        max_categories=MOST_BINS,
    )
    columns = ColumnTransformer(
        [("texts", codes, part.texts), ("numbers", "passthrough", part.numbers)]
    )
    kind = HistGradientBoostingClassifier if part.num_classes else HistGradientBoostingRegressor
    trees = kind(random_state=seed, categorical_features=list(range(len(part.texts))))
    model = make_pipeline(columns, trees).fit(pandas(part.train), part.train_y)
    return probabilities(model, part) if part.num_classes else model.predict(pandas(part.test))


def skorch_net(part: Part, seed: int) -> np.ndarray:
    """The network 256,256 in skorch with Adam, 20 epochs over all rows, shuffled.

    Its own defaults keep the first fifth of the rows apart, for nothing that it does here, and take
    the others as they stand, which ruins it on a table that is sorted.
    """
    import torch
    from skorch import NeuralNetClassifier, NeuralNetRegressor
    from torch import nn

    torch.manual_seed(seed)
    columns = one_hot(part)
    x = np.asarray(columns.fit_transform(pandas(part.train)), dtype=np.float32)
    kind = NeuralNetClassifier if part.num_classes else NeuralNetRegressor
    net = nn.Sequential(
        *(nn.Linear(x.shape[1], 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()),
        nn.Linear(256, part.num_classes or 1),
    )
    loss = {"criterion": nn.CrossEntropyLoss} if part.num_classes else {}
    model = kind(
        net,
        optimizer=torch.optim.Adam,
        lr=1e-3,
        max_epochs=20,
        batch_size=128,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
        **loss,
    )
    test = np.asarray(columns.transform(pandas(part.test)), dtype=np.float32)
    if part.num_classes:
        logits = torch.from_numpy(model.fit(x, part.train_y).predict_proba(test))
        is_logits = not torch.allclose(logits.sum(dim=1), torch.ones(len(logits)), atol=1e-3)
        return (logits.softmax(dim=1) if is_logits else logits).numpy()
    scale = StandardScaler().fit(part.train_y[:, None])
    y = scale.transform(part.train_y[:, None]).astype(np.float32)
    return scale.inverse_transform(model.fit(x, y).predict(test)).ravel()


def one_hot(part: Part) -> ColumnTransformer:
    """Numbers standardised, missing ones at the mean; texts one-hot, rare levels together."""
    codes = OneHotEncoder(
        handle_unknown="infrequent_if_exist", max_categories=MOST_LEVELS, sparse_output=False
    )
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    return ColumnTransformer([("texts", codes, part.texts), ("numbers", numbers, part.numbers)])


def pandas(frame: pl.DataFrame) -> Any:
    """What scikit-learn's encoders take: pandas, texts as objects with None for missing."""
    return frame.to_pandas()


def probabilities(model: Any, part: Part) -> np.ndarray:
    """Of every class, (n, classes); a class that was not trained on has 0."""
    found = np.zeros((part.test.height, part.num_classes))
    found[:, model.classes_] = model.predict_proba(pandas(part.test))
    return found


PEERS: dict[str, Peer] = {
    "scikit-learn MLP": sklearn_mlp,
    "boosting": boosting,
    "skorch": skorch_net,
}
