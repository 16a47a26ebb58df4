// fault_inject.c: a library to preload (LD_PRELOAD) that makes the disk or the memory fail at the k-th demand.
//
// In: FAULT=KIND:K and FAULT_LOG=FILE. KIND is one of
//   enospc, eio   the k-th operation on a file (open for writing, write, fsync, rename, link, unlink, mkdir) fails so
//   full          from the k-th on every write, open for writing and mkdir fails with ENOSPC
//   short         the k-th, if it is a write of more than one byte, writes half of it
//   kill          the process dies by SIGKILL before the k-th; killed: right after it
//   once, ever    the k-th allocation fails, or it and all after it
//   stack         the first allocation from the k-th distinct call stack fails
// Of other programs that it starts, only `full` counts the operations: gnuplot never looks whether a write went well.
// Out: FILE has a line for what failed, and at the end of a process "PROGRAM: N operations, N allocations from N stacks,
// N left". Operations are counted over a process and its children; allocations only in the process itself.
//
// stdio writes without going through write(3), so operations are caught below libc: a seccomp filter turns each into a
// SIGSYS, whose handler fails it or does it, with a sixth argument (none has six) by which the filter knows to let it
// pass. Only regular files and folders count, and not
// standard input, output and error. Allocations count from the start of main, and not those of libgomp, which
// ends the process by itself with exit code 1 and a line of its own.
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <link.h>
#include <malloc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { PASS = 0x1501f109 };  // the sixth argument of what passes the filter

static const char *kind = "", *log_file = "/dev/null";
static long k;
static atomic_long *operations;  // shared with the children, through the file FAULT_LOG.count
static atomic_long allocations, left;
static long stacks;
static bool ours, armed, by_stack;

static bool is(const char *name) { return !strcmp(kind, name); }

static long pass(long nr, const long *a) { return syscall(nr, a[0], a[1], a[2], a[3], a[4], (long)PASS); }

static void log_line(const char *line) {
  int fd = (int)syscall(SYS_openat, AT_FDCWD, log_file, O_WRONLY | O_CREAT | O_APPEND, 0666, 0, (long)PASS);
  if (fd < 0) return;
  syscall(SYS_write, fd, line, strlen(line), 0, 0, (long)PASS);
  close(fd);
}

// ---- Operations on files --------------------------------------------------------------------------------

static const struct Call {
  int nr;
  const char *name;
  int path;  // which argument is a path; -1: the first is a descriptor
  bool grows;
} calls[] = {
    {SYS_write, "write", -1, true},      {SYS_pwrite64, "write", -1, true},    {SYS_writev, "writev", -1, true},
    {SYS_fsync, "fsync", -1, false},     {SYS_fdatasync, "fsync", -1, false},  {SYS_ftruncate, "truncate", -1, false},
    {SYS_openat, "open", 1, true},       {SYS_renameat, "rename", 1, false},   {SYS_renameat2, "rename", 1, false},
    {SYS_unlinkat, "unlink", 1, false},  {SYS_linkat, "link", 1, false},       {SYS_mkdirat, "mkdir", 1, true},
#ifdef SYS_open
    {SYS_open, "open", 0, true},         {SYS_rename, "rename", 0, false},     {SYS_unlink, "unlink", 0, false},
    {SYS_link, "link", 0, false},        {SYS_mkdir, "mkdir", 0, true},        {SYS_rmdir, "rmdir", 0, false},
#endif
};
enum { CALLS = sizeof calls / sizeof *calls };

