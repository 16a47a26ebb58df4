// sweep.c: see sweep.h. In: a plan and a study folder. Out: a record of every cell, runs.csv, lines or a live line
// for people.
// Invariant: a cell is run by one process at a time, and once it has a finished or diverged record never again. The
// sweep itself keeps no state: what is done is what has a record, so it may die at any moment.
#include "sweep.h"
#include "record.h"
#include "train.h"
#include "verdict.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

// ---- The study folder ---------------------------------------------------------------------------------

// The lock is inherited by the runs: it is free when the last of them has ended, not only the sweep. After a sweep
// was killed its runs still save a checkpoint; LOCK_PATIENCE seconds are enough for that.
static const double LOCK_PATIENCE = 3;

static int folder_lock(const char *dir, int *lock, Err *e) {
  char path[1024];
  snprintf(path, sizeof path, "%.900s/lock", dir);
  const int fd = open(path, O_RDWR | O_CREAT, 0666);
  if (fd < 0) return fail(e, E_IO, "%s: cannot write: %s", path, strerror(errno));
  for (const double began = now_seconds(); flock(fd, LOCK_EX | LOCK_NB) != 0; usleep(50000)) {
    const int why = errno;
    if (why == EWOULDBLOCK && now_seconds() - began < LOCK_PATIENCE) continue;
    close(fd);
    if (why == EWOULDBLOCK) return fail(e, E_RECORD, "%s: another sweep is running in this folder", dir);
    return fail(e, E_IO, "%s: cannot lock: %s", path, strerror(why));
  }
  *lock = fd;
  return OK;
}

int sweep_open(const char *dir, const Study *study, int *lock, Err *e) {
  char path[1024], runs[1024];
  snprintf(path, sizeof path, "%.900s/study.ini", dir);
  snprintf(runs, sizeof runs, "%.900s/runs", dir);
  if (dir_make(dir, e) || folder_lock(dir, lock, e)) return e->code;
  if (file_exists(path)) study_compare(dir, study, e);
  else if (file_exists(runs)) fail(e, E_RECORD, "%s: it holds runs but no study.ini: use another --out", dir);
  else study_save(dir, study, e);
  if (e->code == OK) dir_make(runs, e);
  if (e->code) close(*lock);
  return e->code;
}

// ---- One run ------------------------------------------------------------------------------------------

typedef struct Worker {
  const Cell *cell;           // NULL: idle
  pid_t pid;
  int fd;                     // its stderr
  char line[512], last[200];  // what has come of the next line; the last line that was not progress
  size_t n;
  double from, at, loss;      // share of the run done when it started and now; smoothed training loss
  double began, told;         // times of its first and its latest progress
} Worker;

typedef struct Sweep {
  Study study;
  Plan *plan;
  const char *dir;
  int n_workers, next, done, total;  // next cell to start; runs with a record, of all
  int n_failed, n_stopped;
  Worker *workers;
  double total_flops, done_flops;    // of the study; of runs with a record
  double worked, predicted, flops;   // in this session by runs that have ended: seconds, what the plan said, FLOPs
  double began;
  bool live;                         // a terminal: a line that is drawn again and again
} Sweep;

static void run_path(const Sweep *s, const Cell *c, const char *file, char path[1024]) {
  snprintf(path, 1024, "%.900s/runs/%s%s", s->dir, c->id, file);
}

// Removes half-written files that a killed process left in a run's folder.
static void folder_clear(const char *dir) {
  DIR *d = opendir(dir);
  if (!d) return;
  for (struct dirent *entry; (entry = readdir(d));) {
    const size_t n = strlen(entry->d_name);
    if (n > 4 && !strcmp(entry->d_name + n - 4, ".tmp")) unlinkat(dirfd(d), entry->d_name, 0);
  }
  closedir(d);
}

