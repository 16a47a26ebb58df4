// checkpoint.c: see checkpoint.h. One file: header, curve, parameters, moments; everything behind the header's checksum
// is under it. Little-endian, as written by the machine: a checkpoint goes on where it was written, it is not an
// exchange format.
#include "checkpoint.h"
#include "kernels.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

typedef struct Header {
  char magic[8];         // "isoflopC"
  uint32_t format, crc;  // crc32 of the header behind this field and of the whole rest
  char run_id[17];
  uint8_t table[3];      // a hash of the kernel table's name; 0 without moments, or by a program that did not tell
  int32_t step, bin_steps, n_points, moments;
  float seconds;  // 0 without moments: a model's bytes tell no time
  uint64_t n_params, bytes;  // floats an array; length of the whole file
  double bin_loss;
} Header;
static const char MAGIC[8] = "isoflopC";
enum { FORMAT = 1 };

_Static_assert(sizeof(Header) == 80, "no hidden padding: its bytes would be anyone's guess, and go to disk");

// Steps by two tables would be a run that neither of them can repeat.
static void table_mark(uint8_t mark[3]) {
  const uint64_t h = hash_bytes(0, kern->name, strlen(kern->name));
  memcpy(mark, &h, 3);
}

static size_t crc_from(void) { return offsetof(Header, crc) + sizeof(uint32_t); }

static void paths(const char *dir, const char *name, char path[1024], char old[1024]) {
  snprintf(path, 1024, "%.900s/%s", dir, name);
  snprintf(old, 1024, "%.900s/%s.old", dir, name);
}

static uint32_t crc_add(uint32_t crc, const void *p, size_t n) { return (uint32_t)crc32_z(crc, p, n); }

int checkpoint_write(const char *dir, const char *name, const Model *m, bool moments, const Progress *p, Err *e) {
  const size_t array = m->n_params * sizeof(float), curve = (size_t)p->n_points * sizeof(CurvePoint);
  Header h = {.format = FORMAT,
              .step = p->step,
              .bin_steps = p->bin_steps,
              .n_points = p->n_points,
              .moments = moments,
              .seconds = moments ? (float)p->seconds : 0,
              .n_params = m->n_params,
              .bytes = sizeof h + curve + array * (moments ? 3 : 1),
              .bin_loss = p->bin_loss};
  memcpy(h.magic, MAGIC, sizeof MAGIC);
  memcpy(h.run_id, p->run_id, sizeof h.run_id);
  if (moments) table_mark(h.table);
  const void *parts[] = {p->points, m->params, m->m, m->v};
  const size_t sizes[] = {curve, array, array, array};
  const int n = moments ? 4 : 2;
  h.crc = crc_add(0, (char *)&h + crc_from(), sizeof h - crc_from());
  for (int i = 0; i < n; i++) h.crc = crc_add(h.crc, parts[i], sizes[i]);

  char path[1024], old[1024];
  paths(dir, name, path, old);
  OutFile o;
  if (out_open(&o, path, e)) return e->code;
  out_write(&o, &h, sizeof h);
  for (int i = 0; i < n; i++) out_write(&o, parts[i], sizes[i]);
  if (out_sync(&o, e)) return e->code;
  // Only now may the generation before the last one go.
  if (moments && rename(path, old) != 0 && errno != ENOENT) {
    fail(e, E_IO, "%s: cannot rename to %s: %s", path, old, strerror(errno));
    out_abort(&o);
    return e->code;
  }
  return out_publish(&o, e);
}

static int read_one(const char *path, const char *run_id, Model *m, bool moments, Progress *p, Err *e) {
  char *data;
  size_t len;
  if (file_read(path, &data, &len, e)) return e->code;
  Header h;
  uint8_t table[3];
  table_mark(table);
  const size_t array = m->n_params * sizeof(float);
  int code = OK;
  if (len < sizeof h || (memcpy(&h, data, sizeof h), memcmp(h.magic, MAGIC, sizeof MAGIC)) != 0)
    code = fail(e, E_RECORD, "%s: not a checkpoint", path);
  else if (h.format != FORMAT)
    code = fail(e, E_RECORD, "%s: checkpoint format %u, this program reads %d", path, h.format, FORMAT);
  else if (h.bytes != len || crc_add(crc_add(0, (char *)&h + crc_from(), sizeof h - crc_from()), data + sizeof h,
                                     len - sizeof h) != h.crc)
    code = fail(e, E_RECORD, "%s: damaged: length or checksum is wrong", path);
  else if (run_id && strncmp(h.run_id, run_id, sizeof h.run_id) != 0)
    code = fail(e, E_DIFFERS, "%s: belongs to run %.16s, not to %s", path, h.run_id, run_id);
  else if (h.n_params != m->n_params || (moments && !h.moments) || h.n_points < 0 ||
           len != sizeof h + (size_t)h.n_points * sizeof(CurvePoint) + array * (h.moments ? 3 : 1))
    code = fail(e, E_RECORD, "%s: holds another shape of model", path);
  else if (moments && (h.table[0] || h.table[1] || h.table[2]) && memcmp(h.table, table, sizeof table) != 0)
    code = fail(e, E_DIFFERS, "%s: written with other kernels than %s (KERNELS chooses)", path, kern->name);
  else {
    const size_t curve = (size_t)h.n_points * sizeof(CurvePoint);
    *p = (Progress){
        .step = h.step, .bin_steps = h.bin_steps, .bin_loss = h.bin_loss, .seconds = h.seconds, .n_points = h.n_points};
    memcpy(p->run_id, h.run_id, sizeof p->run_id);
    p->points = malloc(curve ? curve : 1);
    if (!p->points)
      code = fail(e, E_MEMORY, "%s: no memory for its curve", path);
    else {
      const char *at = data + sizeof h;
      memcpy(p->points, at, curve);
      memcpy(m->params, at + curve, array);
      if (moments) {
        memcpy(m->m, at + curve + array, array);
        memcpy(m->v, at + curve + 2 * array, array);
      }
    }
  }
  free(data);
  return code;
}

int checkpoint_read(const char *dir, const char *name, const char *run_id, Model *m, bool moments, Progress *p,
                    Err *e) {
  char path[1024], old[1024];
  paths(dir, name, path, old);
  *e = (Err){0};
  const bool newest = file_exists(path);
  if (newest || !moments) {
    if (read_one(path, run_id, m, moments, p, e) == OK || e->code == E_MEMORY || !moments) return e->code;
    if (!file_exists(old)) return e->code;
  }
  Err older = {0};
  if (read_one(old, run_id, m, moments, p, &older) != OK) {
    if (!newest || (older.code == E_DIFFERS && e->code != E_DIFFERS)) *e = older;
    return e->code;
  }
  // The next write renames the newest to .old: a damaged one must not push the whole one out.
  if (e->code == E_RECORD) rename(old, path);
  return e->code = OK;
}

bool checkpoint_exists(const char *dir, const char *name) {
  char path[1024], old[1024];
  paths(dir, name, path, old);
  return file_exists(path) || file_exists(old);
}

void checkpoint_remove(const char *dir, const char *name) {
  char path[1024], old[1024];
  paths(dir, name, path, old);
  unlink(path);
  unlink(old);
}
