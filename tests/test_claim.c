// test_claim.c: claims, with every answer that the system may give: it is asked through the functions below, which
// stand in the way of libc's and refuse or lie when a test says so.
#include "claim.h"
#include "testing.h"
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

// ---- The system ------------------------------------------------------------------------------------------

static const char *lie_path, *lie_text;  // what opening this path finds; NULL: nothing
static const char *refused = "";         // the call that fails, with
static int refusal;                      // this errno; 0: of link, that it was done but the answer was lost
static const char *host_name;
static char lost_claim[100];
static int spared;                       // calls of it that still go well

static bool refuses(const char *call) {
  if (strcmp(refused, call) || spared-- > 0) return false;
  errno = refusal;
  return true;
}
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

FILE *fopen(const char *path, const char *mode) {
  if (!lie_path || strcmp(path, lie_path)) return REAL(fopen)(path, mode);
  return lie_text ? fmemopen((char *)(uintptr_t)lie_text, strlen(lie_text), mode) : NULL;
}
int gethostname(char *name, size_t n) {
  if (!host_name) return REAL(gethostname)(name, n);
  snprintf(name, n, "%s", host_name);
  return 0;
}
#define STAND_IN(type, name, parameters, ...) \
  type name parameters { return refuses(#name) ? -1 : REAL(name)(__VA_ARGS__); }
STAND_IN(ssize_t, getrandom, (void *buf, size_t n, unsigned flags), buf, n, flags)
STAND_IN(ssize_t, readlink, (const char *path, char *buf, size_t n), path, buf, n)
STAND_IN(int, fstat, (int fd, struct stat *st), fd, st)
STAND_IN(int, fsync, (int fd), fd)
STAND_IN(int, rename, (const char *from, const char *to), from, to)
int close(int fd) {
  const int r = REAL(close)(fd);
  if (!strcmp(refused, "close: removed before")) return unlink(lost_claim), errno = ESTALE, -1;
  return refuses("close") ? -1 : r;
}
DIR *opendir(const char *path) { return refuses("opendir") ? NULL : REAL(opendir)(path); }
int mkdir(const char *path, mode_t mode) {
  const int r = REAL(mkdir)(path, mode);
  if (r == 0 && !strcmp(refused, "mkdir: removed at once") && strrchr(path, '/') != strstr(path, "/cell")) rmdir(path);
  return r;
}
int link(const char *from, const char *to) {
  if (!strcmp(refused, "link: removed at once")) return REAL(link)(from, to) + unlink(from);
  if (!strcmp(refused, "link: the claim lost on the way") && strstr(to, "/checkpoint.bin")) unlink(lost_claim);
  if (refuses("link: done, the answer lost")) return REAL(link)(from, to), errno = EEXIST, -1;
  if (!strcmp(refused, "link: not counted")) {  // a file system that copies instead
    const int fd = open(to, O_WRONLY | O_CREAT | O_EXCL, 0666);
    return fd < 0 ? -1 : REAL(close)(fd);
  }
  return refuses("link") ? -1 : REAL(link)(from, to);
}

static void refuse(const char *call, int why) { refused = call, refusal = why; }

// ---- Folders and claims ------------------------------------------------------------------------------------

static char cell[128];
static Owner us, them;
// Of each test, in which they begin empty.
static Claim a, b;
static Watch w;
static Err e;

static int begin(void **state) {
  if (folder_make(state)) return -1;
  snprintf(cell, sizeof cell, "%s", in("cell"));
  claim_owner(&us, 0.01);
  claim_owner(&them, 0.01);
  a = b = (Claim){0}, w = (Watch){0}, e = (Err){0};
  return mkdir(cell, 0777);
}

static int end(void **state) {
  refused = "", spared = 0, lie_path = host_name = NULL;
  return folder_remove(state);
}

// Takes the cell; whether it is ours.
static bool take(Claim *c, const Owner *owner, Watch *seen) {
  if (claim_take(c, owner, cell, seen, &e)) fail_msg("%s", e.msg);
  return c->generation > 0;
}
static bool ours(void) { return take(&a, &us, &w); }
#define assert_no_claim(words) assert_refused(claim_take(&a, &us, cell, &w, &e), &e, E_IO, words)

// As if another machine had claimed the cell: a folder with work in it, a claim of this text, and no process.
static void ghost(long generation, const char *text) {
  mkdir(in("cell/ghost-%ld", generation), 0777);
  write_text(in("cell/ghost-%ld/claim", generation), text);
  assert_int_equal(link(in("cell/ghost-%ld/claim", generation), in("cell/claim.%ld", generation)), 0);
}
static const char AWAY[] = "beat 0.01 machine elsewhere pid 1 start 1\n";

// Takes over the claim of the silent other: not at once, but after a while.
static void take_in_the_end(Claim *c) {
  assert_false(take(c, &us, &w));
  while (!take(c, &us, &w)) usleep(20000);
}

// ---- Taking and giving up --------------------------------------------------------------------------------

UNIT(names_differ) {
  Owner one, other;
  host_name = "my.machine/1";
  claim_owner(&one, 1), claim_owner(&other, 1);
  assert_string_not_equal(one.name, other.name);
  assert_int_equal(strncmp(one.name, "my-machine-1-", 13), 0);
  refuse("getrandom", EAGAIN);
  claim_owner(&one, 1);
  assert_int_equal(strncmp(one.name, "my-machine-1-", 13), 0);
}

UNIT(one_of_two_gets_a_cell) {
  Watch wa = {0}, wb = {0};
  rmdir(cell);  // as before anyone has come
  assert_true(take(&a, &us, &wa));
  assert_true(claim_held(&a) && claim_beat(&a));
  assert_false(take(&b, &them, &wb));
  assert_false(claim_held(&b));
  usleep(100000);
  assert_true(claim_beat(&a));
  assert_false(take(&b, &them, &wb));  // over the time, but there was a sign of life
  claim_release(&a, true);
  assert_true(take(&b, &them, &wb));
  assert_int_equal(b.generation, 1);
  claim_release(&b, true);
  DIR *d = opendir(cell);
  for (struct dirent *entry; (entry = readdir(d));)
    if (entry->d_name[0] != '.') fail_msg("%s is left", entry->d_name);
  closedir(d);
}

UNIT(given_up_the_work_goes_to_the_next) {
  assert_true(ours());
  write_text(in("cell/%s/checkpoint.bin", us.name), "work");
  write_text(in("cell/%s/other", us.name), "");
  claim_release(&a, false);
  assert_true(take(&b, &them, &w));
  assert_true(file_exists(in("cell/%s/checkpoint.bin", them.name)));
  assert_false(file_exists(in("cell/%s/other", them.name)) || file_exists(in("cell/%s", us.name)));
}

UNIT(an_answer_that_was_lost_is_not_a_claim_that_was_lost) {
  refuse("link: done, the answer lost", 0);
  assert_true(ours());
}

// Whoever takes a cell removes the folders of all others: also of one who is about to try. It was an error.
UNIT(a_folder_that_the_quicker_removed_is_no_error) {
  const char *removed[] = {"mkdir: removed at once", "link: removed at once"};
  for (int i = 0; i < 2; i++) {
    refuse(removed[i], 0);
    assert_false(ours());
  }
  assert_false(file_exists(in("cell/claim.1")));
  refuse("", 0);
  assert_true(ours());
}

// So an NFS 3 client, which writes when a file is closed, learns of it; met by six on a real one. It was an error of another name.
UNIT(a_file_that_the_quicker_removed_before_it_was_closed_is_no_error) {
  snprintf(lost_claim, sizeof lost_claim, "%s", in("cell/%s/claim", us.name));
  refuse("close: removed before", 0);
  assert_false(ours());
  assert_false(file_exists(in("cell/claim.1")) || file_exists(in("cell/%s", us.name)));
  refuse("", 0);
  assert_true(ours());
}

UNIT(another_may_be_quicker) {
  const int whys[] = {EEXIST, ENOENT};
  for (int i = 0; i < 2; i++) {
    refuse("link", whys[i]);
    assert_false(ours());
  }
  assert_false(file_exists(in("cell/%s", us.name)));
}

UNIT(no_claim_without_hard_links) {
  const struct { const char *call; int why; const char *words; } lacks[] = {
      {"link", EPERM, "cannot make a hard link"}, {"link: not counted", 0, "does not count hard links"},
      {"fstat", EIO, ""}};
  for (int i = 0; i < COUNT(lacks); i++) {
    refuse(lacks[i].call, lacks[i].why);
    assert_no_claim(lacks[i].words);
  }
  assert_false(a.generation || file_exists(in("cell/claim.1")) || file_exists(in("cell/%s", us.name)));
}

UNIT(no_claim_where_nothing_can_be_written) {
  rmdir(cell), write_text(cell, "a file");
  assert_no_claim("cell");
  unlink(cell), mkdir(cell, 0777);
  write_text(in("cell/%s", us.name), "a file where our folder must go");
  assert_no_claim("");
  unlink(in("cell/%s", us.name));
  mkdir(in("cell/%s", us.name), 0777), mkdir(in("cell/%s/claim", us.name), 0777);
  assert_no_claim("claim: cannot write");
  rmdir(in("cell/%s/claim", us.name));
  refuse("close", EDQUOT);
  assert_no_claim(strerror(EDQUOT));
  refuse("", 0);
  const struct rlimit none = {0, RLIM_INFINITY}, any = {RLIM_INFINITY, RLIM_INFINITY};
  signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &none);
  const int code = claim_take(&a, &us, cell, &w, &e);
  setrlimit(RLIMIT_FSIZE, &any);
  assert_refused(code, &e, E_IO, "");
  assert_true(ours());
}

// ---- The dead and the silent -----------------------------------------------------------------------------

UNIT(the_dead_of_this_machine_are_replaced_at_once) {
  const pid_t pid = fork();
  if (pid == 0) _exit(take(&a, &them, &w) ? 0 : 1);
  siginfo_t info;
  waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);  // dead, but not buried: it still has a number and a start
  assert_int_equal(info.si_status, 0);
  write_text(in("cell/%s/checkpoint.bin", them.name), "work");
  assert_true(take(&b, &us, &w));
  assert_int_equal(b.generation, 2);
  assert_true(file_exists(in("cell/%s/checkpoint.bin", us.name)));
  assert_false(file_exists(in("cell/%s", them.name)) || file_exists(in("cell/claim.1")));
  waitpid(pid, NULL, 0);
}