static void on_sigsys(int sig, siginfo_t *info, void *context) {
  (void)sig;
  greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
  const long a[5] = {g[REG_RDI], g[REG_RSI], g[REG_RDX], g[REG_R10], g[REG_R8]};
  const int keep = errno;
  const struct Call *c = calls;
  while (c->nr != info->si_syscall) c++;
  struct stat st;
  bool counts = c->path >= 0 || (a[0] > 2 && fstat((int)a[0], &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)));
  if (c->path >= 0 && !strncmp((const char *)a[c->path], "/dev/", 5)) counts = !strncmp((char *)a[c->path], "/dev/shm", 8);
  counts = counts && ours;
  const long n = counts ? atomic_fetch_add(operations, 1) + 1 : 0;
  const bool hit = counts && n == k;
  long fails = 0, half[5];
  memcpy(half, a, sizeof half);
  if (hit && is("enospc")) fails = ENOSPC;
  if (hit && is("eio")) fails = EIO;
  if (counts && n >= k && k > 0 && is("full") && c->grows) fails = ENOSPC;
  if (hit && is("short") && c->nr == SYS_write && a[2] > 1) half[2] /= 2;
  if (fails || (hit && (half[2] != a[2] || !strncmp(kind, "kill", 4)))) {
    char line[600], path[400] = "", link[40];
    if (c->path >= 0) snprintf(path, sizeof path, "%s", (const char *)a[c->path]);
    else {
      snprintf(link, sizeof link, "/proc/self/fd/%ld", a[0]);
      const ssize_t len = readlink(link, path, sizeof path - 1);
      path[len > 0 ? len : 0] = 0;
    }
    snprintf(line, sizeof line, "%s %ld %s %s\n", kind, n, c->name, path);
    log_line(line);
  }
  if (hit && is("kill")) kill(getpid(), SIGKILL);
  long r = fails ? -1 : pass(c->nr, half);
  if (hit && is("killed")) kill(getpid(), SIGKILL);
  g[REG_RAX] = fails ? -fails : r < 0 ? -errno : r;
  errno = keep;
}

// Traps the calls above, of openat and open only those that write.
static void filter_install(void) {
  struct sock_filter f[4 * CALLS + 8];
  int n = 0;
  const size_t sixth = offsetof(struct seccomp_data, args[5]);
  f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)sixth);
  f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PASS, 0, 1);
  f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  for (const struct Call *c = calls; c < calls + CALLS; c++) {
    const bool opens = !strcmp(c->name, "open");
    f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)c->nr, 0, opens ? 3 : 1);
    if (opens) {
      f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                            (unsigned)offsetof(struct seccomp_data, args[c->path + 1]));
      f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_WRONLY | O_RDWR | O_CREAT, 0, 1);
    }
    f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
  }
  f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  struct sigaction act = {.sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART};
  sigaction(SIGSYS, &act, NULL);
  struct sock_fprog program = {(unsigned short)n, f};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) abort();
}

// ---- Allocations -----------------------------------------------------------------------------------------

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t),
    *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

// Where the program's own code and libgomp's lie.
static uintptr_t own[2], gomp[2];

static int find_ranges(struct dl_phdr_info *o, size_t size, void *user) {
  (void)size, (void)user;
  uintptr_t *range = !*o->dlpi_name ? own : strstr(o->dlpi_name, "libgomp") ? gomp : NULL;
  for (int i = 0; range && i < o->dlpi_phnum; i++) {
    const ElfW(Phdr) *p = &o->dlpi_phdr[i];
    if (p->p_type != PT_LOAD || !(p->p_flags & PF_X)) continue;
    range[0] = o->dlpi_addr + p->p_vaddr, range[1] = range[0] + p->p_memsz;
  }
  return 0;
}

static bool within(const uintptr_t *range, const void *caller) {
  return (uintptr_t)caller >= range[0] && (uintptr_t)caller < range[1];
}

// The program's own live blocks, to see what it leaves behind: an open-addressing table; a freed place holds 1.
enum { ROOM = 1 << 16 };
static _Atomic uintptr_t blocks[ROOM];

static size_t home(const void *p) { return ((uintptr_t)p >> 4) * 0x9e3779b1u % ROOM; }

static void remember(void *p) {
  for (size_t i = home(p);; i = (i + 1) % ROOM) {
    uintptr_t was = atomic_load(&blocks[i]);
    if (was <= 1 && atomic_compare_exchange_strong(&blocks[i], &was, (uintptr_t)p)) break;
  }
  atomic_fetch_add(&left, 1);
}

static void forget(void *p) {
  for (size_t i = home(p), n = 0; n < ROOM; i = (i + 1) % ROOM, n++) {
    uintptr_t was = atomic_load(&blocks[i]);
    if (!was) return;
    if (was == (uintptr_t)p && atomic_compare_exchange_strong(&blocks[i], &was, 1)) {
      atomic_fetch_sub(&left, 1);
      return;
    }
  }
}