static int run_start(Sweep *s, Worker *w, const Cell *cell, Err *e) {
  char dir[1024], config[1024];
  run_path(s, cell, "", dir);
  run_path(s, cell, "/cell.ini", config);
  OutFile o;
  Config c = cell->cfg;
  c.threads = 1;
  if (dir_make(dir, e)) return e->code;
  folder_clear(dir);
  if (out_open(&o, config, e)) return e->code;
  config_dump(&c, "model train eval machine", o.f);
  if (out_commit(&o, e)) return e->code;

  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return fail(e, E_IO, "cannot make a pipe: %s", strerror(errno));
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  const pid_t parent = getpid(), pid = fork();
  if (pid < 0) {
    close(fds[0]), close(fds[1]), close(null);
    return fail(e, E_MEMORY, "cannot start a process: %s", strerror(errno));
  }
  if (pid == 0) {
    // Only system calls up to exec. A group of its own: Ctrl-C reaches the sweep alone, which passes it on once. If
    // the sweep dies the run is told to save and stop; what it writes to the broken pipe then must not kill it.
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(128 + SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    dup2(null, 0), dup2(null, 1), dup2(fds[1], 2);
    execl("/proc/self/exe", "isoflop", "train", "--config", config, "--out", dir, "--progress-fd", "2", (char *)NULL);
    _exit(127);
  }
  close(fds[1]), close(null);
  *w = (Worker){.cell = cell, .pid = pid, .fd = fds[0], .from = -1, .loss = NAN};
  w->began = w->told = now_seconds();
  return OK;
}

static void run_line(Worker *w, const char *line) {
  int step, steps, used = 0;
  double loss;
  if (sscanf(line, "%d %d %lf%n", &step, &steps, &loss, &used) == 3 && !line[used] && steps > 0) {
    w->at = (double)step / steps;
    w->loss = loss;
    w->told = now_seconds();
    if (w->from < 0) {
      w->from = w->at;
      w->began = w->told;
    }
  } else if (*line) {
    snprintf(w->last, sizeof w->last, "%.*s", (int)sizeof w->last - 1, strncmp(line, "isoflop: ", 9) ? line : line + 9);
  }
}

// Reads what there is of a run's stderr. False at its end.
static bool run_read(Worker *w) {
  char buf[4096];
  const ssize_t n = read(w->fd, buf, sizeof buf);
  if (n < 0) return errno == EINTR || errno == EAGAIN;
  for (ssize_t i = 0; i < n; i++) {
    if (buf[i] != '\n' && w->n < sizeof w->line - 1) w->line[w->n++] = buf[i];
    if (buf[i] != '\n') continue;
    w->line[w->n] = 0;
    w->n = 0;
    run_line(w, w->line);
  }
  if (n > 0) return true;
  w->line[w->n] = 0;
  run_line(w, w->line);
  return false;
}

// A cell counts as done when it has a record of its own that says how it ended. Anything else is run (again).
static bool run_done(const Sweep *s, const Cell *c, Record *r) {
  char path[1024];
  Err e;
  run_path(s, c, "/run.ini", path);
  return file_exists(path) && record_read(path, r, &e) == OK && !strcmp(r->id, c->id) && strcmp(r->status, "failed");
}

static int record_failure(const Sweep *s, const Cell *c, const char *reason, double seconds, Record *r, Err *e) {
  *r = (Record){.status = "failed", .cfg = c->cfg, .params = shape_params(&c->cfg),
                .flops_per_token = shape_flops(&c->cfg), .floor_nats = NAN, .val_floor = NAN,
                .val_loss = NAN, .val_loss_se = NAN, .train_loss = NAN, .seconds = seconds};
  memcpy(r->id, c->id, sizeof r->id);
  snprintf(r->reason, sizeof r->reason, "%s", reason);
  snprintf(r->corpus_name, sizeof r->corpus_name, "%.63s", c->cfg.corpus);
  for (int i = 0; i < s->study.n; i++)
    if (c->parts >> i & 1)
      snprintf(r->corpus_hash, sizeof r->corpus_hash, "%016llx", (unsigned long long)s->study.part[i].corpus_hash);
  train_provenance(r);
  char path[1024];
  run_path(s, c, "/run.ini", path);
  return record_write(path, r, e);
}

// ---- What people see ----------------------------------------------------------------------------------

static double share(const Worker *w) { return fmax(0, w->at - fmax(0, w->from)); }  // of its run, in this session

// Seconds to the end: the plan's seconds of all that is left, in the order in which it will run, times how much
// slower or faster than the plan the runs of this session have been (the plan itself weighs as much as PRIOR seconds
// of them).
static double time_left(const Sweep *s) {
  static const double PRIOR = 3;
  double worked = s->worked + PRIOR, predicted = s->predicted + PRIOR;
  double *busy = calloc((size_t)s->n_workers + (size_t)s->plan->n, sizeof *busy), *seconds = busy + s->n_workers;
  if (!busy) return NAN;
  for (int i = 0; i < s->n_workers; i++) {
    const Worker *w = &s->workers[i];
    if (!w->cell) continue;
    worked += w->told - w->began;
    predicted += share(w) * w->cell->seconds;
    busy[i] = (1 - w->at) * w->cell->seconds;
  }
  double flops = 0, all = 0;
  for (int i = s->next; i < s->plan->n; i++) seconds[i - s->next] = s->plan->cells[i].seconds;
  for (int i = 0; i < s->plan->n; i++) flops += s->plan->cells[i].flops, all += s->plan->cells[i].seconds;
  double left = plan_makespan(seconds, s->plan->n - s->next, busy, s->n_workers);
  if (flops > 0) left += s->plan->later_flops * all / flops / s->n_workers;
  left *= worked / predicted;
  free(busy);
  return left;
}

static void draw(const Sweep *s) {
  if (!s->live) return;
  double done = s->done_flops, session = s->flops;
  char losses[1024] = "";
  size_t n = 0;
  for (int i = 0; i < s->n_workers; i++) {
    const Worker *w = &s->workers[i];
    if (!w->cell) continue;
    done += w->at * w->cell->flops;
    session += share(w) * w->cell->flops;
    if (n < sizeof losses - 64)
      n += (size_t)snprintf(losses + n, sizeof losses - n, "  %dx%d %.0f%% %.3f", w->cell->cfg.d_model,
                            w->cell->cfg.n_layers, 100 * w->at, w->loss);
  }
  char line[1400];
  snprintf(line, sizeof line, "%5.1f %%  %d/%d runs  %.1f GFLOP/s  %s left %s", 100 * done / s->total_flops, s->done,
           s->total, session / fmax(now_seconds() - s->began, 1e-3) / 1e9, plan_duration(time_left(s)), losses);
  struct winsize size;
  const int width = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1 : 79;
  printf("\r%.*s\033[K", width, line);
  fflush(stdout);
}

static void print_run(const Sweep *s, const Record *r, int done) {
  const Config *c = &r->cfg;
  if (s->live) printf("\r\033[K");
  printf("[%d/%d] %s  C %.2g  %dx%d  N %.0f  D %.0f  ", done, s->total, r->id, c->budget, c->d_model, c->n_layers,
         r->params.total, c->tokens);
  if (strcmp(r->status, "finished")) printf("%s: %s", r->status, r->reason);
  else printf("loss %.4f +- %.4f  train %.4f", r->val_loss, r->val_loss_se, r->train_loss);
  printf("  %s", plan_duration(r->seconds));
  printf("  %s left\n", plan_duration(time_left(s)));
  fflush(stdout);
}

// ---- The sweep ----------------------------------------------------------------------------------------

static volatile sig_atomic_t stop_signal, n_signals;

static void on_signal(int sig) {
  stop_signal = sig;
  n_signals++;
}

// A run has ended: what came of it?
static int run_end(Sweep *s, Worker *w, Err *e) {
  int status;
  while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR) {}
  close(w->fd);
  const Cell *c = w->cell;
  const double now = now_seconds();
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
  w->cell = NULL;
  Record r;
  if (!run_done(s, c, &r)) {
    if (stop_signal || code == 128 + SIGINT || code == 128 + SIGTERM) {
      s->n_stopped++;
      return OK;
    }
    char reason[256];
    if (WIFSIGNALED(status))
      snprintf(reason, sizeof reason, "signal %d (%s)%s%s", WTERMSIG(status), strsignal(WTERMSIG(status)),
               *w->last ? ": " : "", w->last);
    else if (code) snprintf(reason, sizeof reason, "exit code %d: %s", code, w->last);
    else snprintf(reason, sizeof reason, "it ended without a record of this cell");
    s->n_failed++;
    if (record_failure(s, c, reason, now - w->began, &r, e)) return e->code;
  } else {
    s->worked += now - w->began;
    s->predicted += (1 - fmax(0, w->from)) * c->seconds;
    s->flops += (1 - fmax(0, w->from)) * c->flops;
  }
  s->done++;
  s->done_flops += c->flops;
  print_run(s, &r, s->done);
  return OK;
}

