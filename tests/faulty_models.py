"""Programs with a fault once more, on other models, written after the checks."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from looked_at import adam, by, deep, faulty, images, mlp, points, tokens, train, values
from sound_models import GPT, conv, next_token


@faulty("TW305")
def gpt_softmax():
    return train(GPT(), by(lambda o, y: next_token(o.softmax(-1), y)), tokens())


@faulty("TW305")
def hf_like_shift_softmax():
    return train(
        GPT(),
        lambda m, x, y: functional.cross_entropy(
            m(x).softmax(-1)[:, :-1].reshape(-1, 50), y[:, 1:].reshape(-1)
        ),
        tokens(),
    )


@faulty("TW305")
def seg_sigmoid_bce_logits():
    net = nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 1), nn.Sigmoid())
    return train(
        net,
        by(lambda o, y: functional.binary_cross_entropy_with_logits(o, torch.rand_like(o).round())),
        images(),
        at="loss",
    )


@faulty("TW305")
def softmax_then_autocast():
    def loss(m, x, y):
        with torch.autocast("cpu", torch.bfloat16):
            return functional.cross_entropy(m(x).softmax(1), y)

    return train(mlp(), loss)


@faulty("TW305")
def focal_on_softmax():
    def loss(o, y):
        ce = functional.cross_entropy(o.softmax(1), y, reduction="none")
        return ((1 - (-ce).exp()) ** 2 * ce).mean()

    return train(mlp(), by(loss))


@faulty("TW305")
def mse_broadcast():
    return train(mlp(outputs=1), by(lambda o, y: functional.mse_loss(o, y[:, 0])), values())


@faulty("TW305")
def l1_broadcast():
    return train(mlp(outputs=1), by(lambda o, y: (o - y[:, 0]).abs().mean()), values())


@faulty("TW305")
def mse_ten_classes_ids():
    return train(
        mlp(outputs=1),
        by(lambda o, y: functional.mse_loss(o.squeeze(), y.float())),
        points(size=128),
    )


@faulty("TW307")
def encoder_only_opt():
    net = GPT()
    return train(net, by(next_token), tokens(), optimizer=adam(net.blocks))


@faulty("TW307")
def two_blocks_missing():
    net = GPT()
    ps = [p for n, p in net.named_parameters() if "blocks.2" not in n and "blocks.3" not in n]
    return train(net, by(next_token), tokens(), optimizer=torch.optim.AdamW(ps))


@faulty("TW307")
def conv_list():
    class N(nn.Module):
        def __init__(s):
            super().__init__()
            s.convs = [conv(3, 8), conv(8, 8)]
            s.fc = nn.Linear(512, 4)

        def forward(s, x):
            for c in s.convs:
                x = c(x).relu()
            return s.fc(x.flatten(1))

    return train(N(), batches=images())


@faulty("TW307")
def param_list():
    class N(nn.Module):
        def __init__(s):
            super().__init__()
            s.ws = [nn.Parameter(torch.randn(8, 8) / 3) for _ in range(2)]
            s.fc = nn.Linear(8, 4)

        def forward(s, x):
            for w in s.ws:
                x = (x @ w).relu()
            return s.fc(x)

    return train(N())


@faulty("TW307")
def model_to_double_after_opt():
    net = mlp()
    o = adam(net)
    net2 = mlp().double()
    return train(net2, batches=((x.double(), y) for x, y in points()), optimizer=o)


@faulty("TW309")
def item_roundtrip():
    class N(nn.Module):
        def __init__(s):
            super().__init__()
            s.a = conv(3, 8)
            s.b = nn.Linear(512, 4)

        def forward(s, x):
            return s.b(s.a(x).relu().data.flatten(1))

    return train(N(), batches=images())


@faulty("TW309")
def argmax_between():
    class N(nn.Module):
        def __init__(s):
            super().__init__()
            s.a = nn.Linear(8, 16)
            s.b = nn.Linear(16, 4)

        def forward(s, x):
            return s.b(functional.one_hot(s.a(x).argmax(1), 16).float())

    return train(N())


@faulty("TW309")
def embed_detached():
    class N(nn.Module):
        def __init__(s):
            super().__init__()
            s.a = nn.Embedding(50, 16)
            s.b = nn.Linear(16, 50)

        def forward(s, x):
            return s.b(s.a(x).detach())

    return train(N(), by(next_token), tokens())


@faulty("TW309")
def argmax_to_embedding():
    class N(nn.Module):
        def __init__(s):
            super().__init__()
            s.a = nn.Linear(8, 16)
            s.e = nn.Embedding(16, 8)
            s.b = nn.Linear(8, 4)

        def forward(s, x):
            return s.b(s.e(s.a(x).argmax(1)))

    return train(N())


@faulty("TW308")
def sgd_never_zero():
    net = nn.Sequential(conv(3, 8), nn.ReLU(), nn.Flatten(), nn.Linear(512, 4))
    return train(
        net,
        batches=images(),
        optimizer=torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9),
        zero="never",
        at="backward",
    )


@faulty("TW308")
def accumulation_never_zero():
    return train(mlp(), batches=points(steps=12), every=3, zero="never")


@faulty("TW308")
def gpt_never_zero():
    return train(GPT(), by(next_token), tokens(), zero="never")


@faulty("TW306")
def eval_left_on():
    net = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.5), nn.Linear(16, 4))
    net.eval()
    return train(net, at="loss")


@faulty("TW306")
def transformer_eval():
    net = nn.Sequential(
        nn.Embedding(50, 32),
        nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2),
        nn.Linear(32, 50),
    ).eval()
    return train(net, by(next_token), tokens())


@faulty("TW208")
def audio_int16():
    net = nn.Sequential(nn.Conv1d(1, 16, 9, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(768, 4))
    return train(
        net, batches=((3000 * torch.randn(16, 1, 200), torch.randint(4, (16,))) for _ in range(5))
    )


@faulty("TW208")
def income_and_age():
    s = torch.tensor([40000.0, 12, 1, 1, 1, 1, 1, 1])
    m = torch.tensor([50000.0, 40, 0, 0, 0, 0, 0, 0])
    return train(mlp(), batches=((x * s + m, y) for x, y in points()))


@faulty("TW208")
def lstm_raw():
    class N(nn.Module):
        def __init__(s):
            super().__init__()
            s.parts = nn.LSTM(8, 16, batch_first=True)
            s.o = nn.Linear(16, 4)

        def forward(s, x):
            return s.o(s.parts(x[:, None])[0][:, -1])

    return train(N(), batches=((100 + 50 * x, y) for x, y in points()))


@faulty("TW303")
def conv_const():
    net = nn.Sequential(
        conv(3, 8), nn.ReLU(), conv(8, 8), nn.ReLU(), nn.Flatten(), nn.Linear(512, 4)
    )
    for m in net:
        if hasattr(m, "weight"):
            nn.init.constant_(m.weight, 0.01)
    return train(net, batches=images())


@faulty("TW303")
def gpt_std1():
    net = GPT(width=64)
    for m in net.modules():
        if isinstance(m, nn.Linear):
            nn.init.normal_(m.weight, std=2.0)
    return train(
        net,
        by(next_token),
        tokens(),
    )


@faulty("TW303")
def hidden_zero():
    net = mlp()
    nn.init.zeros_(net[0].weight)
    nn.init.zeros_(net[2].weight)
    return train(net)


@faulty("TW301")
def conv_dead():
    net = nn.Sequential(
        conv(3, 16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        conv(16, 16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 4),
    )
    nn.init.constant_(net[3].bias, -10.0)
    return train(net, batches=images())


@faulty("TW302")
def tanh_raw_big():
    net = mlp(unit=nn.Tanh)
    [nn.init.normal_(net[i].weight, std=2.5) for i in (2,)]
    nn.init.normal_(net[2].bias, std=20.0)
    return train(net)


@faulty("TW005")
def sigmoid_cnn():
    parts = [conv(3, 16), nn.Sigmoid()]
    for _ in range(9):
        parts += [conv(16, 16), nn.Sigmoid()]
    return train(nn.Sequential(*parts, nn.Flatten(), nn.Linear(1024, 4)), batches=images())


@faulty("TW005")
def tanh_small():
    net = deep(12, nn.Tanh)
    for m in net.modules():
        if isinstance(m, nn.Linear):
            nn.init.normal_(m.weight, std=0.03)
            nn.init.zeros_(m.bias)
    return train(net)


@faulty("TW401")
def gpt_bf16():
    net = GPT().bfloat16()
    return train(
        net, by(next_token), tokens(), optimizer=torch.optim.AdamW(net.parameters(), lr=1e-6)
    )


@faulty("TW401")
def sgd_bf16():
    net = mlp().bfloat16()
    return train(
        net,
        batches=((x.bfloat16(), y) for x, y in points()),
        optimizer=torch.optim.SGD(net.parameters(), lr=1e-4),
    )


@faulty("TW310")
def sft_masked():
    return train(
        GPT(),
        lambda m, x, y: functional.cross_entropy(
            m(x).flatten(0, 1), torch.full_like(y, -100).flatten()
        ),
        tokens(),
    )


@faulty("TW310")
def mask_by_hand():
    def loss(o, y):
        parts = functional.cross_entropy(o.flatten(0, 1), y.flatten(), reduction="none")
        m = torch.zeros_like(parts)
        return (parts * m).sum() / m.sum()

    return train(GPT(), by(loss), tokens(), at="loss")


@faulty("TW307")
def ordered_wrong():
    net = mlp()
    return train(net, zero="early", at="loss")
