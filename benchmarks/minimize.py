"""Steps that `thalweg.minimize` needs, method by method, beside SciPy's CG and L-BFGS.

    python -m benchmarks.minimize --to benchmarks/results/minimize.json

A cell is steps / evaluations of f until the gradient norm is 1e-6 (SciPy's own tolerance is set to
that), at most 10,000 steps. Methods with a fixed rate get the best of the rates tried, half a
decade apart, which flatters them: the search for the rate is not counted.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import scipy.optimize
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

import thalweg
from benchmarks.facts import RESULTS, machine, write_json

RATES = [round(10 ** (-k / 2), 7) for k in range(9)]
Function = Callable[[torch.Tensor], torch.Tensor]


def quadratic(condition: float) -> Function:
    d = torch.logspace(0, float(np.log10(condition)), 20, dtype=torch.float64)
    return lambda x: 0.5 * (d * x * x).sum()


def rosenbrock(x: torch.Tensor) -> torch.Tensor:
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def beale(x: torch.Tensor) -> torch.Tensor:
    a = torch.tensor([1.5, 2.25, 2.625], dtype=x.dtype)
    return ((a - x[0] + x[0] * x[1] ** torch.tensor([1, 2, 3])) ** 2).sum()


def logistic() -> Function:
    x, y = load_breast_cancer(return_X_y=True)
    rows = np.c_[StandardScaler().fit_transform(x), np.ones(len(x))] * (2.0 * y - 1)[:, None]
    signed = torch.tensor(rows)
    return lambda w: (
        torch.nn.functional.softplus(-(signed @ w)).mean() + 0.005 * (w[:-1] ** 2).sum()
    )


PROBLEMS: dict[str, tuple[Function, np.ndarray]] = {
    "quadratic, condition 100": (quadratic(100), np.linspace(-1.5, 2, 20)),
    "quadratic, condition 1e4": (quadratic(1e4), np.linspace(-1.5, 2, 20)),
    "Rosenbrock": (rosenbrock, np.array([-1.2, 1.0])),
    "Beale": (beale, np.array([1.0, 1.0])),
    "logistic regression": (logistic(), np.zeros(31)),
}
SEARCHES = {
    "barzilai-borwein (variant 2)": thalweg.BarzilaiBorwein(),
    "barzilai-borwein, variant 1": thalweg.BarzilaiBorwein(variant=1),
    "armijo (decrease 0.5)": thalweg.Armijo(),
    "armijo, decrease 1e-4": thalweg.Armijo(decrease=1e-4),
}
FIXED = ("sgd", "momentum", "nesterov", "adam")


@dataclass(frozen=True)
class Cost:
    """What one method needed on one function; lr: the best of those tried."""

    method: str
    problem: str
    steps: int | None
    evaluations: int | None
    lr: float | None = None

    def __str__(self) -> str:
        if self.steps is None:
            return "> 10,000"
        rate = "" if self.lr is None else f" (lr {self.lr:.2g})"
        return f"{self.steps:,} / {self.evaluations:,}{rate}"


def cost_of_search(method: str, problem: str) -> Cost:
    f, x0 = PROBLEMS[problem]
    return _cost(method, problem, thalweg.minimize(f, x0, optimizer=SEARCHES[method]))


def cost_of_fixed(method: str, problem: str) -> Cost:
    f, x0 = PROBLEMS[problem]
    costs = [
        _cost(method, problem, thalweg.minimize(f, x0, optimizer=method, lr=lr), lr) for lr in RATES
    ]
    return min(costs, key=lambda cost: cost.steps or 10**9)


def _cost(method: str, problem: str, result: thalweg.Minimum, lr: float | None = None) -> Cost:
    if not result.converged:
        return Cost(method, problem, None, None)
    return Cost(method, problem, result.num_steps, result.num_evaluations, lr)


def cost_of_scipy(method: str, problem: str) -> Cost:
    f, x0 = PROBLEMS[problem]

    def both(x: np.ndarray) -> tuple[float, np.ndarray]:
        leaf = torch.tensor(x, requires_grad=True)
        value = f(leaf)
        value.backward()
        assert leaf.grad is not None
        return value.item(), leaf.grad.numpy()

    options = {"gtol": 1e-6, "maxiter": 10_000}
    found = scipy.optimize.minimize(both, x0, jac=True, method=method, options=options)
    return Cost(f"SciPy {method}", problem, found.nit, found.nfev)


def table(costs: list[Cost]) -> str:
    names = list(dict.fromkeys(cost.method for cost in costs))
    lines = [f"| | {' | '.join(PROBLEMS)} |", "|---|" + "---|" * len(PROBLEMS)]
    for name in names:
        cells = [str(cost) for cost in costs if cost.method == name]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=RESULTS / "minimize.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    facts = machine(threads=1)
    costs = [cost_of_search(method, problem) for method in SEARCHES for problem in PROBLEMS]
    costs += [cost_of_fixed(method, problem) for method in FIXED for problem in PROBLEMS]
    costs += [cost_of_scipy(method, p) for method in ("CG", "L-BFGS-B") for p in PROBLEMS]
    print(table(costs))
    write_json({"machine": facts, "costs": [asdict(cost) for cost in costs]}, args.to)
    return 0


if __name__ == "__main__":
    sys.exit(main())
