// worker.c: see worker.h. In: a study folder that others may be working in too. Out: records of cells.
// Invariant: a cell is run under a claim (claim.c) and its record published only while that claim holds; once it has a
// finished or diverged record it is never run again. A worker keeps no state of its own: what is done is what has a
// record, so it may die at any moment. A failed cell is tried again by workers that were started after it failed.
#include "worker.h"
#include "claim.h"
#include "signals.h"
#include "train.h"
#include "verdict.h"
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

// ---- Shared with the sweep -----------------------------------------------------------------------------

static int in_order(const void *pa, const void *pb) {
  const Cell *a = pa, *b = pb;
  if (a->stage != b->stage) return a->stage - b->stage;
  return a->flops != b->flops ? (a->flops < b->flops) - (a->flops > b->flops) : strcmp(a->id, b->id);
}

int worker_plan(const char *dir, Study *s, Plan *p, Err *e) {
  Records done;
  plan_free(p);
  if (records_load(dir, &done, e)) return e->code;
  if (verdict_plan(p, dir, s, &done, e) == OK && p->n) qsort(p->cells, (size_t)p->n, sizeof *p->cells, in_order);
  records_free(&done);
  return e->code;
}

static void cell_path(const char *dir, const Cell *c, const char *file, char path[1024]) {
  snprintf(path, 1024, "%.900s/runs/%s%s", dir, c->id, file);
}

CellState worker_cell(const char *dir, const Cell *c, Record *r) {
  char path[1024];
  Err e;
  cell_path(dir, c, "/run.ini", path);
  if (!file_exists(path) || record_read(path, r, &e) || strcmp(r->id, c->id)) return CELL_OPEN;
  return strcmp(r->status, "failed") ? CELL_DONE : CELL_FAILED;
}

int worker_table(const char *dir, Records *all, Err *e) {
  Records rs;
  if (records_load(dir, &rs, e)) return e->code;
  records_write_csv(dir, &rs, e);
  if (all && !e->code) *all = rs;
  else records_free(&rs);
  return e->code;
}

enum { LINE = 512, TERSEST = 6 };

__attribute__((format(printf, 2, 3))) static void add(char line[LINE], const char *format, ...) {
  const size_t n = strlen(line);
  va_list args;
  va_start(args, format);
  vsnprintf(line + n, LINE - n, format, args);
  va_end(args);
}

static void run_line(char line[LINE], const Record *r, const char *left, int terse) {
  const Config *c = &r->cfg;
  snprintf(line, LINE, "%.*s", terse < 4 ? 16 : 8, r->id);
  if (terse < 3) add(line, "  C %.2g", c->budget);
  add(line, "  %dx%d", c->d_model, c->n_layers);
  if (terse < 1) add(line, "  N %.0f  D %.0f", r->params.total, c->tokens);
  else add(line, "  N %s  D %s", text_count(r->params.total), text_count(c->tokens));
  if (strcmp(r->status, "finished")) add(line, "  %s: %s", r->status, r->reason);
  else {
    add(line, "  loss %.4f", r->val_loss);
    if (terse < TERSEST) add(line, " +- %.4f", r->val_loss_se);
    if (terse < 2) add(line, "  train %.4f", r->train_loss);
  }
  if (terse < 5) add(line, "  %s", plan_duration(r->seconds));
  if (terse < 4 && left) add(line, "  %s left", left);
}

void worker_print_run(const Record *r, const char *left, int width, FILE *f) {
  char line[LINE];
  for (int terse = 0; terse <= TERSEST; terse++) {
    run_line(line, r, left, terse);
    if ((int)strlen(line) <= width) break;
  }
  fprintf(f, "%.*s\n", width < 0 ? 0 : width, line);
}

bool lines_read(Lines *l, int fd, void (*line)(void *, const char *), void *user) {
  char buf[4096];
  const ssize_t n = read(fd, buf, sizeof buf);
  if (n < 0) return errno == EINTR || errno == EAGAIN;
  for (ssize_t i = 0; i < n; i++) {
    if (buf[i] != '\n' && l->n < sizeof l->text - 1) l->text[l->n++] = buf[i];
    if (buf[i] != '\n') continue;
    l->text[l->n] = 0;
    l->n = 0;
    line(user, l->text);
  }
  if (n > 0) return true;
  l->text[l->n] = 0;
  l->n = 0;
  if (*l->text) line(user, l->text);
  return false;
}

