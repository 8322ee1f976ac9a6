# SPDX-License-Identifier: Apache-2.0
"""Plans how a network is executed in little memory: rows instead of whole maps.

The ops are cut into segments. Inside a segment a row is made when another needs it, so that of most tensors a ring of a
few rows is enough; what a later segment reads is stored whole. The cuts are those that need the fewest bytes at the
busiest step, found by dynamic programming, and the packing of all buffers into one arena then comes close to that
number, or meets it.

Nothing here is trusted: ``plan_check`` shares no code with the planner, and every plan goes through it.
"""

from __future__ import annotations

from itertools import pairwise

from firmware_export.static_engine.cuts import best_cuts, peak_bytes, segment_costs
from firmware_export.static_engine.lifetimes import Kind, buffers
from firmware_export.static_engine.packing import pack
from firmware_export.static_engine.plan import Plan, RowGraph, Storage
from firmware_export.static_engine.schedule import Demands, writers

# Bounds for the time that a plan takes: how cuts of the same peak are told apart, and how long each is packed.
POWERS = (2, 8, 1)
ATTEMPTS = 600


def plan(graph: RowGraph, *, alignment: int = 4) -> Plan:
    """The plan of a network; the same network always gives the same.

    Args:
        graph: the network.
        alignment: of every ring, scratch and state, in bytes.
    """
    readers: list[list[int]] = [[] for _ in graph.tensors]
    for index, op in enumerate(graph.ops):
        for tensor in op.inputs:
            readers[tensor].append(index)
    demands = Demands(graph)
    costs = segment_costs(graph, demands, readers)
    best: Plan | None = None
    tried = set()
    for power in POWERS:
        cuts = best_cuts(costs, power)
        if cuts in tried:
            continue
        tried.add(cuts)
        enough = peak_bytes(costs, cuts)
        found = _plan_of_cuts(graph, demands, readers, cuts, alignment, enough)
        if best is None or found.arena_bytes < best.arena_bytes:
            best = found
        if best.arena_bytes <= enough:
            break
    assert best is not None
    return best


def _plan_of_cuts(
    graph: RowGraph,
    demands: Demands,
    readers: list[list[int]],
    cuts: tuple[int, ...],
    alignment: int,
    enough_bytes: int,
) -> Plan:
    segments = tuple(pairwise(cuts))
    steps = [op for first, end in segments for op in demands.segment(first, end)]
    needed = buffers(graph, steps, readers, _stored_whole(graph, readers, segments))
    packing = pack(needed, alignment=alignment, enough_bytes=enough_bytes, attempts=ATTEMPTS)
    storages = [Storage(0, 0)] * len(graph.tensors)
    scratch, state = [-1] * len(graph.ops), [-1] * len(graph.ops)
    for buffer, offset in zip(needed, packing.offsets, strict=True):
        if buffer.kind is Kind.TENSOR:
            storages[buffer.index] = Storage(offset, buffer.rows)
        else:
            (scratch if buffer.kind is Kind.SCRATCH else state)[buffer.index] = offset
    return Plan(tuple(storages), tuple(scratch), tuple(state), segments, tuple(steps), packing.arena_bytes)


def _stored_whole(graph: RowGraph, readers: list[list[int]], segments: tuple[tuple[int, int], ...]) -> frozenset[int]:
    """The network's output, and tensors that another segment reads than the one that writes them."""
    segment = {op: number for number, (first, end) in enumerate(segments) for op in range(first, end)}
    writer = writers(graph)
    return frozenset(
        index
        for index in range(len(graph.tensors))
        if index == graph.output or any(segment[reader] != segment[writer[index]] for reader in readers[index])
    )
