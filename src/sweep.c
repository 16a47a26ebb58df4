// sweep.c: see sweep.h. In: a study and its folder. Out: a record of every cell, runs.csv, lines or a live line for
// people.
// Invariant: the sweep schedules nothing. It starts workers, which share the cells among themselves and with whoever
// else works in the folder, listens to them and tells; so it may die at any moment.
#include "sweep.h"
#include "claim.h"
#include "signals.h"
#include "train.h"
#include "worker.h"
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

// DIR/study.ini unless there is one: of two sweeps that begin at once, with two studies, one makes it.
static int study_found(const char *dir, const Study *study, Err *e) {
  char path[1024], own[1024], file[1100];
  Owner owner;
  claim_owner(&owner, 1);
  snprintf(path, sizeof path, "%.900s/study.ini", dir);
  snprintf(own, sizeof own, "%.900s/.%s", dir, owner.name);
  snprintf(file, sizeof file, "%s/study.ini", own);
  if (dir_make(own, e) == OK && study_save(own, study, e) == OK && link(file, path) != 0 && errno != EEXIST)
    fail(e, E_IO, "%s: cannot make a hard link, which a study folder needs: %s", path, strerror(errno));
  unlink(file);
  rmdir(own);
  return e->code;
}

int sweep_open(const char *dir, const Study *study, Err *e) {
  char path[1024], runs[1024];
  snprintf(path, sizeof path, "%.900s/study.ini", dir);
  snprintf(runs, sizeof runs, "%.900s/runs", dir);
  if (dir_make(dir, e)) return e->code;
  const bool began = file_exists(runs);  // asked first: study.ini comes before it
  if (!file_exists(path)) {
    if (began) return fail(e, E_RECORD, "%s: it holds runs but no study.ini: use another --out", dir);
    if (study_found(dir, study, e)) return e->code;
  }
  return study_compare(dir, study, e) ? e->code : dir_make(runs, e);
}

// ---- Workers --------------------------------------------------------------------------------------------

typedef struct Sweep Sweep;
typedef struct Worker {
  Sweep *sweep;
  pid_t pid;               // 0: it has ended
  int fd;                  // its stderr
  Lines lines;
  char id[17], last[200];  // the cell it runs, empty: none; the last line that was not progress
  const Cell *cell;        // the same in the plan
  double from, at, loss;   // share of the run done when it was first heard of and now; smoothed training loss
  double began, told;      // times of its first and its latest progress
} Worker;

struct Sweep {
  Study study;
  Plan plan;
  const char *dir;
  int n_workers, done, total;          // runs with a record (also one that failed since we began), of all
  bool *is_done;                       // of each cell of the plan
  Worker *workers;
  double total_flops, done_flops;      // of the study; of runs with a record
  double worked, predicted, flops;     // in this session by runs that have ended: seconds, what the plan said, FLOPs
  double began, looked;                // when the records of other sweeps' runs were last counted
  bool live;                           // a terminal: a line that is drawn again and again
};

static int worker_start(Sweep *s, Worker *w, Err *e) {
  const Config *c = &s->study.base;
  char dir[1024], threads[32], seconds[64], beat[64];
  snprintf(dir, sizeof dir, "%s", s->dir);
  snprintf(threads, sizeof threads, "threads=%d", c->threads);
  snprintf(seconds, sizeof seconds, "checkpoint_seconds=%g", c->checkpoint_seconds);
  snprintf(beat, sizeof beat, "heartbeat=%g", c->heartbeat);
  char *argv[] = {"isoflop", "worker", "--dir", dir, "--set", threads, "--set", seconds, "--set", beat,
                  "--progress-fd", "2", NULL};
  *w = (Worker){.sweep = s};
  const pid_t pid = worker_spawn(argv, &w->fd, e);
  if (pid < 0) return e->code;
  w->pid = pid;
  return OK;
}

// ---- What is done ---------------------------------------------------------------------------------------