pid_t worker_spawn(char *const argv[], int *fd, Err *e) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return fail(e, E_IO, "cannot make a pipe: %s", strerror(errno)), -1;
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  const pid_t parent = getpid(), pid = fork();
  if (pid < 0) {
    fail(e, E_MEMORY, "cannot start a process: %s", strerror(errno));
    close(fds[0]), close(fds[1]), close(null);
    return -1;
  }
  if (pid == 0) {
    // Only system calls up to exec. A group of its own: Ctrl-C reaches us alone, who pass it on once. If we die the
    // child is told to save and stop; what it writes to the broken pipe then must not kill it.
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(128 + SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    dup2(null, 0), dup2(null, 1), dup2(fds[1], 2);
    execv("/proc/self/exe", argv);
    _exit(127);
  }
  close(fds[1]), close(null);
  *fd = fds[0];
  return pid;
}

// ---- One worker ----------------------------------------------------------------------------------------

typedef struct Work {
  const char *dir;
  Study study;
  Plan plan;
  Config machine;        // [machine] of the runs
  Owner owner;
  int progress;          // descriptor, -1: lines for people
  struct timespec began; // by the clock of the folder's file system
  enum { UNSETTLED, SETTLED, LEFT_FAILED, LEFT_STOPPED } *state;  // of each cell, as far as we know
  Watch *seen;           // of each cell's claim
  int n_run;             // by us
  Err world;             // what first kept us from a cell: a folder that cannot be made, a full disk
  // the run that is going on
  const Cell *cell;
  Claim claim;
  bool published;        // its record, by us
  int step, steps;
  double loss;
  char last[200];        // the last line of its stderr that was no progress
} Work;

static void tell_status(const Work *w) {
  if (!status_asked()) return;
  int settled = 0;
  for (int i = 0; i < w->plan.n; i++) settled += w->state && w->state[i] == SETTLED;
  fprintf(stderr, "worker %s: ", w->owner.name);
  if (w->cell)
    fprintf(stderr, "%s, %dx%d, step %d of %d, loss %.4f; ", w->cell->id, w->cell->cfg.d_model, w->cell->cfg.n_layers,
            w->step, w->steps, w->loss);
  else fputs("waiting; ", stderr);
  fprintf(stderr, "%d runs by this worker, %d of %d cells done\n", w->n_run, settled, w->plan.n);
}

static void on_line(void *user, const char *line) {
  Work *w = user;
  int step, steps, used = 0;
  double loss;
  if (sscanf(line, "%d %d %lf%n", &step, &steps, &loss, &used) == 3 && !line[used] && steps > 0) {
    w->step = step, w->steps = steps, w->loss = loss;
    if (w->progress >= 0) dprintf(w->progress, "%s %s\n", w->cell->id, line);
  } else if (*line)
    snprintf(w->last, sizeof w->last, "%.*s", (int)sizeof w->last - 1, strncmp(line, "isoflop: ", 9) ? line : line + 9);
}

static int record_failure(Work *w, const char *reason, double seconds, Err *e) {
  const Cell *c = w->cell;
  Record r = {.status = "failed", .cfg = c->cfg, .params = shape_params(&c->cfg),
              .flops_per_token = shape_flops(&c->cfg), .floor_nats = NAN, .val_floor = NAN,
              .val_loss = NAN, .val_loss_se = NAN, .train_loss = NAN, .seconds = seconds};
  memcpy(r.id, c->id, sizeof r.id);
  snprintf(r.reason, sizeof r.reason, "%s", reason);
  snprintf(r.corpus_name, sizeof r.corpus_name, "%.63s", c->cfg.corpus);
  for (int i = 0; i < w->study.n; i++)
    if (c->parts >> i & 1)
      snprintf(r.corpus_hash, sizeof r.corpus_hash, "%016llx", (unsigned long long)w->study.part[i].corpus_hash);
  train_provenance(&r);
  char path[1200];
  snprintf(path, sizeof path, "%s/run.ini", w->claim.own);
  w->published = record_write(path, &r, e) == OK && claim_publish(&w->claim, "run.ini", e) == OK;
  return e->code;
}

