// recipe.c: the one place where batch, peak rate, beta2 and horizon follow from the model's size. See shape.h. Its
// coefficients are options ([recipe]): `isoflop tune` measures them, docs/recipe.md has where the defaults come from.
#include "shape.h"
#include <math.h>

double recipe_sequences(const Config *c, double flops) {
  const double tokens = c->batch_at * pow(flops / RECIPE_FLOPS, c->batch_exponent);
  return c->batch_scale * tokens / c->seq_len;
}

static const double MOST_STEPS = 1e9;  // as many as an int counts

int recipe_resolve(Config *c, Err *e) {
  if (config_check(c, e)) return e->code;
  const double N = shape_params(c).total, per_token = shape_flops(c).exact;
  const double wanted = c->tokens > 0 ? c->tokens : c->budget / per_token;

  // The batch grows with the compute, by default with its root: about 5,000 steps at the optimal size whatever the
  // budget. It is one for all sizes of a budget, so that rounding to whole sequences puts no steps into a valley.
  if (c->batch_tokens == 0) {
    const double sequences = recipe_sequences(c, wanted * per_token);
    c->batch_tokens = c->seq_len * (int)fmax(1, fmin(round(sequences), 256));
  }
  if (c->lr == 0)
    c->lr = c->lr_scale * fmin(c->lr_at * pow(N / RECIPE_PARAMS, c->lr_exponent) *
                                   pow(wanted / N / RECIPE_RATIO, c->lr_horizon), c->lr_max);
  if (c->beta2 == 0) c->beta2 = c->batch_tokens < c->beta2_switch ? c->beta2_small : c->beta2_large;

  if (c->cosine_tokens > 0) c->cosine_cycle = fmax(1, c->cosine_tokens / wanted);
  if (c->warmup_tokens > 0) c->warmup = fmin(0.5, c->warmup_tokens / wanted);
  const double steps = round(wanted / c->batch_tokens);
  if (steps < 20 || steps * c->warmup > steps - 1)
    return fail(e, E_CONFIG,
                "%.3g tokens for %.0f parameters are %.0f steps of %d: at least 20 are needed, and one after warm-up",
                wanted, N, steps, c->batch_tokens);
  if (steps > MOST_STEPS)
    return fail(e, E_CONFIG, "%.3g tokens are %.3g steps of %d, at most %g are possible", wanted, steps, c->batch_tokens,
                MOST_STEPS);
  c->tokens = steps * c->batch_tokens;
  return config_check(c, e);
}
