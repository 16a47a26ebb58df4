// claim.c: see claim.h. In: a cell's folder on a file system that many machines share. Out: one owner of it at a time.
//
//   runs/<id>/claim.<g>          generation g of the claim: a hard link to
//   runs/<id>/<owner>/claim      the owner's private file, whose mtime is its sign of life
//   runs/<id>/<owner>/...        where the owner's training process writes: checkpoint, model, curve, record
//   runs/<id>/{model.bin, curve.tsv, run.ini}   published by rename, the record last
//
// Taking. link(2) to claim.<g + 1>, where g is the highest generation there is (0: none): the server lets one process
// make a name. The answer to link may be lost on the way and the call repeated, so what counts is st_nlink == 2 of the
// private file, which has one name before and two if and only if the link was made.
//
// Staleness. Owner and observer never compare clocks. The owner touches its file, the time being the server's
// (utimensat with no time given); the observer only asks whether the file has changed since it last looked, and takes
// the time in between with its own stopwatch. Clocks that are minutes apart, a server's that jumps, or an mtime set by
// someone else cost at most one more round of waiting. Where the observer can know more (same boot, same pid namespace,
// no such process), it need not wait.
//
// Taking over. Generation g + 1 is made in the same way: of many who think g stale, one succeeds. It removes the older
// links, so that an owner that was only asleep finds its st_nlink at 1 (or g + 1 beside it) when it next looks.
// A claim is ours while st_nlink is 2 and no higher generation exists.
//
// Why two processes never write one file. A training process writes only into the folder of its owner's claim, and no
// other process ever writes there. A new owner gets the old one's checkpoint as a hard link in a folder of its own;
// files are never changed in place (util.h, OutFile), so a link is a snapshot: whatever the old process still writes
// goes to other inodes, or nowhere, for its folder is removed. Files reach runs/<id>/ by rename alone. So every file
// that has a name is whole, with one exception that the record's checksum and the checkpoint's catch: the disk's own
// damage.
//
// What fencing leaves open. Between the last look at the claim and the rename of the record there is a moment in which
// another may take over; then both publish. A run's bytes are a function of its id, so the second rename replaces the
// record by one that differs in seconds and provenance at most. Losing a race costs time, never a result. If an owner
// that overslept removes the folder of the one that replaced it (take_over below), the claim is removed with it, and
// its holder learns that it is not the owner any more; the cell is then free and run again.
#include "claim.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const KEPT[] = {"checkpoint.bin", "checkpoint.bin.old", "model.bin", "curve.tsv", "run.ini"};
enum { N_KEPT = sizeof KEPT / sizeof *KEPT };

// ---- Who -----------------------------------------------------------------------------------------------

// The 22nd field of /proc/PID/stat: with the pid it names a process for as long as the machine is up. 0: no process.
static unsigned long long start_time(long pid) {
  char path[64], text[1024];
  snprintf(path, sizeof path, "/proc/%ld/stat", pid);
  FILE *f = fopen(path, "r");
  if (!f) return 0;
  text[fread(text, 1, sizeof text - 1, f)] = 0;
  fclose(f);
  const char *at = strrchr(text, ')');  // the name in field 2 may hold anything
  char state = 0;
  unsigned long long start = 0;
  if (!at || sscanf(at, ") %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu", &state,
                    &start) != 2)
    return 0;
  return state == 'Z' || state == 'X' ? 0 : start;
}

// What pids mean here: this boot of this machine, this pid namespace. Empty where that cannot be known.
static void machine_name(char name[128]) {
  char boot[40] = "", space[64] = "";
  FILE *f = fopen("/proc/sys/kernel/random/boot_id", "r");
  if (f && fscanf(f, "%39s", boot) != 1) *boot = 0;
  if (f) fclose(f);
  const ssize_t n = readlink("/proc/self/ns/pid", space, sizeof space - 1);
  space[n > 0 ? n : 0] = 0;
  snprintf(name, 128, "%s%s", *boot && *space ? boot : "", *boot && *space ? space : "");
}

void claim_owner(Owner *o, double beat) {
  char host[16] = "";
  uint32_t salt = 0;
  gethostname(host, sizeof host - 1);
  for (char *c = host; *c; c++)
    if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-", *c)) *c = '-';
  if (getrandom(&salt, sizeof salt, GRND_NONBLOCK) != sizeof salt) salt = (uint32_t)start_time(getpid());
  snprintf(o->name, sizeof o->name, "%s-%ld-%08x", host, (long)getpid(), salt);
  o->beat = beat;
}

