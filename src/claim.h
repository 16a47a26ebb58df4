// claim.h: which of many processes, on one machine or on many, runs a cell.
#ifndef ISOFLOP_CLAIM_H
#define ISOFLOP_CLAIM_H
#include "util.h"

// This process as a holder of claims: a name that no other process ever has.
typedef struct Owner {
  char name[48];
  double beat;  // seconds between two signs of life
} Owner;
void claim_owner(Owner *o, double beat);

// What was last seen of another's claim on a cell; zero at first. Kept by the caller from one try to the next.
typedef struct Watch {
  long generation;
  int64_t mtime_s, mtime_ns;
  uint64_t inode;
  double since;  // when this was first seen, monotonic
} Watch;

typedef struct Claim {
  const Owner *owner;
  char dir[1024], own[1100], file[1120];  // the cell's folder, the claim's private folder in it, the file in that
  long generation;                        // 0: not ours
  double beaten;                          // when its last sign of life was given, monotonic
} Claim;

// A claim is stale when nothing has been heard of it for CLAIM_MISSED of its own intervals, or at once when it belongs
// to a process of this machine that is no more.
enum { CLAIM_MISSED = 6 };

// Tries to claim the cell whose folder is `dir` (made if missing). OK: c->generation says whether it is ours; then the
// private folder c->own exists and holds what was worth keeping of the work of owners before (a checkpoint, a finished
// run that was not published). E_IO.
int claim_take(Claim *c, const Owner *owner, const char *dir, Watch *seen, Err *e);
// Gives a sign of life where one is due. False when the claim is ours no more: then the work in c->own is nobody's.
bool claim_beat(Claim *c);
bool claim_held(const Claim *c);
// Moves file `name` of the private folder into the cell's folder, over what is there, if it exists. E_IO.
int claim_publish(const Claim *c, const char *name, Err *e);
// Gives the claim up; `done` also removes the private folder, else the next owner finds the work in it.
void claim_release(Claim *c, bool done);
#endif
