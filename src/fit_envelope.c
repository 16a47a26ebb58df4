// fit_envelope.c: Approach 1: the lower envelope of all training curves.
//
// In: the training loss of every run along its way. Out: at 1,500 log-even FLOP values the run with the lowest loss,
// and power laws through the N and D of those runs. A curve is smoothed by a line through each of its points with
// Gaussian weights (of 10 steps, as in the paper, or 1 % of the run: our batches are a thousandth of the paper's),
// which unlike a mean does not lag behind a falling curve at its end. Two kinds of envelope points say nothing of the
// best size and are left out: the run has not come to the end of its cosine yet (in the paper all points lie in the
// last 15 % of a run; a run caught earlier stands in for one that was not trained), or it is the smallest or the
// largest of the models that were trained as far as this compute (the best may lie beyond).
//
// Bootstrap: a minimum over runs does not survive their being drawn again. A resample lacks a third of the curves, and
// the lowest of those that are left are the lucky ones, whose luck is drawn again; so the resampled exponents scatter
// about something else than the estimate does about the truth. What can be drawn again is the study: from the surface
// of Approach 3, without the noise that the runs already have, every curve keeping its shape and moved so that it ends
// on the drawn loss. There the best sizes are known, and the envelope's errors (the stairs of the grid, unlucky sizes,
// edges) are what the interval takes off the estimate (law_pivot): it need not lie around the estimate.
//
// The invariant: the winner depends on losses alone, ties going to the earlier run. References: Hoffmann et al. 2022,
// section 3.1 and figure 2; Efron & Tibshirani 1993, sections 6.5 (parametric bootstrap) and 7.4 (one that fails).
#include "fit.h"
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

// Every FLOP value's runs, best first: entry[k * runs ..], count[k]. end[i]: where the smoothed curve of point i ends
// (NaN: no curve).
struct Ranking {
  int runs, *count;
  Entry *entry;
  double C[ENVELOPE_POINTS], least[ENVELOPE_POINTS], most[ENVELOPE_POINTS];  // smallest and largest N there
  double *end;
};

static int rank_run(Ranking *q, const Point *p, int point, const Curve *c, Err *e) {
  double per_token = p->C / p->D, width = curve_width(p);
  double *smooth = mem_new(sizeof(double) * (size_t)c->n, "smoothed curve", e);
  if (!smooth) return e->code;
  for (int i = 0; i < c->n; i++) smooth[i] = curve_smooth_at(c, i, width);
  q->end[point] = smooth[c->n - 1];
  for (int k = 0, i = 0; k < ENVELOPE_POINTS; k++) {
    double D = q->C[k] / per_token;
    if (D < c->tokens[0] || D > c->tokens[c->n - 1]) continue;
    while (i + 2 < c->n && c->tokens[i + 1] < D) i++;
    double u = log(D / c->tokens[i]) / log(c->tokens[i + 1] / c->tokens[i]);
    q->entry[(size_t)k * (size_t)q->runs + (size_t)q->count[k]++] =
        (Entry){smooth[i] + u * (smooth[i + 1] - smooth[i]), point, D >= LATE * p->D};
    q->least[k] = fmin(q->least[k], p->N), q->most[k] = fmax(q->most[k], p->N);
  }
  free(smooth);
  return OK;
}

Ranking *ranking_new(const Points *ps, const Records *rs, const Curves *cs, Err *e) {
  double lo = INFINITY, hi = 0;
  int runs = 0;
  *e = (Err){0};
  for (int i = 0; i < ps->n; i++) {
    const Point *p = &ps->p[i];
    if (p->used && cs->c[p->run - rs->r].n >= 2) runs++, lo = fmin(lo, p->C), hi = fmax(hi, p->C);
  }
  if (runs < 3 || !(hi > lo)) return NULL;
  Ranking *q = mem_new(sizeof *q, "envelope", e);
  if (!q) return NULL;
  *q = (Ranking){.runs = runs};
  q->count = mem_new(sizeof(int) * ENVELOPE_POINTS, "envelope", e);
  q->entry = mem_new(sizeof(Entry) * ENVELOPE_POINTS * (size_t)runs, "envelope", e);
  q->end = mem_new(sizeof(double) * (size_t)ps->n, "envelope", e);
  if (!q->count || !q->entry || !q->end) return ranking_free(q), NULL;
  for (int k = 0; k < ENVELOPE_POINTS; k++)
    q->C[k] = lo * pow(hi / lo, k / (ENVELOPE_POINTS - 1.)), q->least[k] = INFINITY;
  for (int i = 0; i < ps->n; i++) {
    const Curve *c = &cs->c[ps->p[i].run - rs->r];
    q->end[i] = NAN;
    if (ps->p[i].used && c->n >= 2 && rank_run(q, &ps->p[i], i, c, e)) return ranking_free(q), NULL;
  }
  for (int k = 0; k < ENVELOPE_POINTS; k++)
    qsort(q->entry + (size_t)k * (size_t)runs, (size_t)q->count[k], sizeof(Entry), by_loss);
  return q;
}