UNIT(what_proc_says_of_a_process_may_be_anything) {
  const char *texts[] = {NULL, "", "1 (a) b) X 1", "1 (a", "1 (a) R 0",
                         "1 (a) X 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 77 1",
                         "1 (a) R 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 78 1"};
  char own[64];
  assert_true(take(&a, &them, &w));  // of this machine and this very process
  assert_false(take(&b, &us, &w));
  snprintf(own, sizeof own, "/proc/%ld/stat", (long)getpid());
  for (int i = 0; i < COUNT(texts); i++) {  // which is then no more, or another by the same number
    lie_path = own, lie_text = texts[i];
    if (!take(&b, i % 2 ? &us : &them, &w)) fail_msg("'%s' is taken for the living", texts[i]);
    lie_path = NULL;
    claim_release(&b, true);
    assert_true(take(&a, i % 2 ? &them : &us, &w));
  }
}

UNIT(where_a_machine_has_no_name_only_silence_counts) {
  const char *boot = "/proc/sys/kernel/random/boot_id", *texts[] = {NULL, " ", "a-boot"};
  for (int i = 0; i < 3; i++) {
    lie_path = boot, lie_text = texts[i];
    if (i == 2) refuse("readlink", EACCES);
    const pid_t pid = fork();
    if (pid == 0) _exit(take(&a, &them, &w) ? 0 : 1);
    waitpid(pid, NULL, 0);
    w = (Watch){0};
    take_in_the_end(&b);
    claim_release(&b, true);
    lie_path = NULL, refuse("", 0);
  }
}