// Starts the run and waits for it, giving signs of life. Returns its status as waitpid does, or -1 when it could not be
// started (e) or the claim was lost (e->code OK).
static int run(Work *w, Err *e) {
  char config[1200];
  snprintf(config, sizeof config, "%s/cell.ini", w->claim.own);
  OutFile o;
  Config c = w->cell->cfg;
  c.threads = w->machine.threads;
  c.checkpoint_seconds = w->machine.checkpoint_seconds;
  if (out_open(&o, config, e)) return -1;
  config_dump(&c, "model train eval machine", o.f);
  if (out_commit(&o, e)) return -1;
  char *argv[] = {"isoflop", "train", "--config", config, "--out", w->claim.own, "--progress-fd", "2", NULL};
  int fd, status, told = 0;
  const pid_t pid = worker_spawn(argv, &fd, e);
  if (pid < 0) return -1;
  bool held = true;
  for (Lines lines = {0};;) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, (int)(1000 * fmin(0.25, w->owner.beat / 4))) > 0 && !lines_read(&lines, fd, on_line, w)) break;
    tell_status(w);
    if (held && !claim_beat(&w->claim)) {
      held = false;
      kill(pid, SIGKILL);  // it has nothing left to save: the folder is gone
    }
    if (n_stops > told) {
      kill(pid, told ? SIGKILL : stop_signal);
      told = n_stops;
    }
  }
  close(fd);
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  return held ? status : -1;
}

// Publishes the finished run that the private folder holds, the record last. False when it holds none, or not all.
static bool publish(Work *w, Err *e) {
  char path[1200], model[1200];
  Record r;
  Err why;
  snprintf(path, sizeof path, "%s/run.ini", w->claim.own);
  snprintf(model, sizeof model, "%s/model.bin", w->claim.own);
  if (!file_exists(path) || record_read(path, &r, &why) || strcmp(r.id, w->cell->id) || !strcmp(r.status, "failed"))
    return false;
  if (!file_exists(model)) {  // published by one that did not live to publish the record
    snprintf(model, sizeof model, "%s/model.bin", w->claim.dir);
    if (!file_exists(model)) return false;
  }
  // A claim that is lost is not an error: whoever has it will publish the same.
  if (!claim_held(&w->claim) || claim_publish(&w->claim, "model.bin", e) || claim_publish(&w->claim, "curve.tsv", e) ||
      !claim_held(&w->claim))
    return true;
  w->published = claim_publish(&w->claim, "run.ini", e) == OK;
  return true;
}

// The world is in the way of a cell: it is left alone, the others go on. A full disk stops each of them as soon.
static void cell_leave(Work *w, int i, const Err *why) {
  if (!w->world.code) w->world = *why;
  w->state[i] = LEFT_FAILED;
}

// Runs a cell whose claim is ours, gives the claim up.
static void cell_run(Work *w, int i) {
  Err e = {0};
  Err why = {0};
  char reason[256] = "";
  w->cell = &w->plan.cells[i];
  w->step = w->steps = 0;
  w->loss = NAN;
  w->published = false;
  *w->last = 0;
  const double began = now_seconds();
  bool over = publish(w, &why);
  if (!over && !why.code) {
    const int status = run(w, &why), code = status >= 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    over = status < 0 && !why.code;  // lost: the next look at the cell will tell
    if (status >= 0) over = publish(w, &why);
    if (!over && !why.code) {
      if (n_stops || code == 128 + SIGINT || code == 128 + SIGTERM) {
        if (!n_stops) w->state[i] = LEFT_STOPPED;  // from outside: not ours to start again
        over = true;
      } else if (WIFSIGNALED(status))
        snprintf(reason, sizeof reason, "signal %d (%s)%s%s", WTERMSIG(status), strsignal(WTERMSIG(status)),
                 *w->last ? ": " : "", w->last);
      else if (code) snprintf(reason, sizeof reason, "exit code %d: %s", code, w->last);
      else snprintf(reason, sizeof reason, "it ended without a record of this cell");
    }
  }
  if (why.code) snprintf(reason, sizeof reason, "exit code %d: %.200s", why.code, why.msg);
  if (*reason && claim_held(&w->claim) && record_failure(w, reason, now_seconds() - began, &e)) cell_leave(w, i, &e);
  Record r;
  const CellState state = worker_cell(w->dir, w->cell, &r);
  if (w->published && state != CELL_OPEN) {
    w->state[i] = state == CELL_DONE ? SETTLED : LEFT_FAILED;
    w->n_run++;
    if (w->progress >= 0) dprintf(w->progress, "%s done\n", w->cell->id);
    else worker_print_run(&r, NULL, INT_MAX, stdout), fflush(stdout);
  }
  claim_release(&w->claim, state == CELL_DONE);
  w->cell = NULL;
}

