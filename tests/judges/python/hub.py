"""Hugging Face datasets, offline: loaded from parquet files live and in versions, the cache in the mount."""

import os

from common import ROOT, pin, rows

os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["HF_HOME"] = str(ROOT / "home")

import datasets  # noqa: E402
import pyarrow  # noqa: E402
import pyarrow.parquet  # noqa: E402

COUNT, SHARDS = 3000, 4
datasets.disable_progress_bars()


def write(seed):
    (ROOT / "shards").mkdir(exist_ok=True)
    for shard in range(SHARDS):
        pyarrow.parquet.write_table(pyarrow.table(rows(seed + shard, COUNT)), ROOT / f"shards/train-{shard}.parquet")


def load(root):
    files = {"train": str(root / "shards/train-*.parquet")}
    return datasets.load_dataset("parquet", data_files=files, split="train")


def wanted(seed):
    return [number for shard in range(SHARDS) for number in rows(seed + shard, COUNT)["id"]]


write(1)
before = pin()
write(50)
for root, seed in ((ROOT, 50), (before, 1)):
    loaded = load(root)
    assert list(loaded["id"]) == wanted(seed), root
    assert loaded.cache_files and all(f["filename"].startswith(str(ROOT / "home")) for f in loaded.cache_files)
    # Again, from the cache; then by way of transformations that write cache files of their own.
    assert list(load(root)["id"]) == wanted(seed)
    even = loaded.filter(lambda row: row["id"] % 2 == 0, num_proc=2)
    assert list(even["id"]) == [n for n in wanted(seed) if n % 2 == 0]
    mapped = loaded.map(lambda batch: {"double": [2 * n for n in batch["id"]]}, batched=True, num_proc=2)
    assert mapped[17]["double"] == 2 * wanted(seed)[17]
    shuffled = mapped.shuffle(seed=3)
    assert sorted(shuffled["id"]) == sorted(wanted(seed))
    assert [row["id"] for row in load(root).to_iterable_dataset().take(10)] == wanted(seed)[:10]

loaded.save_to_disk(ROOT / "saved", num_shards=3)
saved = pin()
datasets.Dataset.from_dict({"id": [1, 2, 3]}).save_to_disk(ROOT / "saved", num_shards=1)
assert list(datasets.load_from_disk(str(saved / "saved"))["id"]) == wanted(1)
assert list(datasets.load_from_disk(str(ROOT / "saved"))["id"]) == [1, 2, 3]
