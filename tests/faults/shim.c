/* Faults on purpose, for commands that are loaded with LD_PRELOAD=shim.so (Linux, glibc).

   It stands before the calls of the C library that touch files. Calls on paths below given folders
   are counted; at the n-th one something goes wrong. All others pass, so that Python's own imports
   are left alone. Nothing happens before faults_arm() is called.

   Not seen: FILE* streams of C libraries after fopen, and pages of memory maps. The harness checks
   that every byte of an output went through here. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

enum { GO_ON = 0, FAIL = -1, HALF = 1 };

static volatile int armed;
static char folders[4 * PATH_MAX], except[4 * PATH_MAX], ops[32], kind[16], struck[PATH_MAX];
static long at, amount, calls;
static int log_file = -1;
static volatile long clock_offset;

/* `below`: folders, separated by colons; `spared`: those in them that are left alone;
   `counted`: letters of operations; `fault`, `nth` (0: never), `much`: what happens at which call;
   `log`: a file that gets a line for every call, or "". */
void faults_arm(const char *below, const char *spared, const char *counted, const char *fault,
                long nth, long much, const char *log) {
    snprintf(folders, sizeof folders, "%s", below);
    snprintf(except, sizeof except, "%s", spared);
    snprintf(ops, sizeof ops, "%s", counted);
    snprintf(kind, sizeof kind, "%s", fault);
    at = nth, amount = much, calls = 0;
    if (*log) log_file = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    armed = 1;
}

static int starts_with(const char *path, const char *folder, size_t length) {
    return length && !strncmp(path, folder, length) && (path[length] == '/' || !path[length]);
}

static int is_in(const char *path, const char *folder) {
    while (*folder) {
        size_t length = strcspn(folder, ":");
        if (starts_with(path, folder, length)) return 1;
        folder += length + (folder[length] == ':');
    }
    return 0;
}

static int is_below(const char *path) {
    return is_in(path, folders) && !is_in(path, except);
}

static const char *fd_path(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    path[n < 0 ? 0 : n] = 0;
    return path;
}

static const char *full_path(int dir, const char *name, char *path) {
    char base[PATH_MAX];
    if (!name) name = "";
    while (name[0] == '.' && name[1] == '/') name += 2;
    if (*name == '/') { snprintf(path, PATH_MAX, "%s", name); return path; }
    if (dir != AT_FDCWD) fd_path(dir, base);
    else if (syscall(SYS_getcwd, base, sizeof base) < 0) *base = 0;
    size_t used = strlen(base);
    snprintf(path, PATH_MAX, "%s", base);
    if (*name) snprintf(path + used, PATH_MAX - used, "/%s", name);
    return path;
}

static int exists(const char *path) {
    return syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == 0;
}

static void spoil(const char *path) {
    struct stat status;
    if (syscall(SYS_newfstatat, AT_FDCWD, path, &status, 0) || !S_ISREG(status.st_mode)) return;
    if (!strcmp(kind, "vanish")) { syscall(SYS_unlinkat, AT_FDCWD, path, 0); return; }
    if (!strcmp(kind, "cut")) { syscall(SYS_truncate, path, status.st_size / 2); return; }
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR);
    unsigned char bytes[16];
    ssize_t n = syscall(SYS_pread64, fd, bytes, sizeof bytes, status.st_size / 2);
    for (ssize_t i = 0; i < n; i++) bytes[i] ^= 0x55;
    syscall(SYS_pwrite64, fd, bytes, n > 0 ? n : 0, status.st_size / 2);
    syscall(SYS_close, fd);
}

static int failing(int number) {
    errno = number;
    return FAIL;
}

/* What happens to this call. */
static int fault(char op, const char *path, size_t length) {
    if (!armed || !is_below(path)) return GO_ON;
    int before = errno;
    if (log_file >= 0) {
        char line[PATH_MAX + 64];
        int n = snprintf(line, sizeof line, "%c %zu %s\n", op, length, path);
        syscall(SYS_write, log_file, line, n);
    }
    errno = before;
    if (!strchr(ops, op)) return GO_ON;
    long n = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    if (!strcmp(kind, "readonly")) return failing(EROFS);
    if (!strcmp(kind, "absent")) return failing(ENOENT);
    if (!at || n < at) return GO_ON;
    if (!strcmp(kind, "full")) {
        if (n == at && op == 'w' && length > 1) return HALF;
        return failing(ENOSPC);
    }
    if (!strcmp(kind, "sector")) {
        if (n == at) snprintf(struck, sizeof struck, "%s", path);
        return strcmp(struck, path) ? GO_ON : failing(EIO);
    }
    if (n > at) return GO_ON;
    if (!strcmp(kind, "eio")) return failing(EIO);
    if (!strcmp(kind, "kill")) {
        if (op == 'w' && length > 1) return HALF;
        kill(getpid(), SIGKILL);
    }
    if (!strcmp(kind, "term")) kill(getpid(), SIGTERM);
    if (!strcmp(kind, "clock")) clock_offset = amount;
    if (!strcmp(kind, "pause")) {
        struct timespec time = {amount / 1000, amount % 1000 * 1000000};
        if (log_file >= 0) syscall(SYS_write, log_file, "paused\n", 7);
        syscall(SYS_nanosleep, &time, NULL);
    }
    if (op != 'p' && (!strcmp(kind, "vanish") || !strcmp(kind, "cut") || !strcmp(kind, "change")))
        spoil(path);
    errno = before;
    return op == 'p' ? HALF : GO_ON;
}

