

FILES, DIRS = 14, 3


class Writer(Process):
    """Changes files in a dataset, or a directory of it, that is all its own: what its tree is at each moment,
    and which change makes which version, it knows beforehand."""

    def __init__(self):
        super().__init__()
        self.name, self.policy = CONFIG["dataset"], CONFIG["policy"]
        self.root = os.path.join(CONFIG["mount"], self.name, CONFIG.get("prefix", ""))
        self.number, self.version = CONFIG["number"], CONFIG["version"]
        self.tree = tree_of(self.root)
        # Whether there is anything for a commit: then no version has this tree.
        self.pending = CONFIG.get("pending", False)
        self.trees = {} if self.pending else {self.version: dict(self.tree)}
        self.fsyncs = CONFIG.get("fsyncs", 0.3)

    def path(self, path):
        return os.path.join(self.root, path)

    def content(self, least=1):
        size = self.random.choices([4000, 60_000, 400_000, 3_000_000], [70, 22, 7.5, 0.5])[0]
        size = max(least, self.random.randrange(1, min(size, CONFIG.get("largest", 3_000_000))))
        seed = f"{self.name}/{CONFIG.get('prefix', '')} {CONFIG['seed']} {self.number}".encode()
        return hashlib.shake_128(seed).digest(size)

    def files(self):
        return [path for path, value in self.tree.items() if value != "dir" and not value.startswith("->")]

    def dirs(self):
        return [""] + [path for path, value in self.tree.items() if value == "dir"]

    def free_name(self):
        return os.path.join(self.random.choice(self.dirs()), f"f{self.random.randrange(FILES)}")

    def change(self, delta, act, closed=None, versions=1):
        """Does `act`, which turns the tree by `delta` and makes one version (or none) of it."""
        cuts = versions if self.policy == "every-write" or closed == "commit" else 0
        version = self.version + 1 if cuts else None
        self.log("b", self.number, time.monotonic(), delta, version, None if closed == "commit" else closed)
        act()
        self.log("a", self.number, time.monotonic())
        for path, value in delta.items():
            if value is None:
                self.tree.pop(path, None)
            else:
                self.tree[path] = value
        if cuts:
            self.version += 1
            self.trees[self.version] = dict(self.tree)
            if len(self.trees) > 200:
                del self.trees[next(iter(self.trees))]
        self.pending = closed != "commit"
        self.number += 1

    def sync(self, fd, always=False):
        if always or self.random.random() < self.fsyncs:
            began = time.monotonic()
            os.fsync(fd)
            self.log("d", self.number, began, time.monotonic())

    # Each of these is one change.

    def put(self, path=None):
        path = path or self.free_name()
        if self.tree.get(path) == "dir":
            return
        data = self.content()

        def act():
            fd = os.open(self.path(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(fd, rest[:131072]):]
            self.sync(fd)
            os.close(fd)

        self.change({path: digest(data)}, act, digest(data))

    def edit(self):
        files = self.files()
        if not files:
            return self.put()
        path = self.random.choice(files)
        data = bytearray(read(self.path(path)))
        new = self.content()[:max(16, len(data) // 3)]
        at = self.random.randrange(len(data) + 1)
        data[at:at + len(new)] = new

        def act():
            fd = os.open(self.path(path), os.O_WRONLY)
            os.pwrite(fd, new, at)
            self.sync(fd)
            os.close(fd)

        self.change({path: digest(data)}, act, digest(data))

    def append(self):
        files = self.files()
        if not files:
            return self.put()
        path = self.random.choice(files)
        data = read(self.path(path))
        if len(data) > 2_000_000:
            return self.put(path)
        new = self.content(16)[:20_000]

        def act():
            fd = os.open(self.path(path), os.O_WRONLY | os.O_APPEND)
            os.write(fd, new)
            self.sync(fd)
            os.close(fd)

        self.change({path: digest(data + new)}, act, digest(data + new))

    def map(self):
        files = [path for path in self.files() if os.path.getsize(self.path(path)) > 4096]
        if not files:
            return self.put()
        path = self.random.choice(files)
        data = bytearray(read(self.path(path)))
        new = self.content(16)[:2000]
        at = self.random.randrange(len(data) - len(new))
        data[at:at + len(new)] = new

        def act():
            fd = os.open(self.path(path), os.O_RDWR)
            with mmap.mmap(fd, len(data)) as mapped:
                mapped[at:at + len(new)] = new
                began = time.monotonic()
                mapped.flush()
                self.log("d", self.number, began, time.monotonic())
            os.close(fd)

        self.change({path: digest(data)}, act, digest(data))

    def truncate(self):
        files = [path for path in self.files() if os.path.getsize(self.path(path)) > 64]
        if not files:
            return self.put()
        path = self.random.choice(files)
        data = read(self.path(path))
        size = self.random.randrange(32, len(data))
        self.change({path: digest(data[:size])}, lambda: os.truncate(self.path(path), size), digest(data[:size]))

    def rename(self):
        files = self.files()
        if not files:
            return self.put()
        old, new = self.random.choice(files), self.free_name()
        if old == new or self.tree.get(new) == "dir":
            return
        self.change({old: None, new: self.tree[old]}, lambda: os.rename(self.path(old), self.path(new)))
        if self.random.random() < self.fsyncs / 3:
            self.sync_dir()

    def replace(self):
        """As editors save: a new file beside, fsync, rename over."""
        path = self.free_name()
        if self.tree.get(path) == "dir" or "new" in self.tree:
            return self.edit()
        self.put("new")
        self.change({"new": None, path: self.tree["new"]}, lambda: os.rename(self.path("new"), self.path(path)))

    def unlink(self):
        files = self.files()
        if files:
            path = self.random.choice(files)
            self.change({path: None}, lambda: os.unlink(self.path(path)))

    def mkdir(self):
        path = f"d{self.random.randrange(DIRS)}"
        if path not in self.tree:
            return self.change({path: "dir"}, lambda: os.mkdir(self.path(path)))
        if not any(below.startswith(path + "/") for below in self.tree):
            self.change({path: None}, lambda: os.rmdir(self.path(path)))

    def move_dir(self):
        dirs, new = self.dirs()[1:], f"d{self.random.randrange(DIRS)}"
        if not dirs or new in self.tree:
            return self.mkdir()
        old = self.random.choice(dirs)
        moved = {path: value for path, value in self.tree.items() if path == old or path.startswith(old + "/")}
        delta = dict.fromkeys(moved) | {new + path[len(old):]: value for path, value in moved.items()}
        self.change(delta, lambda: os.rename(self.path(old), self.path(new)))

    def symlink(self):
        path, target = f"l{self.random.randrange(3)}", f"to {self.number}"
        if path in self.tree:
            return self.change({path: None}, lambda: os.unlink(self.path(path)))
        self.change({path: "->" + target}, lambda: os.symlink(target, self.path(path)))

    def sync_dir(self):
        fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        began = time.monotonic()
        os.fsync(fd)
        # Of the change that comes next nothing is durable.
        self.log("d", self.number - 1, began, time.monotonic())
        os.close(fd)

    # What the commands do.

    def commit(self):
        if self.policy == "manual" and self.pending:
            def act():
                began = time.monotonic()
                made = self.strata.json("commit", self.name, "-m", f"after {self.number}")
                self.log("d", self.number, began, time.monotonic())
                self.expect(made["version"], self.version + 1)

            return self.change({}, act, "commit")
        began = time.monotonic()
        self.strata("commit", self.name)
        self.log("d", self.number - 1, began, time.monotonic())

    def rollback(self):
        if self.policy == "settle" or self.pending and self.policy == "manual" or len(self.trees) < 3:
            return
        to = self.random.choice([version for version in self.trees if version > 0][:-1])
        tree = self.trees[to]
        delta = {path: None for path in self.tree if path not in tree}
        delta |= {path: value for path, value in tree.items() if self.tree.get(path) != value}

        def act():
            began = time.monotonic()
            made = self.strata.json("rollback", self.name, f"v{to}")
            self.log("d", self.number, began, time.monotonic())
            self.expect((made["version"], made["restores"]), (self.version + 1, to))

        # What has a tag is not pruned meanwhile.
        tag = f"back-{self.number}"
        try:
            self.strata("tag", f"{self.name}@v{to}", tag)
        except OSError:
            if self.is_pruned(self.name, to):
                return
            raise
        self.change(delta, act, "commit")
        self.strata("untag", self.name, tag)
        self.expect_tree(self.root)

    def batch(self):
        """Several changes as one version, or, where the command fails, taken back."""
        if self.policy != "every-write":
            return
        fails, (a, b) = self.random.random() < 0.3, (self.content(), self.content(5000)[:5000] + b"b")
        if any(self.tree.get(path) == "dir" for path in ("f0", "f1")):
            return
        script = 'cat > f0; head -c "$1" f0 > f1; rm -f f2; exit "$2"'
        split = len(b)
        delta = {"f0": digest(b + a), "f1": digest(b), "f2": None}
        if "f2" not in self.tree:
            del delta["f2"]
        if self.tree.get("f2") == "dir":
            return
        command = ["sh", "-c", script, "sh", str(split), str(int(fails))]
        options = ["--dataset", self.name, "--rollback-on-error"]

        def act():
            ran = subprocess.run(
                [CONFIG["strata"], "batch", *options, "--", *command], input=b + a, cwd=self.root,
                env=self.strata.environment, capture_output=True, timeout=120)
            if ran.returncode != int(fails):
                raise OSError(errno.EIO, f"batch ended with {ran.returncode}: {ran.stderr.decode()}")

        if fails:
            act()
        else:
            self.change(delta, act, "commit")
        self.expect_tree(self.root)

    def expect(self, got, wanted):
        spelled = lambda v: tuple(map(spelled, v)) if isinstance(v, tuple) else f"v{v}" if isinstance(v, int) else v
        if got != spelled(wanted):
            raise AssertionError(f"{self.name}: {got} where {spelled(wanted)} was to be, at change {self.number}")

    def expect_tree(self, root):
        found = tree_of(root)
        if found != self.tree:
            differing = sorted(p for p in found.keys() | self.tree.keys() if found.get(p) != self.tree.get(p))
            raise AssertionError(f"{root} differs in {differing} at change {self.number}")

    def look(self):
        """The newest version is the tree as it is, and has the number that was counted."""
        if self.policy != "every-write":
            return
        version = os.getxattr(self.root, "user.strata.version").decode()
        self.expect(version, self.version)
        self.expect_tree(os.path.join(self.root, f"@v{self.version}"))

    def run(self):
        weights = {
            self.put: 30, self.edit: 20, self.append: 12, self.truncate: 4, self.rename: 10,
            self.replace: 5, self.unlink: 6, self.mkdir: 3, self.move_dir: 2, self.symlink: 2,
        }
        if self.fsyncs:
            weights[self.map] = 3
        if self.fsyncs and not CONFIG.get("prefix"):
            weights |= {self.commit: 1 if self.policy != "manual" else 4, self.rollback: 1, self.look: 1}
            if CONFIG.get("batches"):
                weights[self.batch] = 1
        acts, odds = list(weights), list(weights.values())
        for _ in self.turns():
            self.random.choices(acts, odds)[0]()
