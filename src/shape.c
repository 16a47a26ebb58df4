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

// Width and depth grow together: about 16 channels a layer (the paper's models have 64 to 128; here that would be one
// layer everywhere), and two layers at least, because one cannot copy from its context (Olsson et al. 2022) and falls
// off the curve: 0.1 nats at 4e11 FLOPs. From 40 on, a width between two depths has both, so that neither width nor
// depth ever falls along the family and N grows by 1.15 to 1.7 a step. Heads are about 16 wide, two at least, an even
// divisor of the width.
bool shape_family(int i, Config *c) {
  for (int d = 8; d <= 1024; d += d < 40 ? 4 : d < 96 ? 8 : d < 192 ? 16 : d < 384 ? 32 : 64) {
    const int lo = d / 16 > 2 ? d / 16 : 2, hi = d < 40 ? lo : (d + 15) / 16;
    for (int layers = lo; layers <= hi; layers++) {
      if (i-- > 0) continue;
      int heads = (int)fmax(2, lround(d / 16.0));
      while (heads > 2 && (d % heads != 0 || d / heads % 2 != 0)) heads--;
      c->d_model = d;
      c->n_layers = layers;
      c->n_heads = heads;
      return true;
    }
  }
  return false;
}
