// signals.c: see signals.h. In: signals. Out: what they ask for. Invariant: the handler does only what a handler may.
#include "signals.h"
#include <unistd.h>

volatile sig_atomic_t stop_signal, n_stops;
static volatile sig_atomic_t status_wanted, no_second;
static const int listened[] = {SIGINT, SIGTERM, SIGUSR1};

static void on_signal(int sig) {
  if (sig == SIGUSR1) {
    status_wanted = 1;
    return;
  }
  if (n_stops && no_second) _exit(128 + sig);
  stop_signal = sig;
  n_stops++;
}

void signals_listen(Signals *s, bool second_exits) {
  const struct sigaction act = {.sa_handler = on_signal};  // no SA_RESTART: poll returns at once
  stop_signal = n_stops = status_wanted = 0;
  no_second = second_exits;
  for (int i = 0; i < 3; i++) sigaction(listened[i], &act, s ? &s->was[i] : NULL);
}

void signals_leave(const Signals *s) {
  for (int i = 0; i < 3; i++) sigaction(listened[i], &s->was[i], NULL);
}

bool status_asked(void) {
  const bool asked = status_wanted;
  status_wanted = 0;
  return asked;
}
