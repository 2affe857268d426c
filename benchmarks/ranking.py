"""Users ranked per second over the full catalogue: relrec against the straightforward way.

relrec scores blocks of users (``ModelScorer``) and cuts the best k on the whole block,
what the user has seen left out in place. The straightforward side scores the same blocks
with an encoder that runs over every sampled node, and then sorts the whole catalogue
user by user, dropping what is in the user's set. Both use the paper's model. A third side
is relrec with its default model: pair priors, whose candidates are counted for every block,
and two-level fusion.

    python -m benchmarks.ranking [--dataset DIR --task NAME] [--threads 2] [--users 2000]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.prepared import (
    Prepared,
    add_arguments,
    add_work_arguments,
    prepare,
    work_like_a_step,
)
from benchmarks.straightforward import Straightforward
from benchmarks.training import paper_config, seconds_per_row
from model_core.config import ModelConfig
from model_core.evaluation.masks import SeenMask
from model_core.evaluation.ranking import rank
from model_core.graph.schema import GraphSchema
from model_core.models.contextgnn.model import ContextGNN
from model_core.models.scorer import ModelScorer
from model_core.priors.build import make_priors
from model_core.priors.event_values import value_columns
from model_core.sampling.batches import make_batch
from model_core.sampling.neighbors import sample


class Sides:
    """Both models in evaluation mode, over the same users."""

    def __init__(self, prepared: Prepared, args: argparse.Namespace) -> None:
        self.graph, self.tensors = prepared.graph, prepared.graph.to_torch()
        val = prepared.split.val
        self.seeds = val.take(np.arange(min(args.users, len(val))))
        self.fan_out, self.k, self.batch_size = tuple(args.fan_out), args.k, args.batch_size
        self.mask = SeenMask(prepared.graph)
        schema, config = GraphSchema.of(prepared.graph), paper_config()
        torch.manual_seed(0)
        self.model = ContextGNN(schema, config, len(self.fan_out)).eval()
        self.other = Straightforward(schema, config, len(self.fan_out)).eval()
        default, split = ModelConfig(), prepared.split
        self.default = ContextGNN(schema, default, len(self.fan_out)).eval()
        self.priors = make_priors(prepared.graph, split.window_s, default.num_similar,
                                  default.num_popular, [split.val_time],
                                  values=value_columns(prepared.graph))

    def relrec(self, _: range) -> int:
        return self._ranked(ModelScorer(self.model, self.tensors, self.fan_out, nodes_per_seed=1.0))

    def relrec_default(self, _: range) -> int:
        return self._ranked(ModelScorer(self.default, self.tensors, self.fan_out, nodes_per_seed=1.0,
                                        priors=self.priors))

    def _ranked(self, scorer: ModelScorer) -> int:
        rank(scorer, self.seeds, self.k, mask=self.mask, batch_size=self.batch_size)
        return len(self.seeds)

    @torch.no_grad()
    def straightforward(self, _: range) -> int:
        columns = self.tensors.columns[self.tensors.item_table]
        vectors = self.other.items(columns, None)
        for at in range(0, len(self.seeds), self.batch_size):
            entity = self.seeds.entity[at : at + self.batch_size]
            time = self.seeds.time[at : at + self.batch_size]
            subgraph = sample(self.tensors, torch.tensor(entity), torch.tensor(time), self.fan_out)
            scores = self.other(make_batch(self.tensors, subgraph), vectors)
            row, item = self.mask(entity, time)
            for user in range(len(entity)):
                seen = set(item[row == user].tolist())
                order = torch.argsort(scores[user], descending=True).tolist()
                [i for i in order if i not in seen][: self.k]
        return len(self.seeds)


def add_ranking_arguments(parser: argparse.ArgumentParser) -> None:
    """``--users`` and ``-k``."""
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("-k", type=int, default=10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    add_work_arguments(parser)
    add_ranking_arguments(parser)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    work_like_a_step(args.threads)
    sides = Sides(prepare(args), args)
    both: dict[str, Callable[[range], int]] = {
        "relrec": sides.relrec, "straightforward": sides.straightforward,
        "relrec, default model": sides.relrec_default}
    for function in both.values():  # warm-up
        function(range(1))
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in both}
    for _ in range(args.rounds):
        for name, function in both.items():
            took[name].append(seconds_per_row(function, range(1)))
    median = {name: np.median(values, axis=0) for name, values in took.items()}
    ratio = median["straightforward"] / median["relrec"]
    for name, (wall, cpu) in median.items():
        print(f"{name:22s} {1 / wall:8,.0f} users/s {1 / cpu:8,.0f} per CPU second")
    print(f"ratio: {ratio[0]:.1f} ({ratio[1]:.1f} by CPU seconds)")
    print(json.dumps({
        "dataset": args.dataset or "demo shop", "users": len(sides.seeds),
        "items": sides.graph.num_items, "fan_out": args.fan_out, "threads": args.threads,
        "users_per_s": {name: round(1 / wall, 1) for name, (wall, _) in median.items()},
        "users_per_cpu_s": {name: round(1 / cpu, 1) for name, (_, cpu) in median.items()},
    }))


if __name__ == "__main__":
    main()