static void signal_runs(const Sweep *s, int sig) {
  for (int i = 0; i < s->n_workers; i++)
    if (s->workers[i].cell) kill(s->workers[i].pid, sig);
}

static int sweep_loop(Sweep *s, struct pollfd *polls, Err *e) {
  int told = 0;  // signals passed on
  for (;;) {
    int running = 0;
    for (int i = 0; i < s->n_workers; i++) {
      Worker *w = &s->workers[i];
      // The world failed (a full disk, say): start nothing more, let what runs save itself.
      if (!w->cell && s->next < s->plan->n && !stop_signal && e->code == OK &&
          run_start(s, w, &s->plan->cells[s->next], e) == OK)
        s->next++;
      polls[i] = (struct pollfd){.fd = w->cell ? w->fd : -1, .events = POLLIN};
      running += w->cell != NULL;
    }
    if (!running) return e->code;
    if (e->code && !stop_signal) on_signal(SIGTERM);
    if (n_signals > told) {
      signal_runs(s, told ? SIGKILL : stop_signal);
      told = n_signals;
    }
    poll(polls, (nfds_t)s->n_workers, 250);
    for (int i = 0; i < s->n_workers; i++) {
      Err why = {0};
      if (polls[i].fd >= 0 && polls[i].revents && !run_read(&s->workers[i]) && run_end(s, &s->workers[i], &why) &&
          e->code == OK)
        *e = why;
    }
    draw(s);
  }
}