// ---- Claims as files -----------------------------------------------------------------------------------

static void claim_path(char path[1100], const char *dir, long generation) {
  snprintf(path, 1100, "%.1000s/claim.%ld", dir, generation);
}

static long generation_of(const char *name) {
  char *end;
  if (strncmp(name, "claim.", 6)) return 0;
  const long g = strtol(name + 6, &end, 10);
  return end > name + 6 && !*end && g > 0 ? g : 0;
}

// The highest generation in a folder; 0: none, -1: it cannot be read. Those below `below` are removed.
static long generations(const char *dir, long below) {
  long top = 0;
  DIR *d = opendir(dir);
  if (!d) return -1;
  for (struct dirent *entry; (entry = readdir(d));) {
    const long g = generation_of(entry->d_name);
    if (g > top) top = g;
    if (g && g < below) unlinkat(dirfd(d), entry->d_name, 0);
  }
  closedir(d);
  return top;
}

// Opening makes an NFS client ask the server, where stat(2) might answer from memory.
static bool look(const char *path, struct stat *st) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  const bool good = fd >= 0 && fstat(fd, st) == 0;
  if (fd >= 0) close(fd);
  return good;
}

// Whether nothing is to be expected any more of the owner of this claim. One that cannot be read may still age.
static bool stale(const char *path, long generation, double own_beat, Watch *seen) {
  struct stat st = {0};
  char *text, there[128] = "", here[128];
  double beat = own_beat;
  long pid = 0;
  unsigned long long start = 0;
  size_t len;
  Err e;
  if (!look(path, &st) && errno == ENOENT) return false;  // it has just been given up: the next try will see
  if (file_read(path, &text, &len, &e) == OK) {
    if (sscanf(text, "beat %lf machine %127s pid %ld start %llu", &beat, there, &pid, &start) != 4) pid = 0;
    free(text);
  }
  machine_name(here);
  if (pid > 0 && !strcmp(there, here) && start_time(pid) != start) return true;
  if (seen->generation != generation || seen->mtime_s != st.st_mtim.tv_sec || seen->mtime_ns != st.st_mtim.tv_nsec ||
      seen->inode != st.st_ino) {
    *seen = (Watch){generation, st.st_mtim.tv_sec, st.st_mtim.tv_nsec, st.st_ino, now_seconds()};
    return false;
  }
  return now_seconds() - seen->since > CLAIM_MISSED * beat;
}

bool claim_held(const Claim *c) {
  struct stat st;
  return c->generation && look(c->file, &st) && st.st_nlink == 2 && generations(c->dir, 0) == c->generation;
}

bool claim_beat(Claim *c) {
  const double now = now_seconds();
  if (now - c->beaten < c->owner->beat) return true;
  c->beaten = now;
  return utimensat(AT_FDCWD, c->file, NULL, 0) == 0 && claim_held(c);
}

// ---- Folders -------------------------------------------------------------------------------------------

// A private folder and the files in it; the claim first, so that its owner, if it lives, learns that it has lost it.
static void folder_remove(const char *dir) {
  char path[1400];
  snprintf(path, sizeof path, "%.1100s/claim", dir);
  unlink(path);
  DIR *d = opendir(dir);
  for (struct dirent *entry; d && (entry = readdir(d));) unlinkat(dirfd(d), entry->d_name, 0);
  if (d) closedir(d);
  rmdir(dir);
}

// How new the work in a folder is; 0 where there is none.
static double work_time(const char *dir) {
  double newest = 0;
  for (int i = 0; i < N_KEPT; i++) {
    struct stat st;
    char path[1400];
    snprintf(path, sizeof path, "%.1200s/%s", dir, KEPT[i]);
    if (!strncmp(KEPT[i], "model", 5) || !strncmp(KEPT[i], "curve", 5) || !look(path, &st)) continue;
    const double t = (double)st.st_mtim.tv_sec + 1e-9 * (double)st.st_mtim.tv_nsec;
    if (t > newest) newest = t;
  }
  return newest;
}

// Walks the private folders of others in the cell's folder: finds the newest work, or (newest NULL) removes them.
static void others(const Claim *c, char newest[1400]) {
  double when = 0;
  DIR *d = opendir(c->dir);
  for (struct dirent *entry; d && (entry = readdir(d));) {
    char path[1400];
    struct stat st;
    snprintf(path, sizeof path, "%.1000s/%.255s", c->dir, entry->d_name);
    if (entry->d_name[0] == '.' || !strcmp(path, c->own) || stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) continue;
    const double t = newest ? work_time(path) : 0;
    if (t > when) when = t, strcpy(newest, path);
    if (!newest && claim_held(c)) folder_remove(path);
  }
  if (d) closedir(d);
}