// Whether the failure of this cell is newer than we are: then it is not ours to try again.
static bool failed_since(const Work *w, const Cell *c) {
  struct stat st;
  char path[1024];
  cell_path(w->dir, c, "/run.ini", path);
  return stat(path, &st) == 0 && (st.st_mtim.tv_sec > w->began.tv_sec || (st.st_mtim.tv_sec == w->began.tv_sec &&
                                                                          st.st_mtim.tv_nsec >= w->began.tv_nsec));
}

static void look_at(Work *w, int i) {
  Record r;
  const CellState state = worker_cell(w->dir, &w->plan.cells[i], &r);
  if (state == CELL_DONE) w->state[i] = SETTLED;
  if (state == CELL_FAILED && failed_since(w, &w->plan.cells[i])) w->state[i] = LEFT_FAILED;
}

// Goes once through the cells. Returns how many are others' at the moment.
static int pass(Work *w, bool *ran) {
  int taken = 0;
  for (int i = 0; i < w->plan.n && !n_stops; i++) {
    Err e;
    if (w->state[i] != UNSETTLED) continue;
    look_at(w, i);
    if (w->state[i] != UNSETTLED) continue;
    char dir[1024];
    cell_path(w->dir, &w->plan.cells[i], "", dir);
    if (claim_take(&w->claim, &w->owner, dir, &w->seen[i], &e)) cell_leave(w, i, &e);
    else if (!w->claim.generation) taken++;
    if (!w->claim.generation) continue;
    look_at(w, i);  // again: it may have been published between the two
    if (w->state[i] == UNSETTLED) cell_run(w, i), *ran = true;
    else claim_release(&w->claim, w->state[i] == SETTLED);
    tell_status(w);
  }
  return taken;
}

// Runs the cells of a plan until each has a record or is left alone.
static void work_plan(Work *w) {
  for (double pause = 0.05;; pause = fmin(fmin(1, w->owner.beat / 4), 2 * pause)) {
    bool ran = false;
    const int taken = pass(w, &ran);
    tell_status(w);
    if (n_stops || (!taken && !ran)) return;
    if (ran) pause = 0.05;
    else poll(NULL, 0, (int)(1000 * pause));
  }
}

static int count(const Work *w, int state) {
  int n = 0;
  for (int i = 0; i < w->plan.n; i++) n += (int)w->state[i] == state;
  return n;
}

// Stage after stage, as long as records come that allow the next.
static int work(Work *w, Err *e) {
  int failed = 0, stopped = 0, before = 0;
  for (bool again = true; again;) {
    if (worker_plan(w->dir, &w->study, &w->plan, e)) return e->code;
    free(w->state), free(w->seen);
    w->state = mem_new((size_t)w->plan.n * sizeof *w->state, "worker", e);
    w->seen = mem_new((size_t)w->plan.n * sizeof *w->seen, "worker", e);
    if (!w->state || !w->seen) return e->code;
    for (int i = 0; i < w->plan.n; i++) look_at(w, i);
    const int left = w->plan.n - count(w, SETTLED);
    work_plan(w);
    failed = count(w, LEFT_FAILED), stopped = count(w, LEFT_STOPPED);
    again = !w->plan.complete && !failed && !stopped && !n_stops && (left || w->plan.n > before);
    before = w->plan.n;
  }
  if (w->progress < 0 && worker_table(w->dir, NULL, e)) return e->code;
  if (n_stops) return fail(e, 128 + stop_signal, "stopped; the same command goes on from there");
  if (w->world.code) return *e = w->world, e->code;
  if (stopped)
    return fail(e, E_REQUEUE, "%d runs were stopped from outside; the same command goes on from there", stopped);
  return failed ? fail(e, E_RUNS, "%d of %d runs failed", failed, w->plan.n) : OK;
}

