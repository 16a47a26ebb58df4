// test_claim.c: claims, with every answer that the system may give: it is asked through the functions below, which
// stand in the way of libc's and refuse or lie when a test says so.
#include "claim.h"
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

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
ssize_t getrandom(void *buf, size_t n, unsigned flags) {
  return refuses("getrandom") ? -1 : REAL(getrandom)(buf, n, flags);
}
ssize_t readlink(const char *path, char *buf, size_t n) {
  return refuses("readlink") ? -1 : REAL(readlink)(path, buf, n);
}
int fstat(int fd, struct stat *st) { return refuses("fstat") ? -1 : REAL(fstat)(fd, st); }
int fsync(int fd) { return refuses("fsync") ? -1 : REAL(fsync)(fd); }
int rename(const char *from, const char *to) { return refuses("rename") ? -1 : REAL(rename)(from, to); }
int close(int fd) {
  const int r = REAL(close)(fd);
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

static char folder[] = "/tmp/test_claim.XXXXXX", cell[64];
static Owner us, them;

static int begin(void **state) {
  (void)state;
  strcpy(strchr(folder, '.'), ".XXXXXX");
  if (!mkdtemp(folder)) return -1;
  snprintf(cell, sizeof cell, "%s/cell", folder);
  claim_owner(&us, 0.01);
  claim_owner(&them, 0.01);
  return 0;
}

static int end(void **state) {
  (void)state;
  refused = "", spared = 0, lie_path = host_name = NULL;
  char command[100];
  snprintf(command, sizeof command, "rm -rf %s", folder);
  return system(command);
}

static const char *in_cell(const char *format, ...) {
  static char path[4][2048];
  static int turn;
  char *at = path[turn++ % 4];
  va_list args;
  va_start(args, format);
  const int n = snprintf(at, 1024, "%s/", cell);
  vsnprintf(at + n, 1024, format, args);
  va_end(args);
  return at;
}

static void put(const char *path, const char *text) {
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

static bool there(const char *path) { return access(path, F_OK) == 0; }

// Takes the cell; whether it is ours.
static bool take(Claim *c, const Owner *owner, Watch *seen) {
  Err e = {0};
  if (claim_take(c, owner, cell, seen, &e)) fail_msg("%s", e.msg);
  return c->generation > 0;
}

// As if another machine had claimed the cell: a folder with work in it, a claim of this text, and no process.
static void ghost(long generation, const char *text) {
  mkdir(cell, 0777);
  mkdir(in_cell("ghost-%ld", generation), 0777);
  put(in_cell("ghost-%ld/claim", generation), text);
  assert_int_equal(link(in_cell("ghost-%ld/claim", generation), in_cell("claim.%ld", generation)), 0);
}
static const char AWAY[] = "beat 0.01 machine elsewhere pid 1 start 1\n";

// How often it is tried until the claim of the silent other is taken over.
static int tries(Claim *c, Watch *seen) {
  int n = 1;
  for (; !take(c, &us, seen); n++) usleep(20000);
  return n;
}

static void assert_refused(Err *e, int code, const char *word) {
  assert_int_equal(e->code, code);
  if (!strstr(e->msg, word)) fail_msg("%s: no word of %s", e->msg, word);
}

// ---- Taking and giving up --------------------------------------------------------------------------------

static void names_differ(void **state) {
  (void)state;
  Owner a, b;
  host_name = "my.machine/1";
  claim_owner(&a, 1), claim_owner(&b, 1);
  assert_string_not_equal(a.name, b.name);
  assert_int_equal(strncmp(a.name, "my-machine-1-", 13), 0);
  refuse("getrandom", EAGAIN);
  claim_owner(&a, 1);
  assert_int_equal(strncmp(a.name, "my-machine-1-", 13), 0);
}

static void one_of_two_gets_a_cell(void **state) {
  (void)state;
  Claim a, b;
  Watch wa = {0}, wb = {0};
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

static void given_up_the_work_goes_to_the_next(void **state) {
  (void)state;
  Claim a, b;
  Watch w = {0};
  assert_true(take(&a, &us, &w));
  put(in_cell("%s/checkpoint.bin", us.name), "work");
  put(in_cell("%s/other", us.name), "");
  claim_release(&a, false);
  assert_true(take(&b, &them, &w));
  assert_true(there(in_cell("%s/checkpoint.bin", them.name)));
  assert_false(there(in_cell("%s/other", them.name)) || there(in_cell("%s", us.name)));
}

static void an_answer_that_was_lost_is_not_a_claim_that_was_lost(void **state) {
  (void)state;
  Claim a;
  Watch w = {0};
  refuse("link: done, the answer lost", 0);
  assert_true(take(&a, &us, &w));
}

// Whoever takes a cell removes the folders of all others: also of one who is about to try. It was an error.
static void a_folder_that_the_quicker_removed_is_no_error(void **state) {
  (void)state;
  Claim a;
  Watch w = {0};
  refuse("mkdir: removed at once", 0);
  assert_false(take(&a, &us, &w));
  refuse("link: removed at once", 0);
  assert_false(take(&a, &us, &w));
  assert_false(there(in_cell("claim.1")));
  refuse("", 0);
  assert_true(take(&a, &us, &w));
}

static void another_may_be_quicker(void **state) {
  (void)state;
  Claim a;
  Watch w = {0};
  refuse("link", EEXIST);
  assert_false(take(&a, &us, &w));
  refuse("link", ENOENT);
  assert_false(take(&a, &us, &w));
  assert_false(there(in_cell("%s", us.name)));
}

static void no_claim_without_hard_links(void **state) {
  (void)state;
  Claim a;
  Watch w = {0};
  Err e = {0};
  refuse("link", EPERM);
  assert_int_equal(claim_take(&a, &us, cell, &w, &e), E_IO);
  assert_refused(&e, E_IO, "cannot make a hard link");
  refuse("link: not counted", 0);
  assert_int_equal(claim_take(&a, &us, cell, &w, &e), E_IO);
  assert_refused(&e, E_IO, "does not count hard links");
  refuse("fstat", EIO);
  assert_int_equal(claim_take(&a, &us, cell, &w, &e), E_IO);
  assert_false(a.generation || there(in_cell("claim.1")) || there(in_cell("%s", us.name)));
}

static void no_claim_where_nothing_can_be_written(void **state) {
  (void)state;
  Claim a;
  Watch w = {0};
  Err e = {0};
  put(cell, "a file");
  assert_int_equal(claim_take(&a, &us, cell, &w, &e), E_IO);
  assert_refused(&e, E_IO, "cell");
  unlink(cell), mkdir(cell, 0777);
  put(in_cell("%s", us.name), "a file where our folder must go");
  assert_int_equal(claim_take(&a, &us, cell, &w, &e), E_IO);
  unlink(in_cell("%s", us.name));
  mkdir(in_cell("%s", us.name), 0777), mkdir(in_cell("%s/claim", us.name), 0777);
  assert_int_equal(claim_take(&a, &us, cell, &w, &e), E_IO);
  assert_refused(&e, E_IO, "claim: cannot write");
  rmdir(in_cell("%s/claim", us.name));
  refuse("close", EDQUOT);
  assert_int_equal(claim_take(&a, &us, cell, &w, &e), E_IO);
  refuse("", 0);
  const struct rlimit none = {0, RLIM_INFINITY}, any = {RLIM_INFINITY, RLIM_INFINITY};
  signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &none);
  assert_int_equal(claim_take(&a, &us, cell, &w, &e), E_IO);
  setrlimit(RLIMIT_FSIZE, &any);
  assert_true(take(&a, &us, &w));
}

// ---- The dead and the silent -----------------------------------------------------------------------------

static void the_dead_of_this_machine_are_replaced_at_once(void **state) {
  (void)state;
  Claim a, b;
  Watch w = {0};
  const pid_t pid = fork();
  if (pid == 0) _exit(take(&a, &them, &w) ? 0 : 1);
  siginfo_t info;
  waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);  // dead, but not buried: it still has a number and a start
  assert_int_equal(info.si_status, 0);
  put(in_cell("%s/checkpoint.bin", them.name), "work");
  assert_true(take(&b, &us, &w));
  assert_int_equal(b.generation, 2);
  assert_true(there(in_cell("%s/checkpoint.bin", us.name)));
  assert_false(there(in_cell("%s", them.name)) || there(in_cell("claim.1")));
  waitpid(pid, NULL, 0);
}

static void what_proc_says_of_a_process_may_be_anything(void **state) {
  (void)state;
  const char *texts[] = {NULL, "", "1 (a) b) X 1", "1 (a", "1 (a) R 0",
                         "1 (a) X 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 77 1",
                         "1 (a) R 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 78 1"};
  char own[64], text[200];
  Claim a, b;
  Watch w = {0};
  assert_true(take(&a, &them, &w));  // of this machine and this very process
  assert_false(take(&b, &us, &w));
  snprintf(own, sizeof own, "/proc/%ld/stat", (long)getpid());
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {  // which is then no more, or another by the same number
    lie_path = own, lie_text = texts[i];
    if (!take(&b, i % 2 ? &us : &them, &w)) fail_msg("'%s' is taken for the living", texts[i]);
    lie_path = NULL;
    snprintf(text, sizeof text, "by %s", texts[i]);
    claim_release(&b, true);
    assert_true(take(&a, i % 2 ? &them : &us, &w));
  }
}

static void where_a_machine_has_no_name_only_silence_counts(void **state) {
  (void)state;
  const char *boot = "/proc/sys/kernel/random/boot_id", *texts[] = {NULL, " ", "a-boot"};
  for (int i = 0; i < 3; i++) {
    Claim a, b;
    Watch w = {0};
    lie_path = boot, lie_text = texts[i];
    if (i == 2) refuse("readlink", EACCES);
    const pid_t pid = fork();
    if (pid == 0) _exit(take(&a, &them, &w) ? 0 : 1);
    waitpid(pid, NULL, 0);
    w = (Watch){0};
    assert_true(tries(&b, &w) > 1);
    claim_release(&b, true);
    lie_path = NULL, refuse("", 0);
  }
}

static void the_silent_are_replaced_after_a_while(void **state) {
  (void)state;
  const char *texts[] = {AWAY, "", "beat 0.01 machine elsewhere", "nonsense"};
  for (int i = 0; i < 4; i++) {
    Claim a;
    Watch w = {0};
    ghost(1, texts[i]);
    assert_true(tries(&a, &w) > 1);
    assert_int_equal(a.generation, 2);
    claim_release(&a, true);
  }
}

static void who_beats_slowly_may_be_silent_for_long(void **state) {
  (void)state;
  Claim a;
  Watch w = {0};
  ghost(1, "beat 1000 machine elsewhere pid 1 start 1\n");
  for (int i = 0; i < 5; i++, usleep(40000)) assert_false(take(&a, &us, &w));
}

static void signs_of_life_come_when_they_are_due(void **state) {
  (void)state;
  Claim a;
  Watch w = {0};
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
static void a_sign_of_life_is_any_change(void **state) {
  (void)state;
  Claim a;
  Watch w = {0};
  ghost(3, AWAY);
  const struct timespec times[][2] = {{{1, 0}, {100, 0}}, {{1, 0}, {100, 7}}, {{1, 0}, {50, 7}}};
  for (int i = 0; i < 3; i++) {
    utimensat(AT_FDCWD, in_cell("claim.3"), times[i], 0);
    assert_false(take(&a, &us, &w));
    usleep(100000);  // over the time; but then something changes
  }
  put(in_cell("new"), AWAY);
  utimensat(AT_FDCWD, in_cell("new"), times[2], 0);
  rename(in_cell("new"), in_cell("claim.3"));  // another file of the same times
  assert_false(take(&a, &us, &w));
  usleep(100000);
  rename(in_cell("claim.3"), in_cell("claim.4"));
  assert_false(take(&a, &us, &w));
  usleep(100000);
  assert_true(take(&a, &us, &w));
  assert_int_equal(a.generation, 5);
}

static void a_claim_that_nobody_can_read_ages_too(void **state) {
  (void)state;
  Claim a;
  Watch w = {0};
  mkdir(cell, 0777);
  assert_int_equal(symlink("claim.1", in_cell("claim.1")), 0);
  assert_true(tries(&a, &w) > 1);
}

static void a_claim_that_has_just_gone_is_nobodys_yet(void **state) {
  (void)state;
  Claim a;
  Watch w = {0};
  mkdir(cell, 0777);
  assert_int_equal(symlink("nowhere", in_cell("claim.1")), 0);  // there in the folder, but not when it is opened
  assert_false(take(&a, &us, &w));
  usleep(100000);
  assert_false(take(&a, &us, &w));
}

// It was taken for one without claims: a claim.1 beside a later one was then believed to hold.
static void no_claim_in_a_folder_that_cannot_be_read(void **state) {
  (void)state;
  Claim a, b;
  Watch w = {0};
  Err e = {0};
  ghost(3, AWAY);
  refuse("opendir", EMFILE);
  assert_int_equal(claim_take(&a, &us, cell, &w, &e), E_IO);
  assert_refused(&e, E_IO, "cannot read");
  refuse("", 0);
  assert_true(tries(&b, &w) > 1);
  refuse("opendir", EMFILE);
  assert_false(claim_held(&b));
  spared = 1;  // the one before others' folders are looked for
  claim_release(&b, true);
  assert_false(there(in_cell("claim.4")));
}

// Whoever was the owner two takings ago: also while the links between have been removed and its own not yet.
static void any_later_claim_ends_an_older_one(void **state) {
  (void)state;
  Claim a;
  Watch w = {0};
  assert_true(take(&a, &us, &w));
  put(in_cell("claim.3"), AWAY);
  assert_false(claim_held(&a));
}

static void only_claims_count_as_claims(void **state) {
  (void)state;
  Claim a;
  Watch w = {0};
  mkdir(cell, 0777);
  const char *names[] = {"claim", "claim.", "claim.x", "claim.1x", "claim.0", "claim.-3", "claims"};
  for (int i = 0; i < 7; i++) put(in_cell("%s", names[i]), AWAY);
  assert_true(take(&a, &us, &w));
  assert_int_equal(a.generation, 1);
}

// ---- Losing a claim ----------------------------------------------------------------------------------------

static void an_owner_that_overslept_learns_it(void **state) {
  (void)state;
  Claim a, b;
  Watch w = {0};
  assert_true(take(&a, &them, &w));
  put(in_cell("claim.2"), "");  // its successor's, before it has removed what is older
  assert_false(claim_held(&a));
  unlink(in_cell("claim.2"));
  assert_true(claim_held(&a));
  unlink(in_cell("claim.1"));  // and after
  assert_false(claim_held(&a));
  put(in_cell("claim.1"), AWAY);  // of a third, when that one had given it up
  assert_false(claim_held(&a));
  unlink(in_cell("claim.1"));
  usleep(20000);
  assert_false(claim_beat(&a));
  assert_true(take(&b, &us, &w));
  usleep(20000);
  assert_false(claim_beat(&a));  // the file itself is gone with the folder
  claim_release(&a, true);
  assert_true(claim_held(&b));
  claim_release(&a, false);
  assert_true(claim_held(&b));
  assert_true(there(in_cell("%s/claim", us.name)));
}

static void who_has_lost_its_claim_removes_no_other(void **state) {
  (void)state;
  Claim a;
  Watch w = {0};
  assert_true(take(&a, &us, &w));
  mkdir(in_cell("someone"), 0777);
  unlink(in_cell("claim.1"));
  claim_release(&a, true);
  assert_true(there(in_cell("someone")));
  assert_true(take(&a, &us, &w));
  assert_false(there(in_cell("someone")));
  mkdir(in_cell("someone"), 0777);
  claim_release(&a, true);
  assert_false(there(in_cell("someone")));
}

// ---- The work of others ------------------------------------------------------------------------------------

static void the_newest_work_goes_on(void **state) {
  (void)state;
  Claim a;
  Watch w = {0};
  const struct timespec old[2] = {{100, 0}, {100, 0}}, older[2] = {{50, 5}, {50, 5}};
  mkdir(cell, 0777);
  mkdir(in_cell("empty"), 0777), mkdir(in_cell(".hidden"), 0777), mkdir(in_cell("few"), 0777);
  mkdir(in_cell("old"), 0777), mkdir(in_cell("older"), 0777), mkdir(in_cell("oldest"), 0777);
  assert_int_equal(symlink("nowhere", in_cell("dangling")), 0);
  put(in_cell("few/model.bin"), "newest, but no work to go on with"), put(in_cell("few/curve.tsv"), "");
  put(in_cell("old/checkpoint.bin"), "old"), put(in_cell("old/checkpoint.bin.old"), "old");
  put(in_cell("older/checkpoint.bin"), "older"), put(in_cell("oldest/run.ini"), "oldest");
  put(in_cell("checkpoint.bin"), "by hand"), put(in_cell("checkpoint.bin.old"), "by hand");
  utimensat(AT_FDCWD, in_cell("old/checkpoint.bin"), old, 0);
  utimensat(AT_FDCWD, in_cell("old/checkpoint.bin.old"), older, 0);
  utimensat(AT_FDCWD, in_cell("older/checkpoint.bin"), older, 0);
  utimensat(AT_FDCWD, in_cell("oldest/run.ini"), older, 0);
  assert_true(take(&a, &us, &w));
  char text[16] = "";
  FILE *f = fopen(in_cell("%s/checkpoint.bin", us.name), "r");
  assert_non_null(f);
  assert_non_null(fgets(text, sizeof text, f));
  fclose(f);
  assert_string_equal(text, "old");
  assert_false(there(in_cell("old")) || there(in_cell("few")) || there(in_cell("empty")) || there(in_cell("oldest")));
  assert_false(there(in_cell("checkpoint.bin")) || there(in_cell("%s/run.ini", us.name)));
  assert_true(there(in_cell(".hidden")));
}

static void who_loses_its_claim_while_taking_over_removes_nothing(void **state) {
  (void)state;
  Claim a;
  Watch w = {0};
  mkdir(cell, 0777), mkdir(in_cell("someone"), 0777);
  put(in_cell("someone/checkpoint.bin"), "work");
  snprintf(lost_claim, sizeof lost_claim, "%s", in_cell("claim.1"));
  refuse("link: the claim lost on the way", 0);
  assert_true(take(&a, &us, &w));
  assert_false(claim_held(&a));
  assert_true(there(in_cell("someone/checkpoint.bin")));
}

static void a_run_begun_by_hand_goes_on(void **state) {
  (void)state;
  Claim a;
  Watch w = {0};
  mkdir(cell, 0777);
  put(in_cell("checkpoint.bin"), "by hand");
  assert_true(take(&a, &us, &w));
  assert_true(there(in_cell("%s/checkpoint.bin", us.name)));
  assert_false(there(in_cell("checkpoint.bin")));
}

// ---- Publishing ------------------------------------------------------------------------------------------

static void published_or_said_why_not(void **state) {
  (void)state;
  Claim a;
  Watch w = {0};
  Err e = {0};
  assert_true(take(&a, &us, &w));
  assert_int_equal(claim_publish(&a, "model.bin", &e), OK);  // there is none: nothing to do
  put(in_cell("%s/model.bin", us.name), "model");
  refuse("rename", ENOSPC);
  assert_int_equal(claim_publish(&a, "model.bin", &e), E_IO);
  assert_refused(&e, E_IO, "model.bin: cannot write");
  refuse("fsync", EINVAL);  // a file system that knows no syncing of folders
  assert_int_equal(claim_publish(&a, "model.bin", &e), OK);
  assert_true(there(in_cell("model.bin")));
  refuse("fsync", EIO);
  assert_int_equal(claim_publish(&a, "model.bin", &e), E_IO);
  assert_refused(&e, E_IO, "cannot sync");
  refuse("", 0);
  char command[200];
  snprintf(command, sizeof command, "rm -r %s", cell);
  assert_int_equal(system(command), 0);
  assert_int_equal(claim_publish(&a, "model.bin", &e), E_IO);
  claim_release(&a, true);  // of nothing
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
  const struct CMUnitTest tests[] = {
      TEST(names_differ), TEST(one_of_two_gets_a_cell), TEST(given_up_the_work_goes_to_the_next),
      TEST(an_answer_that_was_lost_is_not_a_claim_that_was_lost), TEST(another_may_be_quicker),
      TEST(a_folder_that_the_quicker_removed_is_no_error),
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
