// signals.h: what SIGINT, SIGTERM and SIGUSR1 ask of a command that takes its time, while it listens.
#ifndef ISOFLOP_SIGNALS_H
#define ISOFLOP_SIGNALS_H
#include <signal.h>
#include <stdbool.h>

extern volatile sig_atomic_t stop_signal;  // the latest SIGINT or SIGTERM; 0: none
extern volatile sig_atomic_t n_stops;      // how many have come

typedef struct Signals { struct sigaction was[3]; } Signals;
// Forgets what came before and listens, for good if s is NULL; a system call that waits then returns with EINTR.
// second_exits: the second SIGINT or SIGTERM ends the process at once, with 128 + its number.
void signals_listen(Signals *s, bool second_exits);
void signals_leave(const Signals *s);  // as it was before
bool status_asked(void);               // whether a SIGUSR1 has come since the last call
#endif
