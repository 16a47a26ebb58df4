// shape.c: see shape.h. In: a config's shape. Out: counts. Reference: Hoffmann et al. 2022, Appendix F and Table A9.
#include "shape.h"
#include <math.h>

Params shape_params(const Config *c) {
  const double C = c->d_model, L = c->n_layers, V = VOCAB;
  Params p = {.embed = V * C, .head = c->tied ? 0 : V * C, .attn = L * 4 * C * C, .ffn = L * 8 * C * C};
  p.norm = L * (2 * C + (c->qk_norm ? 2 * C : 0)) + C;
  p.nonemb = p.attn + p.ffn + p.norm;
  p.total = p.nonemb + p.embed + p.head;
  return p;
}

Flops shape_flops(const Config *c) {
  const double C = c->d_model, L = c->n_layers, V = VOCAB, T = c->seq_len;
  const double linear = 2 * (3 * C * C + C * C + 8 * C * C);  // QKV, output, feed-forward up and down
  const double attention = 2 * (T * C + T * C);               // scores, weighted sum: every key, no causal halving
  const double logits = 2 * C * V;
  const Params p = shape_params(c);
  return (Flops){.exact = 3 * (L * (linear + attention) + logits),
                 .nohead = 3 * L * (linear + attention),
                 .sixn = 6 * p.total,
                 .sixn_nonemb = 6 * p.nonemb};
}

// One layer for every 16 channels, as even as whole numbers allow: at each width in steps of 8 the depths are the whole numbers
// next to d/16, so neither width nor depth ever falls along the family and N grows by 1.2 to 1.7 a step. (The paper's
// models have 64 to 128 channels a layer; at this scale that would be a single layer everywhere.) Above 96
// the steps widen to 16, above 192 to 32 and above 384 to 64. Heads are about 16 wide, an even divisor of the width.
bool shape_family(int i, Config *c) {
  for (int d = 8; d <= 1024; d += d < 96 ? 8 : d < 192 ? 16 : d < 384 ? 32 : 64) {
    int lo = d / 16 > 0 ? d / 16 : 1, hi = (d + 15) / 16;
    for (int layers = lo; layers <= hi; layers++) {
      if (i-- > 0) continue;
      int heads = (int)lround(d / 16.0);
      while (heads > 1 && (d % heads != 0 || d / heads % 2 != 0)) heads--;
      c->d_model = d;
      c->n_layers = layers;
      c->n_heads = heads > 0 ? heads : 1;
      return true;
    }
  }
  return false;
}
