// bench-llmc.c: milliseconds of llm.c's training step on a shape of one's own, by its functions as they are: this file includes
// its train_gpt2.c. In: d layers heads seq batch seconds. Out: the median, on stdout's last line, after one step that warms up.
// Built and run by bench-llmc.sh, which sees to the include path and the flags.
#define TESTING  // leaves its main() out
#include "train_gpt2.c"
#include <string.h>

static double ms_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return 1e3 * t.tv_sec + 1e-6 * t.tv_nsec;
}
static int by_size(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

int main(int argc, char **argv) {
  enum { V = 256, MAX_STEPS = 2000 };
  if (argc != 7) return fprintf(stderr, "usage: bench-llmc d layers heads seq batch seconds\n"), 2;
  const int C = atoi(argv[1]), L = atoi(argv[2]), H = atoi(argv[3]), T = atoi(argv[4]), B = atoi(argv[5]);
  const double seconds = atof(argv[6]);

  // Its models come from files: a header of 256 words, then the parameters.
  char path[] = "/tmp/bench-llmc.XXXXXX";
  FILE *f = fdopen(mkstemp(path), "wb");
  int header[256] = {20240326, 3, T, V, L, H, C, V};
  fwrite(header, sizeof header, 1, f);
  GPT2 model = {.config = {.max_seq_len = T, .vocab_size = V, .padded_vocab_size = V, .num_layers = L, .num_heads = H, .channels = C}};
  size_t sizes[NUM_PARAMETER_TENSORS], n = 0;
  fill_in_parameter_sizes(sizes, model.config);
  for (int i = 0; i < NUM_PARAMETER_TENSORS; i++) n += sizes[i];
  unsigned random = 1;
  for (size_t i = 0; i < n; i++) {
    random = random * 1664525u + 1013904223u;
    const float x = 0.04f * ((float)(random >> 8) / 16777216.0f - 0.5f);
    fwrite(&x, sizeof x, 1, f);
  }
  fclose(f);
  gpt2_build_from_checkpoint(&model, path);
  remove(path);

  int *tokens = malloc(sizeof(int) * (size_t)B * T), *targets = malloc(sizeof(int) * (size_t)B * T);
  double *ms = malloc(sizeof(double) * MAX_STEPS);
  int steps = -1;
  for (double began = ms_now(); steps < 1 || (steps < MAX_STEPS && ms_now() - began < 1e3 * seconds); steps++) {
    for (int i = 0; i < B * T; i++) {
      random = random * 1664525u + 1013904223u;
      tokens[i] = random >> 24, targets[i] = random >> 16 & 255;
    }
    const double start = ms_now();
    gpt2_forward(&model, tokens, targets, B, T);
    gpt2_zero_grad(&model);
    gpt2_backward(&model);
    gpt2_update(&model, 1e-4f, 0.9f, 0.95f, 1e-8f, 0.1f, steps + 2);
    if (steps >= 0) ms[steps] = ms_now() - start;
    else began = ms_now();
  }
  qsort(ms, (size_t)steps, sizeof *ms, by_size);
  printf("%.4f\n", steps % 2 ? ms[steps / 2] : 0.5 * (ms[steps / 2 - 1] + ms[steps / 2]));
  return 0;
}
