"""numpy arrays that are mapped files: changed in place, grown, and read in versions."""

import numpy

from common import ROOT, pin

SHAPE = (512, 1024)
path = "array.f32"


def values(seed):
    return numpy.random.default_rng(seed).random(SHAPE, dtype=numpy.float32)


def opened(root, mode, shape=SHAPE):
    return numpy.memmap(root / path, dtype=numpy.float32, mode=mode, shape=shape)


first = values(1)
array = opened(ROOT, "w+")
array[:] = first
array.flush()
versions = [(pin(), first.copy())]

# Rows here and there, each time flushed: what is flushed is a version, while the file stays mapped.
current = first.copy()
for step in range(5):
    for row in range(step, SHAPE[0], 97):
        array[row] = current[row] = values(step + 10)[row]
    array.flush()
    versions.append((pin(), current.copy()))
    assert numpy.array_equal(numpy.fromfile(ROOT / path, dtype=numpy.float32).reshape(SHAPE), current)
del array

array = opened(ROOT, "r+")
array[-1] = 0
current[-1] = 0
del array
versions.append((pin(), current.copy()))

# Changes of a copy stay where they are made.
private = opened(ROOT, "c")
private[:] = 0
assert numpy.array_equal(opened(ROOT, "r"), current)

# Grown through a mapping beyond the end.
taller = (SHAPE[0] + 100, SHAPE[1])
array = opened(ROOT, "r+", taller)
array[SHAPE[0] :] = 1
del array
assert numpy.array_equal(opened(ROOT, "r", taller)[: SHAPE[0]], current)
assert (opened(ROOT, "r", taller)[SHAPE[0] :] == 1).all()

for root, wanted in versions:
    assert numpy.array_equal(opened(root, "r"), wanted), root
assert len({root for root, _ in versions}) == len(versions)
try:
    opened(versions[0][0], "r+")
except OSError:
    pass
else:
    raise AssertionError("a version was opened for writing")

# .npy and .npz, mapped where they can be.
numpy.save(ROOT / "saved.npy", first)
numpy.savez(ROOT / "saved.npz", first=first, current=current)
for root in (ROOT, pin()):
    assert numpy.array_equal(numpy.load(root / "saved.npy", mmap_mode="r"), first)
    with numpy.load(root / "saved.npz") as arrays:
        assert numpy.array_equal(arrays["current"], current)