static int fault_fd(char op, int fd, size_t length) {
    char path[PATH_MAX];
    return armed ? fault(op, fd_path(fd, path), length) : GO_ON;
}

static int fault_at(char op, int dir, const char *name) {
    char path[PATH_MAX];
    return armed ? fault(op, full_path(dir, name, path), 0) : GO_ON;
}

/* The half of a write that a full disk or a kill lets through. */
static size_t part_of(size_t length) { return length / 2; }
static void perhaps_die(void) {
    if (!strcmp(kind, "kill")) kill(getpid(), SIGKILL);
}

/* Opening: 'o' to read, 'c' creates, 'e' to write into what exists */
static int fault_open(int dir, const char *name, int flags) {
    char path[PATH_MAX];
    if (!armed) return GO_ON;
    full_path(dir, name, path);
    int creates = (flags & O_CREAT) && !exists(path);
    int writes = (flags & O_ACCMODE) != O_RDONLY;
    return fault(creates ? 'c' : writes ? 'e' : 'o', path, 0);
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { va_list a; va_start(a, flags); mode = va_arg(a, mode_t); va_end(a); } \
        return fault_open(AT_FDCWD, path, flags) ? -1 : real(path, flags, mode); \
    }
#define OPENAT(name) \
    int name(int dir, const char *path, int flags, ...) { \
        REAL(name); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { va_list a; va_start(a, flags); mode = va_arg(a, mode_t); va_end(a); } \
        return fault_open(dir, path, flags) ? -1 : real(dir, path, flags, mode); \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

int creat(const char *path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

#define FOPEN(name) \
    FILE *name(const char *path, const char *mode) { \
        REAL(name); \
        int flags = strpbrk(mode, "wa") ? O_WRONLY | O_CREAT : O_RDONLY; \
        return fault_open(AT_FDCWD, path, flags) ? NULL : real(path, mode); \
    }
FOPEN(fopen)
FOPEN(fopen64)

DIR *opendir(const char *path) {
    REAL(opendir);
    return fault_at('r', AT_FDCWD, path) ? NULL : real(path);
}

/* Reading: 'r' */
ssize_t read(int fd, void *buffer, size_t length) {
    REAL(read);
    return fault_fd('r', fd, length) ? -1 : real(fd, buffer, length);
}
#define PREAD(name, offset_type) \
    ssize_t name(int fd, void *buffer, size_t length, offset_type offset) { \
        REAL(name); \
        return fault_fd('r', fd, length) ? -1 : real(fd, buffer, length, offset); \
    }
PREAD(pread, off_t)
PREAD(pread64, off64_t)
ssize_t readv(int fd, const struct iovec *parts, int count) {
    REAL(readv);
    return fault_fd('r', fd, 0) ? -1 : real(fd, parts, count);
}

/* Mapping: 'p'; what spoils the file does so behind the back of the map */
#define MMAP(name, offset_type) \
    void *name(void *near, size_t length, int protection, int flags, int fd, offset_type offset) { \
        REAL(name); \
        int what = fd >= 0 ? fault_fd('p', fd, length) : GO_ON; \
        if (what == FAIL) return MAP_FAILED; \
        void *map = real(near, length, protection, flags, fd, offset); \
        char path[PATH_MAX]; \
        if (what == HALF) spoil(fd_path(fd, path)); \
        return map; \
    }
MMAP(mmap, off_t)
MMAP(mmap64, off64_t)

/* Writing: 'w' */
ssize_t write(int fd, const void *buffer, size_t length) {
    REAL(write);
    int what = fault_fd('w', fd, length);
    if (what == FAIL) return -1;
    if (what == GO_ON) return real(fd, buffer, length);
    ssize_t n = real(fd, buffer, part_of(length));
    perhaps_die();
    return n;
}
#define PWRITE(name, offset_type) \
    ssize_t name(int fd, const void *buffer, size_t length, offset_type offset) { \
        REAL(name); \
        int what = fault_fd('w', fd, length); \
        if (what == FAIL) return -1; \
        if (what == GO_ON) return real(fd, buffer, length, offset); \
        ssize_t n = real(fd, buffer, part_of(length), offset); \
        perhaps_die(); \
        return n; \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)
ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    size_t length = 0;
    for (int i = 0; i < count; i++) length += parts[i].iov_len;
    int what = fault_fd('w', fd, length);
    if (what == FAIL) return -1;
    if (what == GO_ON || !count) return real(fd, parts, count);
    ssize_t n = real(fd, parts, 1);
    perhaps_die();
    return n;
}
#define SENDFILE(name, offset_type) \
    ssize_t name(int out, int in, offset_type *offset, size_t length) { \
        REAL(name); \
        if (fault_fd('r', in, length) || fault_fd('w', out, length) == FAIL) return -1; \
        return real(out, in, offset, length); \
    }
SENDFILE(sendfile, off_t)
SENDFILE(sendfile64, off64_t)
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t length, unsigned flags) {
    REAL(copy_file_range);
    if (fault_fd('r', in, length) || fault_fd('w', out, length) == FAIL) return -1;
    return real(in, from, out, to, length, flags);
}
int posix_fallocate(int fd, off_t offset, off_t length) {
    REAL(posix_fallocate);
    return fault_fd('w', fd, 0) ? errno : real(fd, offset, length);
}
int ftruncate(int fd, off_t length) {
    REAL(ftruncate);
    return fault_fd('t', fd, 0) ? -1 : real(fd, length);
}
int ftruncate64(int fd, off64_t length) {
    REAL(ftruncate64);
    return fault_fd('t', fd, 0) ? -1 : real(fd, length);
}

