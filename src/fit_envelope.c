// fit_envelope.c: Approach 1: the lower envelope of all training curves.
//
// In: the training loss of every run along its way. Out: at 1,500 log-even FLOP values the run with the lowest loss,
// and power laws through the N and D of those runs. A curve is smoothed by a line through each of its points with
// Gaussian weights (of 10 steps, as in the paper, or 1 % of the run: our batches are a thousandth of the paper's),
// which unlike a mean does not lag behind a falling curve at its end. Two kinds of envelope points say nothing of the
// best size and are left out: the run has not come to the end of its cosine yet (in the paper all points lie in the
// last 15 % of a run; a run caught earlier stands in for one that was not trained), or it has the smallest or the
// largest size of all (the best may lie beyond). The invariant: the winner depends on losses alone, ties going to the
// earlier run. Reference: Hoffmann et al. 2022, section 3.1 and figure 2.
#include "fit.h"
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double LATE = .85;          // of a run's tokens
static const double SMOOTH_SHARE = .01;  // of a run's tokens
enum { SMOOTH_STEPS = 10 };

// ---- Curves -----------------------------------------------------------------------------------------------

int curves_load(Curves *cs, const char *dir, const Records *rs, Err *e) {
  *cs = (Curves){.n = rs->n, .c = mem_new(sizeof(Curve) * (size_t)(rs->n + 1), "training curves", e)};
  if (!cs->c) return e->code;
  for (int i = 0; i < rs->n; i++) {
    char path[1024], *text;
    size_t len;
    snprintf(path, sizeof path, "%s/runs/%s/curve.tsv", dir, rs->r[i].id);
    if (!file_exists(path)) continue;  // a run without a curve takes no part
    if (file_read(path, &text, &len, e)) {
      curves_free(cs);
      return e->code;
    }
    int lines = 0, row = 1;
    for (char *s = text; *s; s++) lines += *s == '\n';
    Curve *c = &cs->c[i];
    c->tokens = mem_new(sizeof(double) * 2 * (size_t)(lines + 1), "training curve", e);
    if (!c->tokens) {
      free(text);
      curves_free(cs);
      return e->code;
    }
    c->loss = c->tokens + lines + 1;
    for (char *s = strchr(text, '\n'), *end; s && s[1]; s = strchr(s + 1, '\n')) {
      double tokens, loss;
      row++;
      end = s + 1 + strcspn(s + 1, "\n");
      // step, tokens, flops, lr, train_loss; the held-out loss after them is there at some points only
      if (!*end || sscanf(s + 1, "%*d\t%lf\t%*f\t%*f\t%lf", &tokens, &loss) != 2 ||
          !(tokens > (c->n ? c->tokens[c->n - 1] : 0))) {
        free(text);
        curves_free(cs);
        return fail(e, E_RECORD, "%s:%d: expected step, tokens (ascending), flops, lr, train_loss", path, row);
      }
      if (isfinite(loss)) c->tokens[c->n] = tokens, c->loss[c->n++] = loss;
    }
    free(text);
  }
  return OK;
}

void curves_free(Curves *cs) {
  for (int i = 0; i < cs->n; i++) free(cs->c[i].tokens);
  free(cs->c);
  *cs = (Curves){0};
}

double curve_width(const Point *p) { return fmax(SMOOTH_STEPS * p->run->cfg.batch_tokens, SMOOTH_SHARE * p->D); }

// The weighted line through the neighbours of point i, read off at i.
double curve_smooth_at(const Curve *c, int i, double width) {
  double s[3] = {0}, t[2] = {0};  // sums of w, w d, w d^2; of w L, w d L
  int lo = i, hi = i;
  while (lo > 0 && c->tokens[i] - c->tokens[lo - 1] < 4 * width) lo--;
  while (hi + 1 < c->n && c->tokens[hi + 1] - c->tokens[i] < 4 * width) hi++;
  for (int j = lo; j <= hi; j++) {
    double d = (c->tokens[j] - c->tokens[i]) / width, w = exp(-d * d / 2);
    s[0] += w, s[1] += w * d, s[2] += w * d * d;
    t[0] += w * c->loss[j], t[1] += w * d * c->loss[j];
  }
  double det = s[0] * s[2] - s[1] * s[1];
  return det > 1e-9 * s[0] * s[0] ? (s[2] * t[0] - s[1] * t[1]) / det : t[0] / s[0];
}

// ---- The envelope -----------------------------------------------------------------------------------------

// A run at one FLOP value.
typedef struct Entry {
  double loss;
  int point;  // index in Points
  bool late;
} Entry;

static int by_loss(const void *a, const void *b) {
  const Entry *p = a, *q = b;
  return p->loss < q->loss ? -1 : p->loss > q->loss ? 1 : p->point - q->point;
}

// Every FLOP value's runs, best first. entry[k * runs ..], count[k].
typedef struct Ranking {
  int runs, *count;
  Entry *entry;
  double *C;
} Ranking;

static int rank_run(Ranking *q, const Point *p, int point, const Curve *c, Err *e) {
  double per_token = p->C / p->D, width = curve_width(p);
  double *smooth = mem_new(sizeof(double) * (size_t)c->n, "smoothed curve", e);
  if (!smooth) return e->code;
  for (int i = 0; i < c->n; i++) smooth[i] = curve_smooth_at(c, i, width);
  for (int k = 0, i = 0; k < ENVELOPE_POINTS; k++) {
    double D = q->C[k] / per_token;
    if (D < c->tokens[0] || D > c->tokens[c->n - 1]) continue;
    while (i + 2 < c->n && c->tokens[i + 1] < D) i++;
    double u = log(D / c->tokens[i]) / log(c->tokens[i + 1] / c->tokens[i]);
    q->entry[(size_t)k * (size_t)q->runs + (size_t)q->count[k]++] =
        (Entry){smooth[i] + u * (smooth[i + 1] - smooth[i]), point, D >= LATE * p->D};
  }
  free(smooth);
  return OK;
}

