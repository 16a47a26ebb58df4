// worker.h: one worker of many: takes cells of a study folder, one after the other, until none is left.
//   DIR/study.ini       the study; whoever made the folder wrote it
//   DIR/runs/<id>/      model.bin, curve.tsv and, last, run.ini; while a cell is being run also what claim.c describes
// A run is started as `isoflop train --config F/cell.ini --out F --progress-fd 2` with F = DIR/runs/<id>/<owner>: on
// its stderr the lines "step steps loss" are progress, and the last other line is the reason when it fails.
#ifndef ISOFLOP_WORKER_H
#define ISOFLOP_WORKER_H
#include "plan.h"
#include <sys/types.h>

// The cells that DIR's study and the records in DIR ask for now, in the order in which they are to be run: stage, then
// FLOPs descending, then id. The same for every worker that sees the same records. A verdict's forecast that is due is
// made, written and told to *s. Frees what *p held.
int worker_plan(const char *dir, Study *s, Plan *p, Err *e);

// What is known of a cell: nothing yet, a record that says that the run failed, or one that makes it done for ever.
typedef enum { CELL_OPEN, CELL_FAILED, CELL_DONE } CellState;
CellState worker_cell(const char *dir, const Cell *c, Record *r);

// DIR/runs.csv from the records; hands them over when `all` is given (records_free).
int worker_table(const char *dir, Records *all, Err *e);
// A run's record as a line for people, and how long the rest will take (NULL: not said). Where `width` columns do not
// hold all of it, what the record or the live line says too is shortened and left out first.
void worker_print_run(const Record *r, const char *left, int width, FILE *f);

// A line of a child process's stderr, in the making.
typedef struct Lines {
  char text[512];
  size_t n;
} Lines;
// Reads what there is on fd, calls `line` for each whole line. False at the end of the file.
bool lines_read(Lines *l, int fd, void (*line)(void *user, const char *text), void *user);
// Starts this program again with these arguments, in a process group of its own, its stderr as a pipe in *fd; it gets
// SIGTERM when we die. Returns its pid, or -1 (E_IO, E_MEMORY).
pid_t worker_spawn(char *const argv[], int *fd, Err *e);

// `isoflop worker`: see its --help. With --progress-fd N it tells:
//   "<id> step steps loss"   how far the run is        "<id> done"   its record is there
int worker_main(int argc, char **argv);
#endif