// The number of this call stack if it is new, else 0. A lock for the table; a flag of the thread, as backtrace allocates.
static long stack_new(void) {
  static uintptr_t seen[4096];
  static atomic_flag lock = ATOMIC_FLAG_INIT;
  static __thread bool inside;
  if (inside) return 0;
  inside = true;
  void *frames[40];
  const int n = backtrace(frames, 40);
  uintptr_t hash = 1;
  for (int i = 2; i < n; i++) hash = (hash ^ (uintptr_t)frames[i]) * 0x100000001b3u;
  while (atomic_flag_test_and_set(&lock)) continue;
  long i = 0;
  while (i < stacks && seen[i] != hash) i++;
  const bool new = i == stacks && i < 4096;
  if (new) seen[stacks++] = hash;
  atomic_flag_clear(&lock);
  inside = false;
  return new ? i + 1 : 0;
}

static bool denied(const void *caller) {
  if (!armed || within(gomp, caller)) return false;
  const long count = atomic_fetch_add(&allocations, 1) + 1, n = by_stack ? stack_new() : count;
  if (!k || (!(n == k && (is("once") || is("stack"))) && !(n >= k && is("ever")))) return false;
  if (n == k) {
    char line[80];
    snprintf(line, sizeof line, "%s %ld allocation by %s\n", kind, n, within(own, caller) ? "the program" : "a library");
    log_line(line);
  }
  errno = ENOMEM;
  return true;
}

static void *given(void *p, const void *caller) {
  if (p && armed && within(own, caller)) remember(p);
  return p;
}

#define CALLER __builtin_return_address(0)
void *malloc(size_t n) { return denied(CALLER) ? NULL : given(__libc_malloc(n), CALLER); }
void *calloc(size_t n, size_t size) { return denied(CALLER) ? NULL : given(__libc_calloc(n, size), CALLER); }
void *memalign(size_t align, size_t n) { return denied(CALLER) ? NULL : given(__libc_memalign(align, n), CALLER); }
void *aligned_alloc(size_t align, size_t n) { return denied(CALLER) ? NULL : given(__libc_memalign(align, n), CALLER); }
int posix_memalign(void **p, size_t align, size_t n) {
  if (denied(CALLER)) return ENOMEM;
  *p = given(__libc_memalign(align, n), CALLER);
  return *p ? 0 : ENOMEM;
}
void *realloc(void *p, size_t n) {
  if (denied(CALLER)) return NULL;
  if (p && armed) forget(p);
  return given(__libc_realloc(p, n), CALLER);
}
void free(void *p) {
  if (p && armed) forget(p);
  __libc_free(p);
}

// ---- Start and end -----------------------------------------------------------------------------------------

static int (*real_main)(int, char **, char **);

static int wrapped_main(int argc, char **argv, char **env) {
  char path[500];
  if (getenv("FAULT_LOG")) log_file = getenv("FAULT_LOG");
  snprintf(path, sizeof path, "%s.count", log_file);
  // A parent's filter is at work already, and its handler is gone.
  int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT, 0666, 0, (long)PASS);
  if (fd < 0 || syscall(SYS_ftruncate, fd, sizeof *operations, 0, 0, 0, (long)PASS) != 0) abort();
  operations = mmap(NULL, sizeof *operations, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  static char copy[40];
  snprintf(copy, sizeof copy, "%s", getenv("FAULT") ? getenv("FAULT") : "none:0");
  char *colon = strchr(copy, ':');
  if (!colon) abort();
  *colon = 0, kind = copy, k = atol(colon + 1);
  ours = !strcmp(program_invocation_short_name, "isoflop") || is("full");
  by_stack = is("stack");
  if (by_stack || is("once") || is("ever")) unsetenv("FAULT");
  void *frame;
  backtrace(&frame, 1);  // its own first allocations, now
  dl_iterate_phdr(find_ranges, NULL);
  filter_install();
  armed = true;
  const int code = real_main(argc, argv, env);
  armed = false, k = 0;
  char line[200];
  snprintf(line, sizeof line, "%s: %ld operations, %ld allocations from %ld stacks, %ld left\n",
           program_invocation_short_name, atomic_load(operations), atomic_load(&allocations), stacks, atomic_load(&left));
  log_line(line);
  return code;
}

int __libc_start_main(int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void), void (*)(void), void *);
int __libc_start_main(int (*main_)(int, char **, char **), int argc, char **argv, void (*init)(void),
                      void (*fini)(void), void (*rtld_fini)(void), void *stack_end) {
  real_main = main_;
  typeof(&__libc_start_main) real = (typeof(&__libc_start_main))dlsym(RTLD_NEXT, "__libc_start_main");
  return real(wrapped_main, argc, argv, init, fini, rtld_fini, stack_end);
}