static int longest_first(const void *pa, const void *pb) {
  const Cell *a = pa, *b = pb;
  if (a->stage != b->stage) return a->stage - b->stage;
  return a->seconds != b->seconds ? (a->seconds < b->seconds) - (a->seconds > b->seconds) : strcmp(a->id, b->id);
}

// Plans what the records allow, takes the cells that are done out of the plan, measures and orders the rest.
static int sweep_prepare(Sweep *s, Err *e) {
  Plan *p = s->plan;
  Records done;
  const bool first = s->total == 0;
  plan_free(p);
  if (records_load(s->dir, &done, e)) return e->code;
  verdict_plan(p, s->dir, &s->study, &done, e);
  records_free(&done);
  if (e->code) return e->code;
  int left = 0;
  s->total = p->n + p->later;
  s->total_flops = p->later_flops;
  s->done_flops = 0;
  s->next = 0;
  for (int i = 0; i < p->n; i++) {
    Record r;
    const Cell c = p->cells[i];
    s->total_flops += c.flops;
    if (run_done(s, &c, &r)) s->done_flops += c.flops;
    else p->cells[left++] = c;
  }
  s->done = p->n - left;
  p->n = left;
  if (s->done && first) printf("%d of %d runs have a record already\n", s->done, s->total);
  if (plan_measure(p, e)) return e->code;
  qsort(p->cells, (size_t)p->n, sizeof *p->cells, longest_first);
  if (left && first) printf("%d runs to go on %d worker%s, about %s\n", s->total - s->done, s->n_workers,
                            s->n_workers == 1 ? "" : "s", plan_duration(time_left(s)));
  fflush(stdout);
  return OK;
}

// runs.csv from the records, and the last line.
static int sweep_conclude(const Sweep *s, Err *e) {
  Records rs;
  if (records_load(s->dir, &rs, e) || records_write_csv(s->dir, &rs, e)) return records_free(&rs), e->code;
  int finished = 0, diverged = 0, failed = 0;
  const char *reason = "";
  for (int i = 0; i < rs.n; i++) {
    finished += !strcmp(rs.r[i].status, "finished");
    diverged += !strcmp(rs.r[i].status, "diverged");
    failed += !strcmp(rs.r[i].status, "failed");
    if (!*reason && !strcmp(rs.r[i].status, "failed")) reason = rs.r[i].reason;
  }
  printf("%s%s: %d of %d runs finished, %d diverged, %d failed; %s/runs.csv\n", s->live ? "\r\033[K" : "", s->dir,
         finished, s->total, diverged, failed, s->dir);
  if (rs.n_bad) printf("%d damaged records left out: %s\n", rs.n_bad, rs.first_bad);
  fflush(stdout);
  if (stop_signal)
    fail(e, 128 + stop_signal, "stopped with %d of %d runs done; the same command goes on from there", s->done,
         s->total);
  else if (s->n_stopped)
    fail(e, E_REQUEUE, "%d runs were stopped from outside; the same command goes on from there", s->n_stopped);
  else if (failed) fail(e, E_RUNS, "%d of %d runs failed; the first: %s", failed, s->total, reason);
  records_free(&rs);
  return e->code;
}

// Stage after stage, as long as records come that allow the next.
static int sweep_stages(Sweep *s, struct pollfd *polls, Err *e) {
  do {
    if (sweep_prepare(s, e) || sweep_loop(s, polls, e)) return e->code;
  } while (s->plan->n && !s->plan->complete && !stop_signal && !s->n_failed && !s->n_stopped);
  return sweep_conclude(s, e);
}

int sweep_run(const Study *study, const char *dir, int workers, Err *e) {
  *e = (Err){0};
  stop_signal = n_signals = 0;
  Plan plan = {0};
  Sweep s = {.study = *study, .plan = &plan, .dir = dir, .n_workers = workers, .live = isatty(STDOUT_FILENO),
             .began = now_seconds()};
  s.workers = mem_new((size_t)workers * sizeof *s.workers, "sweep", e);
  struct pollfd *polls = mem_new((size_t)workers * sizeof *polls, "sweep", e);
  struct sigaction act = {.sa_handler = on_signal}, was_int, was_term;  // no SA_RESTART: poll returns at once
  setenv("OMP_NUM_THREADS", "1", 1);  // one core a run
  sigaction(SIGINT, &act, &was_int);
  sigaction(SIGTERM, &act, &was_term);
  if (s.workers && polls) sweep_stages(&s, polls, e);
  sigaction(SIGINT, &was_int, NULL);
  sigaction(SIGTERM, &was_term, NULL);
  plan_free(&plan);
  free(polls);
  free(s.workers);
  return e->code;
}
