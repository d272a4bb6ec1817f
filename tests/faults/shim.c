/* Stands between a process and the C library (LD_PRELOAD), for the files below one directory: records
 * each call that changes them in a trace, and makes chosen calls fail. Everything else passes through.
 *
 * STRATA_SHIM_ROOT     the directory, absolute and without links
 * STRATA_SHIM_CONTROL  a file of struct control, shared with the test
 * STRATA_SHIM_TRACE    where to append the trace; none is kept where it is not set
 * STRATA_SHIM_ONLY     only processes with this argument are concerned
 *
 * The order of the trace is that of the effects: calls that change something are made and recorded under
 * one lock. A sync is two events, around the call: what others change meanwhile may be in it or not.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum class { NONE, WRITE, SYNC, OPEN, RENAME, NAMES, SIZE, CLASSES };
enum kind { K_OPEN = 1, K_WRITE, K_SIZE, K_SYNC, K_SYNCED, K_RENAME, K_UNLINK, K_MKDIR, K_RMDIR, K_UNKNOWN };

/* As in shim.rs. */
struct control {
    _Atomic uint32_t pid;            /* of the process */
    _Atomic uint32_t armed;          /* calls of the class in its low byte fail; above, how often it was */
    _Atomic uint32_t from, until;    /* from this one on up to that one, counted from 1 */
    _Atomic uint32_t error;          /* the errno; 0: half of what was to be written is */
    _Atomic uint32_t fired;          /* how many calls were made to fail */
    _Atomic uint32_t next;           /* handle of the next open */
    _Atomic uint32_t count[CLASSES]; /* calls so far, since it was armed */
    _Atomic uint32_t seen;           /* how often it was armed when the last call was counted */
    char only[128];                  /* calls count and fail only where the path contains this */
    char hit[256];                   /* the path of the first that failed */
};

struct event {
    uint32_t kind, handle;
    uint64_t offset;
    uint32_t a, b;
};

/* An open file below the directory. */
struct file {
    uint32_t handle; /* 0: not concerned */
    char *path;
};

#define FDS 65536
static struct file files[FDS];
static struct control *control;
static const char *root;
static size_t root_len;
static int trace = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(type, name, ...) ({ \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name); \
    real; })

static int real_open(const char *path, int flags, mode_t mode) {
    return REAL(int, openat64, int, const char *, int, ...)(AT_FDCWD, path, flags, mode);
}

__attribute__((constructor)) static void begin(int argc, char **argv) {
    const char *dir = getenv("STRATA_SHIM_ROOT"), *only = getenv("STRATA_SHIM_ONLY");
    const char *shared = getenv("STRATA_SHIM_CONTROL"), *to = getenv("STRATA_SHIM_TRACE");
    int wanted = !only;
    for (int i = 1; only && i < argc; i++) wanted |= !strcmp(argv[i], only);
    if (!dir || !shared || !wanted) return;
    int fd = real_open(shared, O_RDWR | O_CLOEXEC, 0);
    void *map = fd < 0 ? MAP_FAILED : mmap(0, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED || (to && (trace = real_open(to, O_WRONLY | O_APPEND | O_CLOEXEC, 0)) < 0)) {
        perror("shim");
        _exit(99);
    }
    control = map;
    control->pid = getpid();
    root_len = strlen(dir);
    root = dir;
}

/* The path below the directory (malloc'd, from after its slash on), or null where it is elsewhere. */
static char *below(int dirfd, const char *path) {
    char whole[8192];
    if (!root || !path) return 0;
    if (path[0] == '/') {
        if (snprintf(whole, sizeof whole, "%s", path) >= (int)sizeof whole) return 0;
    } else if (dirfd >= 0 && dirfd < FDS && files[dirfd].handle) {
        const char *dir = files[dirfd].path;
        snprintf(whole, sizeof whole, "%s/%s%s%s", root, dir, *dir ? "/" : "", path);
    } else {
        return 0; /* The processes concerned name everything else by absolute paths. */
    }
    if (strncmp(whole, root, root_len) || (whole[root_len] && whole[root_len] != '/')) return 0;
    return strdup(whole[root_len] ? whole + root_len + 1 : "");
}

static struct file *file_of(int fd) {
    return root && fd >= 0 && fd < FDS && files[fd].handle ? &files[fd] : 0;
}