UNIT(the_silent_are_replaced_after_a_while) {
  const char *texts[] = {AWAY, "", "beat 0.01 machine elsewhere", "nonsense"};
  for (int i = 0; i < 4; i++) {
    w = (Watch){0};
    ghost(1, texts[i]);
    take_in_the_end(&a);
    assert_int_equal(a.generation, 2);
    claim_release(&a, true);
  }
}

UNIT(who_beats_slowly_may_be_silent_for_long) {
  ghost(1, "beat 1000 machine elsewhere pid 1 start 1\n");
  for (int i = 0; i < 5; i++, usleep(40000)) assert_false(ours());
}

UNIT(signs_of_life_come_when_they_are_due) {
  struct stat st;
  Owner slow = us;
  slow.beat = 1000;
  const struct timespec past[2] = {{1, 0}, {1, 0}};
  assert_true(take(&a, &slow, &w));
  for (int i = 0; i < 3; i++) {
    utimensat(AT_FDCWD, a.file, past, 0);
    if (i == 1) a.beaten -= 1001;
    assert_true(claim_beat(&a));
    assert_int_equal(stat(a.file, &st), 0);
    assert_int_equal(st.st_mtim.tv_sec > 1, i == 1);
  }
}

// Every field that could tell one state of a claim from another.
UNIT(a_sign_of_life_is_any_change) {
  ghost(3, AWAY);
  const struct timespec times[][2] = {{{1, 0}, {100, 0}}, {{1, 0}, {100, 7}}, {{1, 0}, {50, 7}}};
  for (int change = 0; change < 5; change++) {
    if (change == 3) {  // another file of the same times
      write_text(in("cell/new"), AWAY);
      utimensat(AT_FDCWD, in("cell/new"), times[2], 0);
      rename(in("cell/new"), in("cell/claim.3"));
    } else if (change == 4) rename(in("cell/claim.3"), in("cell/claim.4"));
    else utimensat(AT_FDCWD, in("cell/claim.3"), times[change], 0);
    assert_false(ours());
    usleep(100000);  // over the time; but then something changes
  }
  assert_true(ours());
  assert_int_equal(a.generation, 5);
}