void ranking_free(Ranking *q) {
  if (!q) return;
  free(q->count), free(q->entry), free(q->end);
  free(q);
}

void ranking_shift(const Ranking *q, const Points *ps, const double *loss, double *shift) {
  for (int i = 0; i < ps->n; i++) shift[i] = isnan(q->end[i]) || isnan(loss[i]) ? 0 : loss[i] - q->end[i];
}

void ranking_winners(const Ranking *q, const Points *ps, const double *shift, EnvelopePoint *out) {
  double down = 0;  // no run can gain more than that
  for (int i = 0; i < ps->n && shift; i++)
    if (!isnan(q->end[i])) down = fmin(down, shift[i]);
  for (int k = 0; k < ENVELOPE_POINTS; k++) {
    const Entry *best = NULL, *row = q->entry + (size_t)k * (size_t)q->runs;
    double least = INFINITY;
    for (int j = 0; j < q->count[k] && row[j].loss + down < least; j++) {
      double loss = row[j].loss + (shift ? shift[row[j].point] : 0);
      if (loss < least) least = loss, best = &row[j];
    }
    out[k] = (EnvelopePoint){q->C[k], NAN, NAN, NAN, -1, ENVELOPE_NONE};
    if (!best) continue;
    const Point *p = &ps->p[best->point];
    out[k].N = p->N, out[k].D = q->C[k] * p->D / p->C, out[k].L = least, out[k].point = best->point;
    out[k].kind = !best->late                                 ? ENVELOPE_EARLY
                  : p->N == q->least[k] || p->N == q->most[k] ? ENVELOPE_EDGE
                                                              : ENVELOPE_USED;
  }
}

bool envelope_laws(PowerLaw *n_law, PowerLaw *d_law, int r, const EnvelopePoint *p, int first, int last) {
  double c[ENVELOPE_POINTS], n[ENVELOPE_POINTS], d[ENVELOPE_POINTS];
  int m = 0, sizes = 0;
  for (int k = 0, used = 0; k < ENVELOPE_POINTS; k++)
    if (p[k].kind == ENVELOPE_USED && used++ >= first && used <= last)
      c[m] = log(p[k].C), n[m] = log(p[k].N), d[m++] = log(p[k].D);
  // Values share their runs: a law needs three sizes, not three points.
  for (int i = 0, j; i < m && sizes < 3; i++) {
    for (j = 0; j < i && n[j] != n[i]; j++) {}
    sizes += j == i;
  }
  return sizes >= 3 && law_fit(n_law, r, m, c, n) && (!d_law || law_fit(d_law, r, m, c, d));
}

typedef struct Work {
  EnvelopePoint p[ENVELOPE_POINTS];
} Work;

int envelope_bootstrap(Envelope *f, const Ranking *q, const Points *ps, const SurfaceFit *surface,
                       const Frontier *frontier, const Noise *noise, int resamples, Err *e) {
  const size_t n = (size_t)ps->n + 1;
  *e = (Err){0};
  if (!f->ok || !surface->ok || !frontier->law || !resamples) return OK;
  double *loss = mem_new(n * (size_t)resamples * sizeof *loss, "resamples of the envelope", e);
  Work *work = mem_new((size_t)resamples * sizeof *work, "resamples of the envelope", e);
  if (loss && work) {
#pragma omp parallel for schedule(static)
    for (int r = 0; r < resamples; r++) {
      double *mine = loss + n * (size_t)r;
      losses_draw(mine, ps, &surface->s, noise, 0x656e76656c6f7065u, r);
      ranking_shift(q, ps, mine, mine);
      ranking_winners(q, ps, mine, work[r].p);
      envelope_laws(&f->n_law, &f->d_law, r, work[r].p, 0, ENVELOPE_POINTS);
    }
    law_pivot(&f->n_law, log(frontier->n_law.k.value), frontier->n_law.exponent.value, 1, resamples);
    law_pivot(&f->d_law, log(frontier->d_law.k.value), frontier->d_law.exponent.value, 1, resamples);
  }
  free(loss), free(work);
  return e->code;
}

int envelope_fit(Envelope *f, const Points *ps, const Ranking *q, Err *e) {
  *f = (Envelope){0};
  *e = (Err){0};
  law_clear(&f->n_law), law_clear(&f->d_law);
  if (!q) return OK;
  f->runs = q->runs;
  ranking_winners(q, ps, NULL, f->p);
  f->ok = envelope_laws(&f->n_law, &f->d_law, -1, f->p, 0, ENVELOPE_POINTS);
  for (int k = 0; k < ENVELOPE_POINTS; k++) f->count[f->p[k].kind]++;
  return OK;
}
