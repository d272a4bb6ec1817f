

class Storm(Process):
    """Writes, renames and removes files in a dataset that others do the same in, and that is rolled back under
    their feet. A file's content is written before it has its name, so it is whole wherever it is seen."""

    EXPECTED = {errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR, errno.ESTALE}

    def run(self):
        root = os.path.join(CONFIG["mount"], CONFIG["dataset"])
        for number, _ in enumerate(self.turns()):
            name = lambda: os.path.join(root, self.random.choice(["", "a", "b"]), f"s{self.random.randrange(12)}")
            what = self.random.randrange(10)
            try:
                if what < 5:
                    new = os.path.join(root, f"new {os.getpid()} {number}")
                    data = hashlib.shake_128(new.encode()).digest(self.random.randrange(1, 120_000))
                    self.log("w", digest(data))
                    with open(new, "xb", buffering=0) as file:
                        file.write(data)
                        if self.random.random() < 0.1:
                            os.fsync(file.fileno())
                    os.rename(new, name())
                elif what < 7:
                    os.rename(name(), name())
                elif what == 7:
                    os.unlink(name())
                elif what == 8:
                    os.mkdir(os.path.join(root, self.random.choice("ab")))
                else:
                    digest(read(name()))
            except OSError as error:
                if error.errno not in self.EXPECTED:
                    raise


class Reader(Process):
    """Reads versions at random, and notes what it saw. One that it does not find was pruned."""

    def run(self):
        for _ in self.turns():
            name = self.random.choice(CONFIG["datasets"])
            root = os.path.join(CONFIG["mount"], name)
            try:
                newest = int(os.getxattr(root, "user.strata.version").decode()[1:])
            except OSError as error:
                if error.errno != errno.ENODATA:
                    raise
                continue  # It has no version yet.
            version = self.random.randrange(1, newest + 1)
            if self.random.random() < 0.5:
                version = max(1, newest - self.random.randrange(30))
            try:
                self.read(name, version, os.path.join(root, f"@v{version}"))
            except OSError:
                if not self.is_pruned(name, version):
                    raise

    def read(self, name, version, at):
        what = self.random.random()
        if what < 0.9:
            self.log("r", name, version, tree_digest(tree_of(at)))
        elif what < 0.95:
            snapshot = os.getxattr(at, "user.strata.snapshot").decode()
            hashed = self.strata("hash", at).split()[0]
            if hashed != snapshot:
                raise AssertionError(f"{at}: its tree hashes to {hashed}, its snapshot is {snapshot}")
        else:
            shown = self.strata.json("show", f"{name}@v{version}")
            if shown["version"] != f"v{version}":
                raise AssertionError(shown)


class Keeper(Process):
    """Prunes, pins and unpins versions of datasets that others write to, has the daemon prune them by rules, and
    gives back space."""

    def run(self):
        acts = [self.prune, self.prune, self.collect, self.collect, self.rules, self.pin]
        for _ in self.turns():
            self.name = self.random.choice(CONFIG["datasets"])
            self.random.choice(acts)()
        # However few versions there were time for.
        for self.name in CONFIG["datasets"]:
            self.prune(5)
        self.collect()

    def prune(self, most=60):
        last = str(self.random.randrange(4, most))
        while True:
            try:
                return self.strata("prune", self.name, "--keep-last", last)
            except OSError as error:
                # What it was about to drop is being read: it drops nothing then, and says so.
                if "opened meanwhile" not in str(error):
                    raise

    def collect(self):
        self.strata("gc", *["--all"] * self.random.randrange(2))

    def rules(self):
        self.strata("set", self.name, "retention=" + self.random.choice(["none", "keep-last=50,every=1s"]))

    def pin(self):
        versions = self.log_of(self.name)
        version = self.random.choice([number for number, pruned in versions.items() if not pruned] or [None])
        try:
            if version:
                self.strata("pin", f"{self.name}@v{version}")
        except OSError:
            if not self.is_pruned(self.name, version):
                raise
            # It was pruned before it could be pinned.
            return
        else:
            if version and self.is_pruned(self.name, version):
                raise AssertionError(f"{self.name}@v{version} was pinned and then pruned")
        if self.random.random() < 0.5 and version:
            self.strata("unpin", f"{self.name}@v{version}")


class Clerk(Process):
    """Sets policies, commits, rolls back and makes batches on a dataset that others write to; makes, renames
    and archives datasets; has the store verified."""

    POLICIES = ["every-write", "settle=50ms", "settle=2s", "manual"]

    def run(self):
        acts = [self.policy, self.commit, self.batch, self.rollback, self.dataset, self.look]
        for self.turn, _ in enumerate(self.turns()):
            self.random.choice(acts)()
            if self.turn % CONFIG["verify_every"] == CONFIG["verify_every"] - 1:
                self.strata("verify")

    def policy(self):
        self.strata("set", CONFIG["dataset"], f"policy={self.random.choice(self.POLICIES)}")

    def commit(self):
        self.strata("commit", CONFIG["dataset"], "-m", f"turn {self.turn}")

    def batch(self):
        fails = CONFIG["rollbacks"] and self.random.random() < 0.3
        options = ["--dataset", CONFIG["dataset"]] + ["--rollback-on-error"] * fails
        self.strata("batch", *options, "--", "sh", "-c", f"sleep 0.05; exit {int(fails)}", expect=(int(fails),))

    def rollback(self):
        name = CONFIG["dataset"]
        versions = self.log_of(name, "-n", "40")
        numbers = list(versions)
        if numbers and numbers != list(range(numbers[0], numbers[0] - len(numbers), -1)):
            raise AssertionError(f"{name}: its log has {numbers}")
        kept = [number for number, pruned in versions.items() if not pruned]
        if CONFIG["rollbacks"] and kept:
            looked_at = [self.random.choice(kept)]
            try:
                self.rollback_to(name, looked_at)
            except OSError:
                if not any(self.is_pruned(name, version) for version in looked_at):
                    raise

    def rollback_to(self, name, looked_at):
        made = self.strata.json("rollback", name, f"v{looked_at[0]}")
        if made["version"]:
            looked_at.append(int(made["version"][1:]))
            roots = [os.path.join(CONFIG["mount"], name, "@" + made[key]) for key in ("version", "restores")]
            snapshots = [os.getxattr(root, "user.strata.snapshot") for root in roots]
            if snapshots[0] != snapshots[1] or tree_of(roots[0]) != tree_of(roots[1]):
                raise AssertionError(f"{name}: {made} have other trees")

    def dataset(self):
        own = os.path.join(CONFIG["mount"], CONFIG["own"])
        os.makedirs(own, exist_ok=True)
        with open(os.path.join(own, "f"), "w") as file:
            file.write(f"{self.turn}")
        os.rename(own, own + "-away")
        os.unlink(own + "-away/f")
        os.rename(own + "-away", own)
        os.rmdir(own)

    def look(self):
        self.strata("datasets", "--json")
        self.strata("status", "--json")


def main():
    try:
        {"writer": Writer, "storm": Storm, "reader": Reader, "keeper": Keeper, "clerk": Clerk}[CONFIG["role"]]().run()
    except OSError as error:
        if not CONFIG.get("may_go") or error.errno not in GONE:
            raise
    except subprocess.TimeoutExpired:
        if not CONFIG.get("may_go"):
            raise


main()