UNIT(a_claim_that_nobody_can_read_ages_too) {
  assert_int_equal(symlink("claim.1", in("cell/claim.1")), 0);
  take_in_the_end(&a);
}

UNIT(a_claim_that_has_just_gone_is_nobodys_yet) {
  assert_int_equal(symlink("nowhere", in("cell/claim.1")), 0);  // there in the folder, but not when it is opened
  assert_false(ours());
  usleep(100000);
  assert_false(ours());
}

// It was taken for one without claims: a claim.1 beside a later one was then believed to hold.
UNIT(no_claim_in_a_folder_that_cannot_be_read) {
  ghost(3, AWAY);
  refuse("opendir", EMFILE);
  assert_no_claim("cannot read");
  refuse("", 0);
  take_in_the_end(&b);
  refuse("opendir", EMFILE);
  assert_false(claim_held(&b));
  spared = 1;  // the one before others' folders are looked for
  claim_release(&b, true);
  assert_false(file_exists(in("cell/claim.4")));
}

// Whoever was the owner two takings ago: also while the links between have been removed and its own not yet.
UNIT(any_later_claim_ends_an_older_one) {
  assert_true(ours());
  write_text(in("cell/claim.3"), AWAY);
  assert_false(claim_held(&a));
}

UNIT(only_claims_count_as_claims) {
  const char *names[] = {"claim", "claim.", "claim.x", "claim.1x", "claim.0", "claim.-3", "claims"};
  for (int i = 0; i < 7; i++) write_text(in("cell/%s", names[i]), AWAY);
  assert_true(ours());
  assert_int_equal(a.generation, 1);
}

// ---- Losing a claim ----------------------------------------------------------------------------------------

UNIT(an_owner_that_overslept_learns_it) {
  assert_true(take(&a, &them, &w));
  write_text(in("cell/claim.2"), "");  // its successor's, before it has removed what is older
  assert_false(claim_held(&a));
  unlink(in("cell/claim.2"));
  assert_true(claim_held(&a));
  unlink(in("cell/claim.1"));  // and after
  assert_false(claim_held(&a));
  write_text(in("cell/claim.1"), AWAY);  // of a third, when that one had given it up
  assert_false(claim_held(&a));
  unlink(in("cell/claim.1"));
  usleep(20000);
  assert_false(claim_beat(&a));
  assert_true(take(&b, &us, &w));
  usleep(20000);
  assert_false(claim_beat(&a));  // the file itself is gone with the folder
  for (int done = 1; done >= 0; done--) {
    claim_release(&a, done);
    assert_true(claim_held(&b));
  }
  assert_true(file_exists(in("cell/%s/claim", us.name)));
}

UNIT(who_has_lost_its_claim_removes_no_other) {
  assert_true(ours());
  mkdir(in("cell/someone"), 0777);
  unlink(in("cell/claim.1"));
  claim_release(&a, true);
  assert_true(file_exists(in("cell/someone")));
  assert_true(ours());
  assert_false(file_exists(in("cell/someone")));
  mkdir(in("cell/someone"), 0777);
  claim_release(&a, true);
  assert_false(file_exists(in("cell/someone")));
}

// ---- The work of others ------------------------------------------------------------------------------------