// The laws through the winners among the runs that take part (take NULL: all). r < 0: the estimate, and out is filled.
static bool envelope_laws(Envelope *f, int r, const Ranking *q, const Points *ps, const int *take, double *work) {
  double *c = work, *n = c + ENVELOPE_POINTS, *d = n + ENVELOPE_POINTS, lo = INFINITY, hi = 0;
  int m = 0;
  for (int i = 0; i < ps->n; i++)
    if (ps->p[i].used) lo = fmin(lo, ps->p[i].N), hi = fmax(hi, ps->p[i].N);
  for (int k = 0; k < ENVELOPE_POINTS; k++) {
    const Entry *best = NULL, *row = q->entry + (size_t)k * (size_t)q->runs;
    for (int j = 0; j < q->count[k] && !best; j++)
      if (!take || take[row[j].point]) best = &row[j];
    EnvelopePoint at = {q->C[k], NAN, NAN, NAN, -1, best ? ENVELOPE_USED : ENVELOPE_NONE};
    if (best) {
      const Point *p = &ps->p[best->point];
      at.N = p->N, at.D = at.C * p->D / p->C, at.L = best->loss, at.point = best->point;
      if (!best->late)
        at.kind = ENVELOPE_EARLY;
      else if (p->N == lo || p->N == hi)
        at.kind = ENVELOPE_EDGE;
      else
        c[m] = log(at.C), n[m] = log(at.N), d[m++] = log(at.D);
    }
    if (r < 0) f->p[k] = at;
  }
  // Neighbouring values share their run: a law needs three sizes, not three points.
  int sizes = 0;
  for (int i = 0; i < m && sizes < 3; i++) sizes += i == 0 || n[i] != n[i - 1];
  return sizes >= 3 && law_fit(&f->n_law, r, m, c, n) && law_fit(&f->d_law, r, m, c, d);
}

static void take_resample(int *take, const Points *ps, int resample, int *pick) {
  for (int i = 0, j; i < ps->n; i = j) {
    int n = 0;
    for (j = i; j < ps->n && ps->p[j].budget == ps->p[i].budget; j++) take[j] = 0, n++;
    bootstrap_draw(resample, ps->p[i].budget + 1, n, pick);
    for (int k = 0; k < n; k++) take[i + pick[k]] = 1;
  }
}

static int envelope_bootstrap(Envelope *f, const Ranking *q, const Points *ps, int resamples, Err *e) {
  size_t n = (size_t)ps->n + 1, room = 3 * ENVELOPE_POINTS;
  int *take = mem_new(2 * n * (size_t)resamples * sizeof *take, "resamples of the envelope", e);
  double *work = mem_new(room * (size_t)resamples * sizeof *work, "resamples of the envelope", e);
  if (take && work) {
#pragma omp parallel for schedule(static)
    for (int r = 0; r < resamples; r++) {
      int *mine = take + 2 * n * (size_t)r;
      take_resample(mine, ps, r, mine + n);
      envelope_laws(f, r, q, ps, mine, work + room * (size_t)r);
    }
    law_intervals(&f->n_law, resamples);
    law_intervals(&f->d_law, resamples);
  }
  free(take);
  free(work);
  return e->code;
}

int envelope_fit(Envelope *f, const Points *ps, const Records *rs, const Curves *cs, int resamples, Err *e) {
  assert(resamples >= 0 && resamples <= RESAMPLES);
  *f = (Envelope){0};
  *e = (Err){0};
  law_clear(&f->n_law), law_clear(&f->d_law);
  double lo = INFINITY, hi = 0;
  for (int i = 0; i < ps->n; i++) {
    const Point *p = &ps->p[i];
    if (p->used && cs->c[p->run - rs->r].n >= 2) f->runs++, lo = fmin(lo, p->C), hi = fmax(hi, p->C);
  }
  if (f->runs < 3 || !(hi > lo)) return OK;
  Ranking q = {.runs = f->runs,
               .count = mem_new(sizeof(int) * ENVELOPE_POINTS, "envelope", e),
               .entry = mem_new(sizeof(Entry) * ENVELOPE_POINTS * (size_t)f->runs, "envelope", e),
               .C = mem_new(sizeof(double) * 4 * ENVELOPE_POINTS, "envelope", e)};
  if (!q.count || !q.entry || !q.C) goto done;
  for (int k = 0; k < ENVELOPE_POINTS; k++) q.C[k] = lo * pow(hi / lo, k / (ENVELOPE_POINTS - 1.));
  for (int i = 0; i < ps->n; i++) {
    const Curve *c = &cs->c[ps->p[i].run - rs->r];
    if (ps->p[i].used && c->n >= 2 && rank_run(&q, &ps->p[i], i, c, e)) goto done;
  }
  for (int k = 0; k < ENVELOPE_POINTS; k++)
    qsort(q.entry + (size_t)k * (size_t)q.runs, (size_t)q.count[k], sizeof(Entry), by_loss);
  f->ok = envelope_laws(f, -1, &q, ps, NULL, q.C + ENVELOPE_POINTS);
  for (int k = 0; k < ENVELOPE_POINTS; k++) f->count[f->p[k].kind]++;
  if (f->ok) envelope_bootstrap(f, &q, ps, resamples, e);
done:
  free(q.count);
  free(q.entry);
  free(q.C);
  return e->code;
}