/* Whether this call is to fail: the errno, -1 for a short write, 0 for no. Called with the lock held. */
static int fault(enum class class, const char *path) {
    if (control->only[0] && !strstr(path, control->only)) return 0;
    /* What is armed comes in one word, and the count begins with it: no call falls in between. */
    uint32_t armed = control->armed;
    if (armed >> 8 != control->seen) {
        for (int i = 0; i < CLASSES; i++) control->count[i] = 0;
        control->seen = armed >> 8;
    }
    uint32_t n = ++control->count[class];
    if ((armed & 0xff) != class || n < control->from || n > control->until) return 0;
    if (!control->fired++) strncpy(control->hit, path, sizeof control->hit - 1);
    return control->error ? (int)control->error : -1;
}

static void record(enum kind kind, uint32_t handle, uint64_t offset, const void *a, size_t a_len,
                   const void *b, size_t b_len) {
    if (trace < 0) return;
    struct event event = {kind, handle, offset, a_len, b_len};
    struct iovec parts[] = {{&event, sizeof event}, {(void *)a, a_len}, {(void *)b, b_len}};
    ssize_t whole = sizeof event + a_len + b_len;
    if (REAL(ssize_t, writev, int, const struct iovec *, int)(trace, parts, 3) != whole) abort();
}

static void record_path(enum kind kind, const char *a, const char *b) {
    record(kind, 0, 0, a, strlen(a), b, b ? strlen(b) : 0);
}

static void forget(int fd) {
    if (root && fd >= 0 && fd < FDS && files[fd].handle) {
        pthread_mutex_lock(&lock);
        files[fd].handle = 0;
        free(files[fd].path);
        pthread_mutex_unlock(&lock);
    }
}

static int opening(int dirfd, const char *path, int flags, mode_t mode) {
    char *name = below(dirfd, path);
    if (!name) {
        int fd = REAL(int, openat64, int, const char *, int, ...)(dirfd, path, flags, mode);
        forget(fd);
        return fd;
    }
    pthread_mutex_lock(&lock);
    int error = fault(OPEN, name);
    int fd = error ? -1 : REAL(int, openat64, int, const char *, int, ...)(dirfd, path, flags, mode);
    if (error) errno = error < 0 ? EIO : error;
    /* What the daemon tells is no part of what it keeps. */
    if (fd >= FDS || (fd >= 0 && strstr(name, "daemon.log"))) {
        free(name);
    } else if (fd >= 0) {
        free(files[fd].handle ? files[fd].path : 0);
        files[fd] = (struct file){++control->next, name};
        record(K_OPEN, files[fd].handle, flags, name, strlen(name), 0, 0);
    } else {
        free(name);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

#define OPENING(name, dirfd, params) int name params { \
    mode_t mode = 0; \
    if (flags & (O_CREAT | __O_TMPFILE)) { \
        va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); \
    } \
    return opening(dirfd, path, flags, mode); }
