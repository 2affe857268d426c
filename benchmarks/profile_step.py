"""What a training step spends its time on, as a Markdown table (torch profiler, CPU).

    python -m benchmarks.profile_step [--dataset DIR --task NAME] [--threads 1] [--steps 4]
"""

from __future__ import annotations

import argparse

from torch.profiler import ProfilerActivity, profile

from benchmarks.prepared import add_arguments, add_work_arguments, prepare, work_like_a_step
from benchmarks.training import Sides

#: Operator names, by what they do here; the first group that holds a name counts.
GROUPS = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::addmm_", "aten::bmm"),
    "LayerNorm, forward and backward": ("aten::native_layer_norm", "aten::native_layer_norm_backward"),
    "gathers (bag sums, index_select)": (
        "aten::_embedding_bag", "aten::_embedding_bag_forward_only", "aten::index_select", "aten::index"),
    "sums over edges and gradients of gathers": (
        "aten::scatter_add_", "aten::index_add_", "aten::scatter_add", "aten::_index_put_impl_"),
    "ReLU, forward and backward": ("aten::clamp_min", "aten::clamp_min_", "aten::threshold_backward"),
    "copies, fills, concatenations": ("aten::copy_", "aten::fill_", "aten::cat", "aten::stack"),
    "additions and products": ("aten::add", "aten::add_", "aten::mul", "aten::mul_", "aten::sub"),
    "dropout masks": ("aten::random_", "aten::ge"),
    "sorting (distinct rows, ages, sampling)": ("aten::sort", "aten::_unique2", "aten::searchsorted"),
    "Adam": ("aten::_fused_adam_",),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    add_work_arguments(parser, threads=1)
    parser.add_argument("--steps", type=int, default=4)
    args = parser.parse_args()
    work_like_a_step(args.threads)
    sides = Sides(prepare(args), args)
    for number in range(2):
        sides.run_step(sides.make(number))
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for number in range(args.steps):
            sides.run_step(sides.make(number))
    spent = dict.fromkeys([*GROUPS, "everything else"], 0.0)
    for event in profiler.key_averages():
        group = next((g for g, names in GROUPS.items() if event.key in names), "everything else")
        spent[group] += event.self_cpu_time_total / 1e3 / args.steps
    total = sum(spent.values())
    print("| part | ms per step | share |\n|---|---|---|")
    for group, ms in sorted(spent.items(), key=lambda entry: -entry[1]):
        print(f"| {group} | {ms:.0f} | {ms / total:.0%} |")
    print(f"| all, sampling included | {total:.0f} | 100% |")


if __name__ == "__main__":
    main()
