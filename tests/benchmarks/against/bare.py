"""The limit: what the job's networks cost by themselves, on batches that lie ready and are not altered.

A process of one thread. Each training: teacher and student forward, backward, a fused optimizer's step; each test: the student
over the test split. Memory is kept and images are in channels-last order, as the harness has both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from harness.running.executors import memory
from tests.benchmarks.against.job import TESTS, Job, evaluating, serve
from tests.benchmarks.released import LOSSES

TEST_BATCH = 200


def trainings(job: Job, losses: Sequence[str], seeds: int, every: int) -> Iterator[tuple[str, float]]:
    """Train each loss and seed; yield the loss and the accuracy at its last test."""
    memory.keep_freed()
    torch.set_num_threads(1)
    images, tests = (job.normalised(pixels).to(memory_format=torch.channels_last) for pixels in (job.images, job.test_images))
    batches = [*zip(images.split(job.batch), job.labels.split(job.batch), strict=True)]
    teacher = job.taught.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for loss in losses:
        for seed in range(seeds):
            torch.manual_seed(seed)
            student, accuracy = job.student().to(memory_format=torch.channels_last), 0.0  # type: ignore[call-overload]
            optimizer = job.adamw(student, fused=True)
            for number in range(1, job.epochs + 1):
                for x, y in batches:
                    with torch.no_grad():
                        soft = teacher(x)
                    optimizer.zero_grad()
                    LOSSES[loss](student(x), soft, y).backward()
                    optimizer.step()
                if number % every == 0:
                    with evaluating(student):
                        found = torch.cat([student(x).argmax(1) for x in tests.split(TEST_BATCH)])
                    accuracy = 100 * float((found == job.test_labels).float().mean())
            yield loss, accuracy


if __name__ == "__main__":
    serve(trainings, lambda epochs: epochs // TESTS)
