"""A process of its own for row 7: `python first_step.py thalweg` prints its seconds as JSON."""

import json
import sys
import time


def main(case: str) -> None:
    import torch

    torch.set_num_threads(1)
    params = [torch.nn.Parameter(torch.ones(64, 64)) for _ in range(32)]
    for p in params:
        p.grad = torch.ones(64, 64)
    start = time.perf_counter()
    if case == "thalweg":
        import thalweg

        thalweg.AdamW(params, clip=1.0).step()
    elif case == "torch-fused":
        torch.optim.AdamW(params, fused=True).step()
    else:
        torch.compile(torch.optim.AdamW(params, lr=torch.tensor(1e-3)).step)()
    print(json.dumps({"seconds": time.perf_counter() - start}))


if __name__ == "__main__":
    main(sys.argv[1])
