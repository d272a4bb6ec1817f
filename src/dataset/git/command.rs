//! Asking the program `git`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::super::error::{Error, Result};

/// Settings of a repository that would have its programs run. git itself refuses a repository of another user.
const RUN_NOTHING: [&str; 6] =
    ["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "log.showSignature=false"];
/// Fields of a commit that git prints, each with a NUL behind it.
const FORMAT: &str = "--format=tformat:%H%x00%an <%ae>%x00%aI%x00%ct%x00%B";
const FIELDS: usize = 5;

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its object id, in hex.
    pub id: String,
    /// Name and mail address of its author.
    pub author: String,
    /// When it was authored, RFC 3339.
    pub date: String,
    /// When it was committed, in seconds since 1970.
    pub committed: i64,
    /// Its message.
    pub message: String,
}

/// A path that differs between two commits.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// Mode and object before and after; the mode is 0 where there was or is nothing.
    pub before: (u32, String),
    pub after: (u32, String),
    pub path: Vec<u8>,
}

/// A git repository.
#[derive(Clone, Debug)]
pub struct Repository {
    dir: PathBuf,
    git_dir: PathBuf,
    top: Option<PathBuf>,
    empty_tree: String,
}

impl Repository {
    /// The repository whose work tree, or bare repository, `dir` is.
    ///
    /// # Errors
    /// Where git is not there, or says that it is none, or that of another directory.
    pub fn open(dir: &Path) -> Result<Repository> {
        let mut repository =
            Repository { dir: dir.to_owned(), git_dir: PathBuf::new(), top: None, empty_tree: String::new() };
        let absolute = "--path-format=absolute";
        let git_dir = repository.run(&["rev-parse", absolute, "--git-common-dir"])?;
        repository.git_dir = path_of(&git_dir);
        // A bare repository has none.
        let top = repository.run(&["rev-parse", absolute, "--show-toplevel"]);
        repository.top = top.ok().map(|top| path_of(&top));
        if let Some(top) = repository.top().filter(|top| *top != dir) {
            let why =
                format!("it is part of {}: name that, and --path with what of it to import", top.display());
            return Err(repository.failed(&why));
        }
        repository.empty_tree = text(&repository.run(&["hash-object", "-t", "tree", "--stdin"])?);
        Ok(repository)
    }

    /// Whether `dir` is, or looks like, the top of a git work tree or a bare repository.
    pub fn is_one(dir: &Path) -> bool {
        dir.join(".git").exists() || (dir.join("HEAD").is_file() && dir.join("objects").is_dir())
    }

    /// The directory git-lfs keeps its objects in.
    pub(super) fn lfs_objects(&self) -> PathBuf {
        // There need be no such setting.
        let storage = self.run(&["config", "--type=path", "--get", "lfs.storage"]);
        let storage = storage.map_or_else(|_| PathBuf::from("lfs"), |path| path_of(&path));
        self.git_dir.join(storage).join("objects")
    }

    /// The top of the work tree, if there is one.
    pub(super) fn top(&self) -> Option<&Path> {
        self.top.as_deref()
    }

    /// The commits of `branch` along first parents, oldest first.
    pub(super) fn commits(&self, branch: &str) -> Result<Vec<Commit>> {
        let tip = format!("{branch}^{{commit}}");
        let tip = self.run(&["rev-parse", "--verify", "--quiet", "--end-of-options", &tip]);
        let missing = |_| self.failed(&format!("it has no commit '{branch}'"));
        let tip = text(&tip.map_err(missing)?);
        let list = ["log", "-z", "--first-parent", "--reverse", "--encoding=UTF-8", FORMAT, &tip, "--"];
        let said = self.run(&list)?;
        let fields: Vec<&[u8]> = said.split(|byte| *byte == 0).collect();
        let mut commits = Vec::with_capacity(fields.len() / FIELDS);
        for fields in fields.chunks_exact(FIELDS) {
            commits.push(Commit {
                id: text(fields[0]),
                author: text(fields[1]),
                date: text(fields[2]),
                committed: text(fields[3]).parse().map_err(|_| self.failed("git gave a commit no time"))?,
                message: text(fields[4]),
            });
        }
        Ok(commits)
    }

    /// The names of tags, by the commit they mean.
    pub(super) fn tags(&self) -> Result<BTreeMap<String, Vec<String>>> {
        let format = "--format=%(objectname) %(*objectname) %(refname:strip=2)";
        let said = self.run(&["for-each-ref", format, "refs/tags"])?;
        let mut tags: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in String::from_utf8_lossy(&said).lines() {
            if let [object, peeled, name] = line.splitn(3, ' ').collect::<Vec<_>>()[..] {
                let commit = if peeled.is_empty() { object } else { peeled };
                tags.entry(commit.to_owned()).or_default().push(name.to_owned());
            }
        }
        Ok(tags)
    }

