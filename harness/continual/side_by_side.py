"""Streams of classes side by side on a GPU: each in its turn asks for an epoch's steps, on a CUDA stream of its own."""

from __future__ import annotations

import copy
from collections.abc import Generator, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from harness.core import seeds
from harness.training.graphs import torch_state, torch_stream_kept
from harness.training.overlap import Graphs, on_stream

T = TypeVar("T")

#: Streams of classes that are trained side by side, at most: each has captured steps of its own, which take memory and time.
MOST = 4
#: Steps of training in a step of the stream from which on captured steps of its own pay for each.
WORTH = 200


def in_turns(courses: Sequence[Generator[None, None, T]], graphs: Graphs, device: torch.device) -> list[T]:
    """Go through courses a piece at a time, in turns, and return what they return.

    Each has its own place in the streams that all code shares, and its own CUDA stream where the device has such, so that it
    does what it does alone, to the bit. An error of one ends them all.
    """
    streams = graphs.side_streams(device, len(courses))
    places = [seeds.Place() for _ in courses]
    results: dict[int, T] = {}
    for stream in streams:
        if stream is not None:
            stream.wait_stream(torch.cuda.current_stream(device))
    try:
        while len(results) < len(courses):
            for number in [number for number in range(len(courses)) if number not in results]:
                with places[number], on_stream(streams[number]):
                    try:
                        next(courses[number])
                    except StopIteration as end:
                        results[number] = end.value
    finally:
        for course in courses:
            course.close()
        for stream in streams:
            if stream is not None:
                torch.cuda.current_stream(device).wait_stream(stream)
    return [results[number] for number in range(len(courses))]


def draws(student: nn.Module, images: Tensor) -> bool:
    """Whether a student draws from torch's own random stream in training, which only one at a time can have on a GPU."""
    network = copy.deepcopy(student).train()
    with torch.no_grad(), torch_stream_kept(images):
        before = torch_state(images)
        network(images)
        return not torch.equal(before, torch_state(images))