static const Cell *cell_find(const Sweep *s, const char *id, int *i) {
  for (*i = 0; *i < s->plan.n; ++*i)
    if (!strcmp(s->plan.cells[*i].id, id)) return &s->plan.cells[*i];
  return NULL;
}

static void count_done(Sweep *s, int i) {
  s->is_done[i] = true;
  s->done++;
  s->done_flops += s->plan.cells[i].flops;
}

// Plans what the records allow and predicts the seconds of what is not done.
static int sweep_plan(Sweep *s, Err *e) {
  if (worker_plan(s->dir, &s->study, &s->plan, e)) return e->code;
  free(s->is_done);
  s->is_done = mem_new((size_t)s->plan.n + 1, "sweep", e);
  if (!s->is_done) return e->code;
  s->total = s->plan.n + s->plan.later;
  s->total_flops = s->plan.later_flops;
  s->done_flops = s->done = 0;
  for (int i = 0; i < s->plan.n; i++) {
    Record r;
    s->total_flops += s->plan.cells[i].flops;
    if (worker_cell(s->dir, &s->plan.cells[i], &r) != CELL_DONE) continue;
    count_done(s, i);
    s->plan.cells[i].seconds = 0;
  }
  if (plan_measure(&s->plan, e)) return e->code;
  for (int k = 0; k < s->n_workers; k++) {
    int i;
    s->workers[k].cell = cell_find(s, s->workers[k].id, &i);
  }
  s->looked = now_seconds();
  return OK;
}

// Others may be working in the folder, too.
static void look_around(Sweep *s) {
  static const double EVERY = 2;
  if (now_seconds() - s->looked < EVERY) return;
  s->looked = now_seconds();
  for (int i = 0; i < s->plan.n; i++) {
    Record r;
    if (s->is_done[i] || worker_cell(s->dir, &s->plan.cells[i], &r) != CELL_DONE) continue;
    bool ours = false;
    for (int k = 0; k < s->n_workers; k++) ours |= s->workers[k].cell == &s->plan.cells[i];
    if (!ours) count_done(s, i);
  }
}

// ---- What people see ----------------------------------------------------------------------------------

static double share(const Worker *w) { return fmax(0, w->at - fmax(0, w->from)); }  // of its run, in this session

// Seconds to the end: the plan's seconds of all that is left, in the order in which it will run, times how much
// slower or faster than the plan the runs of this session have been (the plan itself weighs as much as PRIOR seconds
// of them).
static double time_left(const Sweep *s) {
  static const double PRIOR = 3;
  double worked = s->worked + PRIOR, predicted = s->predicted + PRIOR;
  double *busy = calloc((size_t)s->n_workers + (size_t)s->plan.n, sizeof *busy), *seconds = busy + s->n_workers;
  if (!busy) return NAN;
  for (int k = 0; k < s->n_workers; k++) {
    const Worker *w = &s->workers[k];
    if (!w->cell) continue;
    worked += w->told - w->began;
    predicted += share(w) * w->cell->seconds;
    busy[k] = (1 - w->at) * w->cell->seconds;
  }
  double flops = 0, all = 0;
  int n = 0;
  for (int i = 0; i < s->plan.n; i++) {
    const Cell *c = &s->plan.cells[i];
    bool waits = !s->is_done[i];
    for (int k = 0; k < s->n_workers; k++) waits &= s->workers[k].cell != c;
    if (waits) seconds[n++] = c->seconds;
    if (c->seconds > 0) flops += c->flops, all += c->seconds;
  }
  double left = plan_makespan(seconds, n, busy, s->n_workers);
  if (flops > 0) left += s->plan.later_flops * all / flops / s->n_workers;
  free(busy);
  return left * worked / predicted;
}

