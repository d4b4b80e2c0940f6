"""Models by name: how they are written, and the laws that each of them keeps."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from thalweg.errors import UsageError
from thalweg.tasks.models.bins import NUM_BINS, Bins, edges_of
from thalweg.tasks.models.build import KINDS, build
from thalweg.tasks.models.columns import Columns
from thalweg.tasks.models.inputs import DIGIT, Code, Pictures, Rows, Tokens, from_dict, to_dict
from thalweg.tasks.models.sizes import sized
from thalweg.tasks.models.spelling import FORMS, parsed
from thalweg.tasks.models.transformer import FILLER, rotated

TABLE = Rows(6, (Code(3, 300, 5),), numbers=(0, 2))
PLAIN = Rows(4)
PICTURES = Pictures(3, 9, 7)
TOKENS = Tokens(20)
LANGUAGE = Tokens(20, is_language=True)

NAMES = {
    "linear": PLAIN,
    "mlp:8": PLAIN,
    "mlp:8,6": TABLE,
    "mlp:8,numbers=bins": TABLE,
    "resmlp:8x2": PLAIN,
    "resmlp:8x2,numbers=bins": TABLE,
    "conv:8,4,6": PICTURES,
    "bag:8": TOKENS,
    "transformer:8x2": TOKENS,
    "transformer:8x1,heads=2": LANGUAGE,
}


def batch_of(inputs: Any, n: int = 5) -> Tensor:
    """Inputs of the kind, the same each time."""
    generator = torch.Generator().manual_seed(3)
    if isinstance(inputs, Tokens):
        return torch.randint(1, inputs.num_tokens, (n, 6), generator=generator)
    if isinstance(inputs, Pictures):
        shape = (n, inputs.channels, inputs.height, inputs.width)
        return torch.randn(shape, generator=generator)
    x = torch.randn((n, inputs.num_inputs), generator=generator)
    for code in inputs.codes:
        codes = torch.randint(0, code.num_codes, (n,), generator=generator)
        x[:, code.place], x[:, code.place + 1] = codes // DIGIT, codes % DIGIT
    return x


def made(name: str, *, seed: int = 0, dropout: float = 0.0, num_outputs: int = 3) -> nn.Module:
    """The model; a language model predicts its own tokens."""
    inputs = NAMES[name]
    outputs = inputs.num_tokens if inputs == LANGUAGE else num_outputs
    model = build(name, inputs, outputs, seed=seed, dropout=dropout)
    for first in model.modules():
        if isinstance(first, Columns):
            first.learn(batch_of(inputs, 50))
    return model


def values(model: nn.Module) -> list[Tensor]:
    return [tensor.clone() for tensor in model.state_dict().values()]


def equal(some: list[Tensor], others: list[Tensor]) -> bool:
    return all(map(torch.equal, some, others))


# Laws of every model.


def test_every_kind_is_examined():
    assert {parsed(name).kind for name in NAMES} == FORMS.keys() == KINDS.keys()


@pytest.mark.parametrize("name", NAMES)
def test_outputs_have_the_shape_that_the_target_needs(name):
    outputs = made(name)(batch_of(NAMES[name]))
    assert outputs.shape == ((5, 20, 6) if NAMES[name] == LANGUAGE else (5, 3))


@pytest.mark.parametrize("name", NAMES)
def test_first_weights_are_a_function_of_the_seed_alone(name):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = values(made(name, seed=5))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert equal(one, values(made(name, seed=5)))
    assert not equal(one, values(made(name, seed=6)))


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_has_a_gradient_and_one_step_lowers_the_loss(name):
    model, x = made(name), batch_of(NAMES[name], 16)
    outputs = model(x)
    targets = torch.arange(16) % 3 if outputs.dim() == 2 else x
    loss = nn.functional.cross_entropy(outputs, targets)
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    with torch.no_grad():
        for p in model.parameters():
            p.sub_(p.grad, alpha=1e-3)
    assert nn.functional.cross_entropy(model(x), targets) < loss


@pytest.mark.parametrize("name", [name for name in NAMES if name != "linear"])
def test_dropout_acts_in_training_alone_and_keeps_the_names_of_weights(name):
    model, x = made(name, dropout=0.5), batch_of(NAMES[name])
    bare = made(name)
    assert bare.state_dict().keys() == model.state_dict().keys()
    assert equal(values(bare), values(model))
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_predicted_alike_alone_and_among_others(name):
    model, x = made(name).eval(), batch_of(NAMES[name])
    assert torch.allclose(model(x)[2:3], model(x[2:3]), atol=1e-5)


def test_the_mlp_is_the_one_of_old():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        layers: list[nn.Module] = []
        for before, after in pairwise([4, 8, 6]):
            layers += [nn.Linear(before, after), nn.LayerNorm(after), nn.ReLU()]
        old = nn.Sequential(*layers, nn.Linear(6, 3))
    new = build("mlp:8,6", PLAIN, 3, seed=7)
    assert new.state_dict().keys() == old.state_dict().keys()
    assert equal(values(old), values(new))


# What each does by itself.


def test_a_language_model_sees_only_what_came_before():
    model, tokens = made("transformer:8x1,heads=2").eval(), batch_of(LANGUAGE)
    changed = tokens.clone()
    changed[:, 4] = (tokens[:, 4] + 1) % 20
    one, other = model(tokens), model(changed)
    assert torch.allclose(one[..., :4], other[..., :4], atol=1e-6)
    assert not torch.allclose(one[..., 4:], other[..., 4:], atol=1e-3)


def test_a_classifier_does_not_see_what_fills_up_and_an_empty_text_is_finite():
    model, tokens = made("transformer:8x2").eval(), batch_of(TOKENS)
    filled = torch.cat([tokens, torch.full((5, 3), FILLER)], dim=1)
    assert torch.allclose(model(tokens), model(filled), atol=1e-5)
    assert model(torch.full((2, 4), FILLER)).isfinite().all()


def test_rotated_products_depend_on_the_distance_alone():
    x, y = torch.randn(2, 1, 1, 1, 8, generator=torch.Generator().manual_seed(0))
    products = rotated(x.expand(1, 1, 9, 8)) @ rotated(y.expand(1, 1, 9, 8)).transpose(2, 3)
    for distance in range(-3, 4):
        diagonal = products[0, 0].diagonal(distance)
        assert torch.allclose(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-5)
    assert not torch.allclose(products[0, 0].diagonal(1)[0], products[0, 0].diagonal(0)[0])


def test_codes_are_looked_up_and_any_other_value_begins_as_zero():
    first = Columns(Rows(3, (Code(1, 1000, 4),)), has_bins=False)
    x = torch.tensor([[0.5, 700 // DIGIT, 700 % DIGIT], [0.25, 999 // DIGIT, 999 % DIGIT]])
    found = first(x)
    assert torch.equal(found[:, 0], x[:, 0])
    assert torch.equal(found[0, 1:], first.vectors[0].weight[700])
    assert torch.equal(found[1, 1:], torch.zeros(4))
    assert torch.equal(first(x.bfloat16()[:1])[0, 1:], found[0, 1:].float())


def test_bins_are_shares_of_the_way_through():
    bins = Bins(1)
    bins.learn(torch.linspace(0, 16, 1601)[:, None])
    found = bins(torch.tensor([[-1.0], [2.5], [99.0]]))
    assert torch.equal(found[:, 0], torch.tensor([-1.0, 2.5, 99.0]))
    assert torch.equal(found[0, 1:], torch.zeros(NUM_BINS))
    assert torch.allclose(found[1, 1:], torch.tensor([1.0, 1.0, 0.5] + 13 * [0.0]), atol=0.02)
    assert torch.equal(found[2, 1:], torch.ones(NUM_BINS))


COLUMNS = {
    "mostly zeros": np.r_[np.zeros(9000), np.linspace(1, 2, 1000)],
    "two values": np.r_[np.zeros(50), np.ones(50)],
    "one value": np.ones(10),
    "heavy tail": np.exp(np.linspace(0, 20, 500)),
}


@pytest.mark.parametrize("values", COLUMNS.values(), ids=COLUMNS)
def test_edges_ascend_from_least_to_largest_and_no_value_takes_them_all(values):
    edges = edges_of(values.astype(np.float32))
    assert edges.shape == (NUM_BINS + 1,)
    assert (np.diff(edges) >= 0).all()
    assert edges[0] == np.float32(values.min())
    assert edges[-1] == np.float32(values.max())
    if len(np.unique(values)) > 2 * NUM_BINS:
        assert len(np.unique(edges)) > NUM_BINS / 3
    bins = Bins(1)
    bins.learn(torch.from_numpy(values.astype(np.float32))[:, None])
    assert bins(torch.tensor([[0.0], [1.5]])).isfinite().all()


# How they are written.

WRONG = {
    "cnn": "'cnn' is unknown",
    "mpl:8": "did you mean mlp?",
    "mlp:": "mlp:WIDTH,WIDTH",
    "mlp:0": "mlp:WIDTH,WIDTH",
    "mlp:8,,8": "mlp:WIDTH,WIDTH",
    "mlp:8x2": "mlp:WIDTH,WIDTH",
    "mlp:numbers=bins,8": "mlp:WIDTH,WIDTH",
    "mlp:8,numbers=some": "numbers is one of plain, bins",
    "mlp:8,heads=2": "'heads' is no option of it: it has numbers",
    "linear:8": "write linear",
    "resmlp:8": "resmlp:WIDTHxBLOCKS",
    "resmlp:8x0": "resmlp:WIDTHxBLOCKS",
    "resmlp:8x2,8x2": "resmlp:WIDTHxBLOCKS",
    "resmlp:8x1001": "at most 1,000",
    "conv:8,x=1": "'x' is no option of it: it has none",
    "transformer:8x2,heads=0": "transformer:WIDTHxBLOCKS",
    "transformer:9x2,heads=3": "does not divide into 3 heads",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_name_is_refused_in_one_line(name):
    kind = name.partition(":")[0]
    inputs = {"conv": PICTURES, "bag": TOKENS, "transformer": TOKENS}.get(kind, PLAIN)
    with pytest.raises(UsageError) as caught:
        build(name, inputs, 3, seed=0)
    assert WRONG[name] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_refuses_inputs_of_another_kind(name):
    for other in (PLAIN, PICTURES, TOKENS):
        if type(other) is not type(NAMES[name]):
            with pytest.raises(UsageError, match=f"reads .*these are {other.words[:4]}"):
                build(name, other, 3, seed=0)


@pytest.mark.parametrize("kind", [kind for kind in FORMS if kind != "linear"])
def test_a_name_without_sizes_is_given_some_that_can_be_read_again(kind):
    inputs = next(inputs for name, inputs in NAMES.items() if parsed(name).kind == kind)
    found = sized(parsed(kind), inputs)
    assert found.is_sized
    assert parsed(found.name) == found
    assert build(kind, inputs, 3, seed=0) is not None


@pytest.mark.parametrize(
    ("name", "inputs", "found"),
    [
        ("mlp", TABLE, "mlp:256,256,numbers=bins"),
        ("mlp", PLAIN, "mlp:256,256"),
        ("mlp", Rows(129, numbers=tuple(range(129))), "mlp:256,256"),
        ("resmlp", TABLE, "resmlp:256x2,numbers=bins"),
        ("mlp:8", TABLE, "mlp:8"),
        ("conv", PICTURES, "conv:32,64,128"),
    ],
)
def test_what_a_name_leaves_open_the_data_decides(name, inputs, found):
    assert sized(parsed(name), inputs).name == found


@pytest.mark.parametrize("inputs", [PICTURES, TOKENS, LANGUAGE])
def test_inputs_are_written_down_and_read_again(inputs):
    assert from_dict(to_dict(inputs)) == inputs


def test_linear_has_no_place_for_dropout():
    with pytest.raises(UsageError, match=r"no place for it: .* one of mlp, resmlp"):
        build("linear", PLAIN, 3, seed=0, dropout=0.1)