    /// What differs below `path` between two commits, the first of which may be none.
    pub(super) fn differences(
        &self,
        before: Option<&str>,
        after: &str,
        path: Option<&Path>,
    ) -> Result<Vec<Difference>> {
        let before = before.unwrap_or(&self.empty_tree);
        let how = ["--literal-pathspecs", "diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev"];
        let mut words: Vec<&OsStr> = how.iter().map(OsStr::new).collect();
        words.extend([before, after, "--"].map(OsStr::new));
        words.extend(path.map(Path::as_os_str));
        let said = self.run(&words)?;
        let mut parts = said.split(|byte| *byte == 0);
        let mut all = Vec::new();
        while let Some(about) = parts.next().filter(|about| !about.is_empty()) {
            let path = parts.next().unwrap_or_default().to_vec();
            let words = text(about.strip_prefix(b":").unwrap_or(about));
            let words: Vec<&str> = words.split(' ').collect();
            let mode = |text: &str| u32::from_str_radix(text, 8).ok();
            let (Some(from), Some(to), Some(old), Some(new)) = (
                words.first().and_then(|word| mode(word)),
                words.get(1).and_then(|word| mode(word)),
                words.get(2),
                words.get(3),
            ) else {
                return Err(self.failed("git printed a difference that cannot be understood"));
            };
            let (before, after) = ((from, (*old).to_owned()), (to, (*new).to_owned()));
            all.push(Difference { before, after, path });
        }
        Ok(all)
    }

    /// Begins to read objects; `how` is `--batch` or `--batch-check`.
    pub(super) fn cat(&self, how: &str) -> Result<Cat> {
        let mut command = self.command();
        command.args(["cat-file", how]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|e| not_run(&e))?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(self.failed("git has no input or output"));
        };
        Ok(Cat { child, to, from: BufReader::with_capacity(256 << 10, from), dir: self.dir.clone() })
    }

    fn command(&self) -> Command {
        let mut command = Command::new("git");
        command.arg("-C").arg(&self.dir).args(RUN_NOTHING).stdin(Stdio::null()).stderr(Stdio::null());
        // Such variables would have git look elsewhere, or at something else.
        let set = std::env::vars_os().map(|(name, _)| name);
        for name in set.filter(|name| name.as_bytes().starts_with(b"GIT_")) {
            command.env_remove(name);
        }
        // Nothing is written, nothing fetched over a network, and history is what the commits say.
        command
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_ALLOW_PROTOCOL", "none");
        command.env("GIT_NO_REPLACE_OBJECTS", "1").env("LC_ALL", "C");
        command
    }

    fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<Vec<u8>> {
        let output = self.command().args(arguments).stderr(Stdio::piped()).output();
        let output = output.map_err(|e| not_run(&e))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = text(&output.stderr);
        let why = said.lines().next().unwrap_or("git failed");
        Err(self.failed(why.strip_prefix("fatal: ").unwrap_or(why)))
    }

    pub(super) fn failed(&self, why: &str) -> Error {
        Error::Invalid(format!("cannot import the history of {}: {why}", self.dir.display()))
    }
}

/// A git that gives objects as it is asked for them.
#[derive(Debug)]
pub(super) struct Cat {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    dir: PathBuf,
}

impl Cat {
    /// Asks for an object: its length. With `--batch`, that many bytes and an end of line are to be read next.
    pub fn ask(&mut self, oid: &str) -> Result<u64> {
        let sent = self.to.write_all(format!("{oid}\n").as_bytes()).and_then(|()| self.to.flush());
        let mut line = String::new();
        let answered = sent.and_then(|()| self.from.read_line(&mut line));
        answered.map_err(|e| self.broken(oid, &e.to_string()))?;
        let size = line.trim_end().rsplit(' ').next().and_then(|size| size.parse().ok());
        size.ok_or_else(|| {
            self.broken(oid, "it is missing (`git fsck` tells what is; `git fetch` may bring it)")
        })
    }

    /// Whether a commit has something at a path; only for `--batch-check`.
    pub fn has(&mut self, commit: &str, path: &Path) -> Result<bool> {
        let mut object = format!("{commit}:").into_bytes();
        object.extend_from_slice(path.as_os_str().as_bytes());
        // It could not be asked for.
        if object.contains(&b'\n') {
            return Ok(false);
        }
        object.push(b'\n');
        let sent = self.to.write_all(&object).and_then(|()| self.to.flush());
        let mut line = Vec::new();
        let answered = sent.and_then(|()| self.from.read_until(b'\n', &mut line));
        answered.map_err(|e| self.broken(commit, &e.to_string()))?;
        Ok(!line.ends_with(b" missing\n"))
    }

    /// Reads an object, part by part.
    pub fn read(&mut self, oid: &str, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut left = self.ask(oid)?;
        let mut block = vec![0; 256 << 10];
        while left > 0 {
            let len = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.from.read_exact(&mut block[..len]).map_err(|e| self.broken(oid, &e.to_string()))?;
            each(&block[..len])?;
            left -= len as u64;
        }
        let mut end = [0];
        self.from.read_exact(&mut end).map_err(|e| self.broken(oid, &e.to_string()))
    }

    /// The bytes of a small object.
    pub fn bytes(&mut self, oid: &str) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        self.read(oid, &mut |bytes| {
            all.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(all)
    }

    fn broken(&self, oid: &str, why: &str) -> Error {
        let dir = self.dir.display();
        Error::Invalid(format!("cannot import the history of {dir}: git object {oid} cannot be read: {why}"))
    }
}

impl Drop for Cat {
    fn drop(&mut self) {
        // It has nothing to finish.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn not_run(error: &std::io::Error) -> Error {
    Error::Invalid(format!("cannot run git, which reads git repositories: {error} (is it installed?)"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

fn path_of(line: &[u8]) -> PathBuf {
    PathBuf::from(std::ffi::OsString::from_vec(line.strip_suffix(b"\n").unwrap_or(line).to_vec()))
}

/// A path as bytes of git are.
pub(super) fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}