// The time now by the clock that dates the folder's files.
static int folder_time(Work *w, Err *e) {
  char path[1024];
  struct stat st;
  snprintf(path, sizeof path, "%.900s/runs/.%s", w->dir, w->owner.name);
  const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0 || write(fd, "\n", 1) != 1 || fsync(fd) != 0 || fstat(fd, &st) != 0)
    fail(e, E_IO, "%s: cannot write: %s", path, strerror(errno));
  else w->began = st.st_mtim;
  if (fd >= 0) close(fd);
  unlink(path);
  return e->code;
}

// ---- The command ---------------------------------------------------------------------------------------

static const char WORKER_HELP[] =
    "Examples:\n"
    "  isoflop worker --dir out/study                       # on as many machines as you like, at the same time\n"
    "  isoflop worker --dir out/study --set threads=4\n"
    "\n"
    "Usage: isoflop worker --dir DIR [--set KEY=VALUE]... [--progress-fd N]\n"
    "Runs the cells of the study in DIR (made by `isoflop sweep` or `isoflop plan --out`), the longest first, until\n"
    "none is left. Workers share the cells by claims in the folder; the work of one that died is taken over. SIGTERM and\n"
    "SIGINT save a checkpoint and stop, a second one does not wait; SIGUSR1 prints how far it is.\n"
    "  --dir DIR             the study's folder\n"
    "  --set KEY=VALUE       an option of [machine]: threads, checkpoint_seconds, heartbeat: `isoflop help options`\n"
    "  --progress-fd N       progress in lines on descriptor N (used by the sweep)\n";

static int args_parse(int argc, char **argv, Work *w, Err *e) {
  static const struct option longs[] = {{"dir", 1, 0, 'd'},         {"set", 1, 0, 's'},
                                        {"progress-fd", 1, 0, 'f'}, {"help", 0, 0, 'h'}, {0}};
  config_defaults(&w->machine);
  w->progress = -1;
  optind = 1;
  opterr = 0;
  for (int c; (c = getopt_long(argc, argv, "+h", longs, NULL)) != -1;) {
    char key[64];
    double x;
    switch (c) {
      case 'd': w->dir = optarg; break;
      case 's':
        snprintf(key, sizeof key, "%.*s", (int)strcspn(optarg, "="), optarg);
        if (config_set_key(&w->machine, "machine", key, optarg[strcspn(optarg, "=")] ? strchr(optarg, '=') + 1 : "",
                           "--set", e))
          return e->code;
        break;
      case 'f':
        if (!number_parse(optarg, true, -1, 1 << 20, &x))
          return fail(e, E_USAGE, "worker: '%s' is no number, or out of range: see --help", optarg);
        w->progress = (int)x;
        break;
      case 'h': fputs(WORKER_HELP, stdout); return -1;
      default:
        return fail(e, E_USAGE, "worker: unknown option %s, or its value is missing: see --help", argv[optind - 1]);
    }
  }
  if (optind < argc) return fail(e, E_USAGE, "worker: unexpected argument '%s': see --help", argv[optind]);
  if (!w->dir) return fail(e, E_USAGE, "worker: --dir DIR is missing: see `isoflop worker --help`");
  claim_owner(&w->owner, w->machine.heartbeat);
  return OK;
}

// Are the corpora here those that the study was made with?
static int corpora_check(const Work *w, Err *e) {
  Study *here = mem_new(sizeof *here, "study", e);
  if (!here) return e->code;
  *here = w->study;
  if (study_corpora(here, e) == OK) study_compare(w->dir, here, e);
  free(here);
  return e->code;
}

int worker_main(int argc, char **argv) {
  Err e = {0};
  Work *w = mem_new(sizeof *w, "worker", &e);
  int code = w ? args_parse(argc, argv, w, &e) : e.code;
  if (code == OK) {
    signals_listen(NULL, false);
    signal(SIGPIPE, SIG_IGN);
    char threads[16];
    snprintf(threads, sizeof threads, "%d", w->machine.threads);
    if (w->machine.threads) setenv("OMP_NUM_THREADS", threads, 1);
    if (study_read(w->dir, &w->study, &e) == OK && corpora_check(w, &e) == OK && folder_time(w, &e) == OK) work(w, &e);
    code = e.code;
  }
  if (w) plan_free(&w->plan), free(w->state), free(w->seen);
  free(w);
  return finish(code, &e);
}