// Links the newest work that former owners left into our folder and removes theirs.
static void take_over(const Claim *c) {
  char newest[1400] = "", from[1700], to[1400];
  others(c, newest);
  for (int i = 0; *newest && i < N_KEPT; i++) {
    snprintf(from, sizeof from, "%s/%s", newest, KEPT[i]);
    snprintf(to, sizeof to, "%.1100s/%s", c->own, KEPT[i]);
    link(from, to);
  }
  for (int i = 0; i < 2; i++) {  // checkpoints of a run that was trained by hand in runs/<id>
    snprintf(from, sizeof from, "%.1000s/%s", c->dir, KEPT[i]);
    snprintf(to, sizeof to, "%.1100s/%s", c->own, KEPT[i]);
    if (*newest) unlink(from);
    else rename(from, to);
  }
  others(c, NULL);
}

// ---- Taking, publishing, giving up ---------------------------------------------------------------------

// OK also where the folder is gone again: whoever has just taken the cell has removed it, and link will fail. NFS 3 may
// say so only when the file is closed, by ESTALE.
static int private_file(const Claim *c, Err *e) {
  char machine[128];
  machine_name(machine);
  const int fd = open(c->file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  bool good = fd >= 0 && dprintf(fd, "beat %g machine %s pid %ld start %llu\n", c->owner->beat, *machine ? machine : "?",
                                 (long)getpid(), start_time(getpid())) > 0;
  int why = errno;
  const int closed = fd >= 0 ? close(fd) : 0;
  if (good && closed != 0) good = false, why = errno;
  if (good || why == ENOENT || why == ESTALE) return OK;
  return fail(e, E_IO, "%s: cannot write: %s", c->file, strerror(why));
}

int claim_take(Claim *c, const Owner *owner, const char *dir, Watch *seen, Err *e) {
  *c = (Claim){.owner = owner};
  snprintf(c->dir, sizeof c->dir, "%.1000s", dir);
  snprintf(c->own, sizeof c->own, "%.1000s/%s", dir, owner->name);
  snprintf(c->file, sizeof c->file, "%s/claim", c->own);
  char path[1100];
  if (dir_make(dir, e)) return e->code;
  const long top = generations(dir, 0);
  if (top < 0) return fail(e, E_IO, "%s: cannot read: %s", dir, strerror(errno));
  claim_path(path, dir, top);
  if (top && !stale(path, top, owner->beat, seen)) return OK;
  folder_remove(c->own);  // of a claim that we lost: its work has been taken over
  if (dir_make(c->own, e) || private_file(c, e)) {
    folder_remove(c->own);
    return e->code;
  }
  claim_path(path, dir, top + 1);
  struct stat st = {0};
  const int linked = link(c->file, path), why = errno;
  const bool gone = !look(c->file, &st) && errno == ENOENT;
  if (st.st_nlink != 2) {
    if (linked == 0) unlink(path);
    folder_remove(c->own);
    if (linked == 0 && !gone)
      return fail(e, E_IO, "%s: this file system does not count hard links, which claims need", path);
    if (gone || why == EEXIST || why == ENOENT) return OK;  // another was quicker
    return fail(e, E_IO, "%s: cannot make a hard link, which claims need: %s", path, strerror(why));
  }
  c->generation = top + 1;
  c->beaten = now_seconds();
  generations(dir, c->generation);
  take_over(c);
  return OK;
}

int claim_publish(const Claim *c, const char *name, Err *e) {
  *e = (Err){0};
  char from[1400], to[1400];
  snprintf(from, sizeof from, "%.1100s/%.200s", c->own, name);
  snprintf(to, sizeof to, "%.1000s/%.200s", c->dir, name);
  if (rename(from, to) != 0 && errno != ENOENT) return fail(e, E_IO, "%s: cannot write: %s", to, strerror(errno));
  const int fd = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 || (fsync(fd) != 0 && errno != EINVAL))
    fail(e, E_IO, "%s: cannot sync this folder: %s", c->dir, strerror(errno));
  if (fd >= 0) close(fd);
  return e->code;
}

void claim_release(Claim *c, bool done) {
  char path[1100];
  claim_path(path, c->dir, c->generation);
  if (claim_held(c)) {
    if (done) others(c, NULL);
    unlink(path);
  }
  if (done) folder_remove(c->own);
  else unlink(c->file);
  c->generation = 0;
}