static int columns(void) {  // of the terminal
  struct winsize size;
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80;
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
  int end = columns() - 1;  // of the last loss that has room, whole
  if ((int)strlen(line) <= end) end = (int)strlen(line);
  else
    while (end > 0 && strncmp(line + end, "  ", 2)) end--;
  printf("\r%.*s\033[K", end, line);
  fflush(stdout);
}

static void print_run(const Sweep *s, const Record *r) {
  char left[40];
  snprintf(left, sizeof left, "%s", plan_duration(time_left(s)));
  if (s->live) printf("\r\033[K");
  const int n = printf("[%d/%d] ", s->done, s->total);
  worker_print_run(r, left, s->live ? columns() - n : INT_MAX, stdout);
  fflush(stdout);
}

static void tell_status(const Sweep *s) {
  if (!status_asked()) return;
  fprintf(stderr, "%ssweep %s: %d of %d runs done, %s left\n", s->live ? "\r\033[K" : "", s->dir, s->done, s->total,
          plan_duration(time_left(s)));
  for (int k = 0; k < s->n_workers; k++) {
    const Worker *w = &s->workers[k];
    if (w->cell)
      fprintf(stderr, "  worker %ld: %s  %dx%d  %.0f %%  loss %.4f\n", (long)w->pid, w->id, w->cell->cfg.d_model,
              w->cell->cfg.n_layers, 100 * w->at, w->loss);
    else if (w->pid) fprintf(stderr, "  worker %ld: between two runs\n", (long)w->pid);
  }
}

// ---- The sweep ------------------------------------------------------------------------------------------

static void on_progress(Worker *w, double at, double loss) {
  w->at = at;
  w->loss = loss;
  w->told = now_seconds();
  if (w->from >= 0) return;
  w->from = at;
  w->began = w->told;
}

static void on_done(Sweep *s, Worker *w) {
  int i;
  Record r;
  const Cell *c = cell_find(s, w->id, &i);
  const CellState state = c ? worker_cell(s->dir, c, &r) : CELL_OPEN;
  if (state == CELL_DONE) {
    s->worked += w->from < 0 ? 0 : now_seconds() - w->began;
    s->predicted += w->from < 0 ? 0 : (1 - w->from) * c->seconds;
    s->flops += w->from < 0 ? 0 : (1 - w->from) * c->flops;
  }
  w->cell = NULL;
  *w->id = 0;
  if (state == CELL_OPEN) return;
  if (!s->is_done[i]) count_done(s, i);
  print_run(s, &r);
}

// A line of a worker: progress of its run, the end of it, or the reason why the worker itself ends.
static void on_line(void *user, const char *line) {
  Worker *w = user;
  Sweep *s = w->sweep;
  char id[17], word[8];
  int step, steps, used = 0;
  double loss;
  const bool progress =
      sscanf(line, "%16s %d %d %lf%n", id, &step, &steps, &loss, &used) == 4 && !line[used] && steps > 0;
  const bool done =
      !progress && sscanf(line, "%16s %7s%n", id, word, &used) == 2 && !line[used] && !strcmp(word, "done");
  if (!progress && !done) {
    const int skip = strncmp(line, "isoflop: ", 9) ? 0 : 9;
    if (*line) snprintf(w->last, sizeof w->last, "%.*s", (int)sizeof w->last - 1, line + skip);
    return;
  }
  if (strcmp(w->id, id)) {
    int i;
    Err e = {0};
    strcpy(w->id, id);
    w->at = 0, w->from = -1, w->loss = NAN;
    w->began = w->told = now_seconds();
    w->cell = cell_find(s, id, &i);
    if (!w->cell && sweep_plan(s, &e)) snprintf(w->last, sizeof w->last, "%.199s", e.msg);  // a later stage has begun
  }
  if (progress) on_progress(w, (double)step / steps, loss);
  else on_done(s, w);
}