/* Syncing: 's', closing what was opened for writing: 'x' */
int fsync(int fd) {
    REAL(fsync);
    return fault_fd('s', fd, 0) ? -1 : real(fd);
}
int fdatasync(int fd) {
    REAL(fdatasync);
    return fault_fd('s', fd, 0) ? -1 : real(fd);
}
int close(int fd) {
    REAL(close);
    int writes = armed && (syscall(SYS_fcntl, fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
    int what = writes ? fault_fd('x', fd, 0) : GO_ON;
    int number = errno, result = real(fd); /* closed, whatever is said */
    if (what == FAIL) { errno = number; return -1; }
    return result;
}

/* Names: 'm' moves or links, 'u' removes, 'd' makes a folder */
int rename(const char *from, const char *to) {
    REAL(rename);
    return fault_at('m', AT_FDCWD, to) ? -1 : real(from, to);
}
int renameat(int from_dir, const char *from, int to_dir, const char *to) {
    REAL(renameat);
    return fault_at('m', to_dir, to) ? -1 : real(from_dir, from, to_dir, to);
}
int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    REAL(renameat2);
    return fault_at('m', to_dir, to) ? -1 : real(from_dir, from, to_dir, to, flags);
}
int link(const char *from, const char *to) {
    REAL(link);
    return fault_at('m', AT_FDCWD, to) ? -1 : real(from, to);
}
int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
    REAL(linkat);
    return fault_at('m', to_dir, to) ? -1 : real(from_dir, from, to_dir, to, flags);
}
int symlink(const char *from, const char *to) {
    REAL(symlink);
    return fault_at('m', AT_FDCWD, to) ? -1 : real(from, to);
}
int unlink(const char *path) {
    REAL(unlink);
    return fault_at('u', AT_FDCWD, path) ? -1 : real(path);
}
int unlinkat(int dir, const char *path, int flags) {
    REAL(unlinkat);
    return fault_at('u', dir, path) ? -1 : real(dir, path, flags);
}
int rmdir(const char *path) {
    REAL(rmdir);
    return fault_at('u', AT_FDCWD, path) ? -1 : real(path);
}
int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    return (!armed || !exists(path)) && fault_at('d', AT_FDCWD, path) ? -1 : real(path, mode);
}
int mkdirat(int dir, const char *path, mode_t mode) {
    REAL(mkdirat);
    return fault_at('d', dir, path) ? -1 : real(dir, path, mode);
}

/* The clock that people set; the monotonic one never jumps. */
int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = syscall(SYS_clock_gettime, clock, now);
    if (!result && clock == CLOCK_REALTIME) now->tv_sec += clock_offset;
    return result;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec time;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &time);
    now->tv_sec = time.tv_sec, now->tv_usec = time.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result) *result = now.tv_sec;
    return now.tv_sec;
}