OPENING(open, AT_FDCWD, (const char *path, int flags, ...))
OPENING(open64, AT_FDCWD, (const char *path, int flags, ...))
OPENING(openat, dirfd, (int dirfd, const char *path, int flags, ...))
OPENING(openat64, dirfd, (int dirfd, const char *path, int flags, ...))
int creat(const char *path, mode_t mode) { return opening(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

int close(int fd) {
    forget(fd);
    return REAL(int, close, int)(fd);
}

int closedir(DIR *dir) {
    forget(dirfd(dir));
    return REAL(int, closedir, DIR *)(dir);
}

/* Writes at `offset`, or where the file stands if that is negative. */
static ssize_t writing(int fd, const struct iovec *parts, int count, off64_t offset) {
    struct iovec cut[1024];
    struct file *file = file_of(fd);
    ssize_t done = -1;
    if (file) pthread_mutex_lock(&lock);
    int error = file ? fault(WRITE, file->path) : 0;
    if (error < 0 && count <= 1024) {
        size_t left = 0;
        for (int i = 0; i < count; i++) left += parts[i].iov_len;
        left = left > 1 ? left / 2 : left;
        for (int i = 0; i < count; i++) {
            cut[i] = parts[i];
            if (cut[i].iov_len > left) cut[i].iov_len = left;
            left -= cut[i].iov_len;
        }
        parts = cut;
    }
    if (error > 0)
        errno = error;
    else if (offset < 0)
        done = REAL(ssize_t, writev, int, const struct iovec *, int)(fd, parts, count);
    else
        done = REAL(ssize_t, pwritev64, int, const struct iovec *, int, off64_t)(fd, parts, count, offset);
    if (file && done > 0) {
        char *bytes = malloc(done);
        size_t at = 0;
        for (int i = 0; i < count && at < (size_t)done; i++) {
            size_t len = parts[i].iov_len < done - at ? parts[i].iov_len : done - at;
            memcpy(bytes + at, parts[i].iov_base, len);
            at += len;
        }
        if (offset < 0) offset = lseek64(fd, 0, SEEK_CUR) - done;
        record(K_WRITE, file->handle, offset, bytes, done, 0, 0);
        free(bytes);
    }
    if (file) pthread_mutex_unlock(&lock);
    return done;
}

static ssize_t writing_one(int fd, const void *bytes, size_t len, off64_t offset) {
    struct iovec part = {(void *)bytes, len};
    return writing(fd, &part, 1, offset);
}

ssize_t write(int fd, const void *bytes, size_t len) { return writing_one(fd, bytes, len, -1); }
ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at) { return writing_one(fd, bytes, len, at); }
ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t at) { return writing_one(fd, bytes, len, at); }
ssize_t writev(int fd, const struct iovec *parts, int n) { return writing(fd, parts, n, -1); }
ssize_t pwritev(int fd, const struct iovec *parts, int n, off_t at) { return writing(fd, parts, n, at); }
ssize_t pwritev64(int fd, const struct iovec *parts, int n, off64_t at) { return writing(fd, parts, n, at); }

/* A sync, or something like one: `call` is what really does it. */
static int syncing(int fd, int (*call)(int)) {
    struct file *file = file_of(fd);
    if (!file) return call(fd);
    pthread_mutex_lock(&lock);
    int error = fault(SYNC, file->path);
    uint32_t handle = file->handle;
    record(K_SYNC, handle, 0, 0, 0, 0, 0);
    pthread_mutex_unlock(&lock);
    int result = error ? -1 : call(fd);
    int why = error > 0 ? error : error < 0 ? EIO : errno;
    pthread_mutex_lock(&lock);
    record(K_SYNCED, handle, result ? why : 0, 0, 0, 0, 0);
    pthread_mutex_unlock(&lock);
    if (result) errno = why;
    return result;
}

int fsync(int fd) { return syncing(fd, REAL(int, fsync, int)); }
int fdatasync(int fd) { return syncing(fd, REAL(int, fdatasync, int)); }

/* Makes nothing durable, as far as anybody may rely on it. */
int sync_file_range(int fd, off64_t at, off64_t len, unsigned flags) {
    struct file *file = file_of(fd);
    if (file) {
        pthread_mutex_lock(&lock);
        int error = fault(SYNC, file->path);
        pthread_mutex_unlock(&lock);
        if (error) return errno = error < 0 ? EIO : error, -1;
    }
    return REAL(int, sync_file_range, int, off64_t, off64_t, unsigned)(fd, at, len, flags);
}

static int sizing(int fd, off64_t size, int (*call)(int, off64_t)) {
    struct file *file = file_of(fd);
    if (!file) return call(fd, size);
    pthread_mutex_lock(&lock);
    int error = fault(SIZE, file->path);
    int result = error ? -1 : call(fd, size);
    if (error) errno = error < 0 ? EIO : error;
    if (!result) record(K_SIZE, file->handle, size, 0, 0, 0, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate64(int fd, off64_t size) { return sizing(fd, size, REAL(int, ftruncate64, int, off64_t)); }
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

/* A change of names; `call` makes it. Takes the paths over. */
#define NAMING(class, kind, a, b, call) ({ \
    char *a_ = (a), *b_ = (b); \
    int result_ = -1, known_ = a_ || b_; \
    if (known_) pthread_mutex_lock(&lock); \
    int error_ = known_ ? fault(class, a_ ? a_ : b_) : 0; \
    if (error_) errno = error_ < 0 ? EIO : error_; else result_ = (call); \
    if (known_ && !result_) record_path(a_ ? (kind) : K_UNKNOWN, a_ ? a_ : b_, b_); \
    if (known_) pthread_mutex_unlock(&lock); \
    free(a_); free(b_); \
    result_; })