// A worker has ended. An error of the world (a full disk, say) is the sweep's.
static void worker_end(Worker *w, Err *e) {
  int status;
  while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR) {}
  close(w->fd);
  w->pid = 0;
  w->cell = NULL;
  *w->id = 0;
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
  if (code && code != E_RUNS && code != E_REQUEUE && code < 128 && e->code == OK) fail(e, code, "%s", w->last);
}

static void sweep_loop(Sweep *s, struct pollfd *polls, Err *e) {
  int told = 0;  // signals passed on
  for (;;) {
    int running = 0;
    for (int k = 0; k < s->n_workers; k++) {
      polls[k] = (struct pollfd){.fd = s->workers[k].pid ? s->workers[k].fd : -1, .events = POLLIN};
      running += s->workers[k].pid != 0;
    }
    if (!running) return;
    if (n_stops > told) {
      told = n_stops;
      for (int k = 0; k < s->n_workers; k++)
        if (s->workers[k].pid) kill(s->workers[k].pid, stop_signal);
    }
    poll(polls, (nfds_t)s->n_workers, 250);
    for (int k = 0; k < s->n_workers; k++) {
      Worker *w = &s->workers[k];
      if (polls[k].fd >= 0 && polls[k].revents && !lines_read(&w->lines, w->fd, on_line, w)) worker_end(w, e);
    }
    look_around(s);
    tell_status(s);
    draw(s);
  }
}

// runs.csv from the records, and the last line.
static int sweep_conclude(Sweep *s, Err *e) {
  Records rs;
  if (worker_table(s->dir, &rs, e)) return e->code;
  if (sweep_plan(s, e)) return records_free(&rs), e->code;
  int finished = 0, diverged = 0, failed = 0, done = 0;
  const char *reason = "";
  // Counted from what was just read: a cell whose record could not be read for want of memory while it ran is done, too.
  for (int i = 0; i < s->plan.n; i++)
    for (int k = 0; k < rs.n; k++) done += !strcmp(rs.r[k].id, s->plan.cells[i].id) && strcmp(rs.r[k].status, "failed");
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
    fail(e, 128 + stop_signal, "stopped with %d of %d runs done; the same command goes on from there", done, s->total);
  else if (failed) fail(e, E_RUNS, "%d of %d runs failed; the first: %s", failed, s->total, reason);
  else if (done < s->plan.n)
    fail(e, E_REQUEUE, "%d runs were stopped from outside; the same command goes on from there", s->plan.n - done);
  records_free(&rs);
  return e->code;
}

static int sweep_begin(Sweep *s, Err *e) {
  if (sweep_plan(s, e)) return e->code;
  if (s->done) printf("%d of %d runs have a record already\n", s->done, s->total);
  if (s->done < s->total)
    printf("%d runs to go on %d worker%s, about %s\n", s->total - s->done, s->n_workers, s->n_workers == 1 ? "" : "s",
           plan_duration(time_left(s)));
  fflush(stdout);
  s->began = now_seconds();
  if (s->done == s->plan.n && s->plan.complete) return OK;  // nothing to do for anyone
  for (int k = 0; k < s->n_workers && e->code == OK; k++) worker_start(s, &s->workers[k], e);
  return OK;  // those that have started are to be waited for
}

int sweep_run(const Study *study, const char *dir, int workers, Err *e) {
  *e = (Err){0};
  Sweep s = {.study = *study, .dir = dir, .n_workers = workers, .live = isatty(STDOUT_FILENO)};
  s.workers = mem_new((size_t)workers * sizeof *s.workers, "sweep", e);
  struct pollfd *polls = mem_new((size_t)workers * sizeof *polls, "sweep", e);
  Signals before;
  signals_listen(&before, false);
  if (s.workers && polls && sweep_begin(&s, e) == OK) {
    sweep_loop(&s, polls, e);
    if (!e->code) sweep_conclude(&s, e);
  }
  signals_leave(&before);
  plan_free(&s.plan);
  free(s.is_done);
  free(polls);
  free(s.workers);
  return e->code;
}
