"""A reader like a DataLoader's: worker processes read the files of shuffled batches and hand over their bytes."""
import multiprocessing
import os
import random

BATCH = 64
# Batches on their way for each worker, as a DataLoader has by default.
AHEAD = 2


def work(root, orders, batches):
    while (order := orders.get()) is not None:
        parts = []
        for name in order:
            with open(os.path.join(root, name), "rb", buffering=0) as f:
                parts.append(f.read())
        batches.put(b"".join(parts))


def names_below(root):
    """As a map-style dataset finds them before the first epoch."""
    return sorted(os.path.relpath(os.path.join(directory, name), root)
                  for directory, _, names in os.walk(root) for name in names)


def epoch(root, workers, seed):
    """Reads every file below `root` once, in an order drawn by `seed`; gives the bytes received."""
    names = names_below(root)
    random.Random(seed).shuffle(names)
    orders = iter([names[at:at + BATCH] for at in range(0, len(names), BATCH)])
    context = multiprocessing.get_context("fork")
    to, back = context.Queue(), context.SimpleQueue()
    processes = [context.Process(target=work, args=(str(root), to, back)) for _ in range(workers)]
    for process in processes:
        process.start()
    waiting = received = 0
    for order in orders:
        to.put(order)
        waiting += 1
        if waiting == workers * AHEAD:
            received += len(back.get())
            waiting -= 1
    for _ in range(waiting):
        received += len(back.get())
    for _ in processes:
        to.put(None)
    for process in processes:
        process.join()
    return received