int rename(const char *from, const char *to) {
    return NAMING(RENAME, K_RENAME, below(AT_FDCWD, from), below(AT_FDCWD, to),
                  REAL(int, rename, const char *, const char *)(from, to));
}
int renameat(int a, const char *from, int b, const char *to) {
    return NAMING(RENAME, K_RENAME, below(a, from), below(b, to),
                  REAL(int, renameat, int, const char *, int, const char *)(a, from, b, to));
}
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) {
    return NAMING(RENAME, flags & ~RENAME_NOREPLACE ? K_UNKNOWN : K_RENAME, below(a, from), below(b, to),
                  REAL(int, renameat2, int, const char *, int, const char *, unsigned)(a, from, b, to, flags));
}
int unlink(const char *path) {
    return NAMING(NAMES, K_UNLINK, below(AT_FDCWD, path), 0, REAL(int, unlink, const char *)(path));
}
int unlinkat(int dir, const char *path, int flags) {
    return NAMING(NAMES, flags & AT_REMOVEDIR ? K_RMDIR : K_UNLINK, below(dir, path), 0,
                  REAL(int, unlinkat, int, const char *, int)(dir, path, flags));
}
int rmdir(const char *path) {
    return NAMING(NAMES, K_RMDIR, below(AT_FDCWD, path), 0, REAL(int, rmdir, const char *)(path));
}
int mkdir(const char *path, mode_t mode) {
    return NAMING(NAMES, K_MKDIR, below(AT_FDCWD, path), 0, REAL(int, mkdir, const char *, mode_t)(path, mode));
}
int mkdirat(int dir, const char *path, mode_t mode) {
    return NAMING(NAMES, K_MKDIR, below(dir, path), 0,
                  REAL(int, mkdirat, int, const char *, mode_t)(dir, path, mode));
}

/* Not used by what is tested; should they be, the trace says that it is no longer whole. */
int link(const char *from, const char *to) {
    return NAMING(NAMES, K_UNKNOWN, below(AT_FDCWD, to), 0, REAL(int, link, const char *, const char *)(from, to));
}
int linkat(int a, const char *from, int b, const char *to, int flags) {
    return NAMING(NAMES, K_UNKNOWN, below(b, to), 0,
                  REAL(int, linkat, int, const char *, int, const char *, int)(a, from, b, to, flags));
}
int symlink(const char *target, const char *path) {
    return NAMING(NAMES, K_UNKNOWN, below(AT_FDCWD, path), 0, REAL(int, symlink, const char *, const char *)(target, path));
}
int truncate64(const char *path, off64_t size) {
    return NAMING(SIZE, K_UNKNOWN, below(AT_FDCWD, path), 0, REAL(int, truncate64, const char *, off64_t)(path, size));
}
static int filling(int fd, const char *what, int (*call)(void *), void *with) {
    struct file *file = file_of(fd);
    if (!file) return call(with);
    pthread_mutex_lock(&lock);
    int error = fault(SIZE, file->path), result = error ? -1 : call(with);
    if (error) errno = error < 0 ? EIO : error;
    if (!result) record_path(K_UNKNOWN, what, 0);
    pthread_mutex_unlock(&lock);
    return result;
}
struct range { int fd, mode; off64_t at, len; };
static int do_fallocate(void *with) {
    struct range *r = with;
    return REAL(int, fallocate64, int, int, off64_t, off64_t)(r->fd, r->mode, r->at, r->len);
}
int fallocate64(int fd, int mode, off64_t at, off64_t len) {
    return filling(fd, "fallocate", do_fallocate, &(struct range){fd, mode, at, len});
}
int fallocate(int fd, int mode, off_t at, off_t len) { return fallocate64(fd, mode, at, len); }
static int do_posix_fallocate(void *with) {
    struct range *r = with;
    return REAL(int, posix_fallocate64, int, off64_t, off64_t)(r->fd, r->at, r->len);
}
int posix_fallocate64(int fd, off64_t at, off64_t len) {
    int result = filling(fd, "posix_fallocate", do_posix_fallocate, &(struct range){fd, 0, at, len});
    return result < 0 ? errno : result;
}
ssize_t copy_file_range(int in, off64_t *at, int out, off64_t *to, size_t len, unsigned flags) {
    if (file_of(out)) record_path(K_UNKNOWN, "copy_file_range", 0);
    return REAL(ssize_t, copy_file_range, int, off64_t *, int, off64_t *, size_t, unsigned)(in, at, out, to, len, flags);
}