UNIT(the_newest_work_goes_on) {
  const struct timespec now = {0, UTIME_NOW}, old = {100, 0}, older = {50, 5};
  const char *folders[] = {"empty", ".hidden", "few", "old", "older", "oldest"};
  const struct { const char *file, *text; struct timespec changed; } work[] = {
      {"few/model.bin", "newest, but no work to go on with", now}, {"few/curve.tsv", "", now},
      {"old/checkpoint.bin", "old", old}, {"old/checkpoint.bin.old", "old", older},
      {"older/checkpoint.bin", "older", older}, {"oldest/run.ini", "oldest", older},
      {"checkpoint.bin", "by hand", now}, {"checkpoint.bin.old", "by hand", now}};
  for (int i = 0; i < COUNT(folders); i++) mkdir(in("cell/%s", folders[i]), 0777);
  assert_int_equal(symlink("nowhere", in("cell/dangling")), 0);
  for (int i = 0; i < COUNT(work); i++) {
    const char *path = in("cell/%s", work[i].file);
    write_text(path, work[i].text);
    utimensat(AT_FDCWD, path, (struct timespec[]){work[i].changed, work[i].changed}, 0);
  }
  assert_true(ours());
  char *text = slurp(in("cell/%s/checkpoint.bin", us.name));
  assert_string_equal(text, "old");
  free(text);
  const char *gone[] = {"old", "few", "empty", "oldest", "checkpoint.bin"};
  for (int i = 0; i < COUNT(gone); i++) assert_false(file_exists(in("cell/%s", gone[i])));
  assert_false(file_exists(in("cell/%s/run.ini", us.name)));
  assert_true(file_exists(in("cell/.hidden")));
}

UNIT(who_loses_its_claim_while_taking_over_removes_nothing) {
  mkdir(in("cell/someone"), 0777);
  write_text(in("cell/someone/checkpoint.bin"), "work");
  snprintf(lost_claim, sizeof lost_claim, "%s", in("cell/claim.1"));
  refuse("link: the claim lost on the way", 0);
  assert_true(ours());
  assert_false(claim_held(&a));
  assert_true(file_exists(in("cell/someone/checkpoint.bin")));
}

UNIT(a_run_begun_by_hand_goes_on) {
  write_text(in("cell/checkpoint.bin"), "by hand");
  assert_true(ours());
  assert_true(file_exists(in("cell/%s/checkpoint.bin", us.name)));
  assert_false(file_exists(in("cell/checkpoint.bin")));
}

// ---- Publishing ------------------------------------------------------------------------------------------

UNIT(published_or_said_why_not) {
  assert_true(ours());
  assert_int_equal(claim_publish(&a, "model.bin", &e), OK);  // there is none: nothing to do
  write_text(in("cell/%s/model.bin", us.name), "model");
  refuse("rename", ENOSPC);
  assert_refused(claim_publish(&a, "model.bin", &e), &e, E_IO, "model.bin: cannot write");
  refuse("fsync", EINVAL);  // a file system that knows no syncing of folders
  assert_int_equal(claim_publish(&a, "model.bin", &e), OK);
  assert_true(file_exists(in("cell/model.bin")));
  refuse("fsync", EIO);
  assert_refused(claim_publish(&a, "model.bin", &e), &e, E_IO, "cannot sync");
  refuse("", 0);
  assert_int_equal(folder_remove(NULL), 0);
  assert_int_equal(claim_publish(&a, "model.bin", &e), E_IO);
  claim_release(&a, true);  // of nothing
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
  const struct CMUnitTest tests[] = {
      TEST(names_differ), TEST(one_of_two_gets_a_cell), TEST(given_up_the_work_goes_to_the_next),
      TEST(an_answer_that_was_lost_is_not_a_claim_that_was_lost), TEST(another_may_be_quicker),
      TEST(a_folder_that_the_quicker_removed_is_no_error),
      TEST(a_file_that_the_quicker_removed_before_it_was_closed_is_no_error),
      TEST(no_claim_without_hard_links), TEST(no_claim_where_nothing_can_be_written),
      TEST(the_dead_of_this_machine_are_replaced_at_once), TEST(what_proc_says_of_a_process_may_be_anything),
      TEST(where_a_machine_has_no_name_only_silence_counts), TEST(the_silent_are_replaced_after_a_while),
      TEST(who_beats_slowly_may_be_silent_for_long), TEST(signs_of_life_come_when_they_are_due),
      TEST(a_sign_of_life_is_any_change), TEST(a_claim_that_nobody_can_read_ages_too),
      TEST(a_claim_that_has_just_gone_is_nobodys_yet), TEST(no_claim_in_a_folder_that_cannot_be_read),
      TEST(any_later_claim_ends_an_older_one), TEST(only_claims_count_as_claims),
      TEST(an_owner_that_overslept_learns_it), TEST(who_has_lost_its_claim_removes_no_other),
      TEST(the_newest_work_goes_on), TEST(who_loses_its_claim_while_taking_over_removes_nothing),
      TEST(a_run_begun_by_hand_goes_on), TEST(published_or_said_why_not)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
