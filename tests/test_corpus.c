// test_corpus.c: token files survive the trip and refuse every damage; text becomes documents that depend on nothing
// but their bytes; bad sources are one clear line and E_CORPUS.
#include "corpus.h"
#include "testing.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <zlib.h>

// n bytes of paragraphs that occur nowhere else (for another seed: nowhere in common).
static char *make_text(uint64_t seed, size_t n) {
  char *s = malloc(n + 1);
  for (size_t i = 0, paragraph = 0; i < n; i++) {
    uint64_t u = rng_u64(seed, i);
    s[i] = (char)('a' + u % 26);
    if (u >> 60 == 0) s[i] = ' ';
    if (i - paragraph >= 300 && i + 2 < n) s[i] = s[i + 1] = '\n', i++, paragraph = i;
  }
  s[n] = 0;
  return s;
}

static void write_some(const char *path, uint64_t seed, size_t n) {
  char *s = make_text(seed, n);
  write_file(path, s, n);
  free(s);
}

static uint64_t hash_of(const char *token_file) {
  Corpus c;
  Err e = {0};
  if (corpus_open(&c, token_file, &e)) fail_msg("%s", e.msg);
  uint64_t h = c.hash;
  corpus_close(&c);
  return h;
}

// ---- Token files --------------------------------------------------------------------------------------

static const uint8_t TRAIN[] = "the training part", VAL[] = "held out";

static void write_small(const char *path) {
  Err e = {0};
  assert_int_equal(corpus_write(path, "small", TRAIN, sizeof TRAIN, VAL, sizeof VAL, 1.5, NAN, &e), OK);
}

UNIT(round_trip) {
  Corpus c;
  Err e = {0};
  write_small(in("s.tok"));
  assert_int_equal(corpus_open(&c, in("s.tok"), &e), OK);
  assert_string_equal(c.name, "small");
  assert_int_equal(c.n_train, sizeof TRAIN);
  assert_int_equal(c.n_val, sizeof VAL);
  assert_memory_equal(c.train, TRAIN, sizeof TRAIN);
  assert_memory_equal(c.val, VAL, sizeof VAL);
  assert_true(c.floor_nats == 1.5);
  assert_true(isnan(c.val_floor_nats));
  corpus_close(&c);
  // The hash is of the content: another name has the same, another split of the same bytes has not.
  uint64_t h = hash_of(in("s.tok"));
  assert_int_equal(corpus_write(in("t.tok"), "other", TRAIN, sizeof TRAIN, VAL, sizeof VAL, NAN, NAN, &e), OK);
  assert_true(hash_of(in("t.tok")) == h);
  assert_int_equal(corpus_write(in("t.tok"), "small", TRAIN, sizeof TRAIN - 1, VAL, sizeof VAL, 1.5, NAN, &e), OK);
  assert_true(hash_of(in("t.tok")) != h);
}

UNIT(every_damaged_byte_is_seen) {
  char *good;
  size_t n;
  Err e = {0};
  Corpus c;
  write_small(in("s.tok"));
  assert_int_equal(file_read(in("s.tok"), &good, &n, &e), OK);
  assert_int_equal(n, 128 + sizeof TRAIN + sizeof VAL);
  for (size_t i = 0; i < n; i++)
    for (int bit = 0; bit < 8; bit++) {
      good[i] ^= (char)(1 << bit);
      write_file(in("bad.tok"), good, n);
      good[i] ^= (char)(1 << bit);
      assert_refused(corpus_open(&c, in("bad.tok"), &e), &e, E_CORPUS, "bad.tok: ");
      assert_null(c.map);
    }
  for (size_t k = 0; k < n; k++) {  // every truncation
    write_file(in("bad.tok"), good, k);
    assert_refused(corpus_open(&c, in("bad.tok"), &e), &e, E_CORPUS, "bad.tok: ");
  }
  assert_non_null(strstr(e.msg, "cut short or appended to"));
  char *longer = calloc(1, n + 1);
  memcpy(longer, good, n);
  write_file(in("bad.tok"), longer, n + 1);
  assert_refused(corpus_open(&c, in("bad.tok"), &e), &e, E_CORPUS, "cut short or appended to");
  free(longer);
  free(good);
  assert_refused(corpus_open(&c, in("none.tok"), &e), &e, E_CORPUS, "none.tok: cannot read: No such file");
  assert_int_equal(corpus_open(&c, folder, &e), E_CORPUS);
}

UNIT(full_disk_leaves_the_old_file) {
  Err e = {0};
  write_small(in("keep.tok"));
  uint64_t before = hash_of(in("keep.tok"));
  static const uint8_t big[100000];
  struct rlimit was, small;
  getrlimit(RLIMIT_FSIZE, &was);
  small = was;
  small.rlim_cur = 50000;  // as on a full disk, writes fail in the middle
  signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  int r = corpus_write(in("keep.tok"), "x", big, sizeof big, VAL, sizeof VAL, NAN, NAN, &e);
  setrlimit(RLIMIT_FSIZE, &was);
  assert_refused(r, &e, E_IO, "keep.tok: cannot write");
  assert_true(hash_of(in("keep.tok")) == before);
  DIR *d = opendir(folder);
  for (struct dirent *f; (f = readdir(d));) assert_null(strstr(f->d_name, ".tmp"));
  closedir(d);
  assert_refused(corpus_write(in("no/such/folder.tok"), "x", TRAIN, 1, VAL, 1, NAN, NAN, &e), &e, E_IO, "folder.tok");
}

// ---- Text ---------------------------------------------------------------------------------------------

static void build(const char *source, const char *out, CorpusCounts *n) {
  Err e = {0};
  if (corpus_build(source, "test", out, n, &e)) fail_msg("%s", e.msg);
}

UNIT(text_is_split_into_whole_documents) {
  enum { N = 2000000 };
  CorpusCounts n;
  Corpus c;
  Err e = {0};
  char *text = make_text(1, N);
  write_file(in("a.txt"), text, N);
  build(in("a.txt"), in("a.tok"), &n);
  assert_int_equal(corpus_open(&c, in("a.tok"), &e), OK);
  assert_int_equal(n.bytes_read, N);
  assert_int_equal(n.bytes_repeated, 0);
  // All text is kept; each document gets a form feed, the last one its line end.
  assert_int_equal(c.n_train + c.n_val, N + n.documents + 1);
  // 5 %, and at most one document (1.5 x 16 KiB) more.
  assert_in_range(c.n_val, N / 100 * 5, N / 100 * 5 + 24576 + 2);
  assert_in_range(n.documents, N / 24576, N / 16384 + 1);
  // Every held-out document is a stretch of the source and is not in the training part.
  for (const uint8_t *p = c.val, *end; p < c.val + c.n_val; p = end + 1) {
    end = memchr(p, '\f', (size_t)(c.val + c.n_val - p));
    assert_non_null(end);
    size_t len = (size_t)(end - p) - 1;  // without a line end that was added
    assert_non_null(memmem(text, N, p, len));
    assert_null(memmem(c.train, c.n_train, p, len));
  }
  corpus_close(&c);
  free(text);
}

UNIT(order_and_names_do_not_matter) {
  const char *names[2][3] = {{"f1/a", "f1/b.txt", "f1/sub/c"}, {"f2/z.md", "f2/y/b", "f2/a.txt"}};
  assert_int_equal(mkdir(in("f1"), 0777) | mkdir(in("f1/sub"), 0777) | mkdir(in("f2"), 0777) | mkdir(in("f2/y"), 0777),
                   0);
  for (int k = 0; k < 2; k++)
    for (int i = 0; i < 3; i++) write_some(in("%s", names[k][i]), 10 + (uint64_t)i, 100000 + 5000 * (size_t)i);
  build(in("f1"), in("f1.tok"), NULL);
  build(in("f2"), in("f2.tok"), NULL);
  assert_true(hash_of(in("f1.tok")) == hash_of(in("f2.tok")));
  // Hidden files are no text of the user's.
  write_some(in("f2/.hidden"), 13, 100000);
  build(in("f2"), in("f3.tok"), NULL);
  assert_true(hash_of(in("f2.tok")) == hash_of(in("f3.tok")));
}

UNIT(gzip_is_read_as_its_text) {
  Err e = {0};
  char *text = make_text(2, 300000);
  write_file(in("g.txt"), text, 300000);
  gzFile g = gzopen(in("g.txt.gz"), "wb");
  assert_int_equal(gzwrite(g, text, 300000), 300000);
  gzclose(g);
  free(text);
  build(in("g.txt"), in("g1.tok"), NULL);
  build(in("g.txt.gz"), in("g2.tok"), NULL);
  assert_true(hash_of(in("g1.tok")) == hash_of(in("g2.tok")));
  char *packed;
  size_t n;
  assert_int_equal(file_read(in("g.txt.gz"), &packed, &n, &e), OK);
  write_file(in("cut.gz"), packed, n / 2);
  assert_refused(corpus_build(in("cut.gz"), "x", in("x.tok"), NULL, &e), &e, E_CORPUS,
                 "cut.gz: cannot read: the gzip file is cut short");
  packed[n / 2] ^= 0x55;
  write_file(in("hurt.gz"), packed, n);
  assert_refused(corpus_build(in("hurt.gz"), "x", in("x.tok"), NULL, &e), &e, E_CORPUS, "hurt.gz: cannot read");
  free(packed);
  assert_false(file_exists(in("x.tok")));
}

UNIT(repeats_are_dropped) {
  CorpusCounts n;
  Corpus c;
  Err e = {0};
  const char *refrain = "A paragraph of forty bytes or more, said twice.\n\n", *brief = "Brief ones stay.\n\n";
  char *text = make_text(3, 200000), *all = calloc(1, 800000);
  // The text, the refrain and the brief one; then all of it once more, with other line ends.
  sprintf(all, "%s\n\n%s%s%s%s", text, refrain, brief, refrain, brief);
  write_file(in("r.txt"), all, strlen(all));
  build(in("r.txt"), in("r.tok"), &n);
  assert_int_equal(n.bytes_repeated, strlen(refrain) + 2);  // and two line ends at the end
  assert_int_equal(corpus_open(&c, in("r.tok"), &e), OK);
  assert_non_null(memmem(c.map, c.map_bytes, "Brief ones stay.\n\nBrief ones stay.\n", 35));
  corpus_close(&c);
  // A folder with the same file twice, once with DOS line ends: as with the file alone.
  assert_int_equal(mkdir(in("twice"), 0777), 0);
  write_file(in("twice/1"), all, strlen(all));
  char *dos = calloc(1, 900000), *q = dos;
  for (const char *p = all; *p; p++) {
    if (*p == '\n') *q++ = '\r';
    *q++ = *p;
  }
  write_file(in("twice/2"), dos, (size_t)(q - dos));
  build(in("twice"), in("r2.tok"), &n);
  assert_int_equal(n.files, 2);
  assert_int_equal(corpus_open(&c, in("r2.tok"), &e), OK);
  assert_in_range(c.n_train + c.n_val, 200000, 200300);
  corpus_close(&c);
  free(dos);
  free(all);
  free(text);
}

UNIT(bad_sources_are_one_clear_line) {
  Err e = {0};
  const struct {
    const char *name;
    const char *says;
  } bad[] = {
      {"missing.txt", "missing.txt: cannot read: No such file"},
      {"empty.txt", "empty.txt: no text in it"},
      {"blank.txt", "blank.txt: no text in it"},
      {"nul.txt", "nul.txt: not text: it has NUL bytes"},
      {"control.txt", "control.txt: not text: more than 5 %"},
      {"short.txt", "short.txt: too short: "},
      {"same.txt", "same.txt: too short: "},
      {"emptydir", "emptydir: an empty folder"},
      {"bindir", "bindir: no text in it (1 files, of which 1 binary)"},
      {"fifo", "fifo: neither a file nor a folder"},
  };
  char *text = make_text(4, 200000);
  write_file(in("empty.txt"), "", 0);
  write_file(in("blank.txt"), "\n \n\t\n\f\n", 7);
  write_file(in("short.txt"), text, 60000);
  char *same = malloc(200000);
  for (int i = 0; i < 200000; i++) same[i] = "This one paragraph, over and over and over again.\n\n"[i % 51];
  write_file(in("same.txt"), same, 200000);
  free(same);
  for (int i = 0; i < 200000; i += 19) text[i] = 1;
  write_file(in("control.txt"), text, 200000);
  text[1000] = 0;
  write_file(in("nul.txt"), text, 200000);
  free(text);
  assert_int_equal(mkdir(in("emptydir"), 0777) | mkdir(in("bindir"), 0777) | mkfifo(in("fifo"), 0666), 0);
  write_file(in("bindir/x"), "\0\1\2", 3);
  for (int i = 0; i < COUNT(bad); i++) {
    assert_refused(corpus_build(in("%s", bad[i].name), "x", in("x.tok"), NULL, &e), &e, E_CORPUS, bad[i].says);
    assert_false(file_exists(in("x.tok")));
  }
  if (geteuid() != 0) {  // root reads everything
    write_some(in("secret.txt"), 5, 100000);
    chmod(in("secret.txt"), 0);
    assert_refused(corpus_build(in("secret.txt"), "x", in("x.tok"), NULL, &e), &e, E_CORPUS,
                   "secret.txt: cannot read: Permission denied");
  }
}

// ---- Names ----------------------------------------------------------------------------------------------

UNIT(names_resolve) {
  Err e = {0};
  char path[1024], again[1024];
  setenv("ISOFLOP_DATA", in("data"), 1);
  assert_refused(corpus_resolve("english", path, sizeof path, &e), &e, E_CORPUS, "make corpus-english");
  assert_refused(corpus_resolve("nonsense", path, sizeof path, &e), &e, E_CORPUS, "expected synthetic, english, code");
  assert_int_equal(corpus_resolve("none.tok", path, sizeof path, &e), E_CORPUS);
  assert_refused(corpus_resolve("english", path, 5, &e), &e, E_CORPUS, "path too long");

  write_some(in("My book.txt"), 6, 100000);
  assert_int_equal(corpus_resolve(in("My book.txt"), path, sizeof path, &e), OK);
  assert_non_null(strstr(path, "/data/My_book-"));
  Corpus c;
  assert_int_equal(corpus_open(&c, path, &e), OK);
  assert_string_equal(c.name, "My_book");
  corpus_close(&c);
  struct stat first, second;
  assert_int_equal(stat(path, &first), 0);
  assert_int_equal(corpus_resolve(in("My book.txt"), again, sizeof again, &e), OK);
  assert_string_equal(path, again);
  assert_int_equal(stat(path, &second), 0);
  assert_int_equal(first.st_ino, second.st_ino);  // not made again
  struct stat book;                               // an edit shows by its size alone, and by its time alone
  assert_int_equal(stat(in("My book.txt"), &book), 0);
  const struct timespec old[2] = {book.st_atim, book.st_mtim}, later[2] = {{1, 0}, {1, 0}};
  assert_int_equal(utimensat(AT_FDCWD, in("My book.txt"), later, 0), 0);
  assert_int_equal(corpus_resolve(in("My book.txt"), again, sizeof again, &e), OK);
  assert_string_not_equal(path, again);
  write_some(in("My book.txt"), 7, 100001);
  assert_int_equal(utimensat(AT_FDCWD, in("My book.txt"), old, 0), 0);
  assert_int_equal(corpus_resolve(in("My book.txt"), again, sizeof again, &e), OK);
  assert_string_not_equal(path, again);
  assert_true(hash_of(path) != hash_of(again));
  assert_int_equal(corpus_resolve(path, again, sizeof again, &e), OK);  // a .tok is itself
  assert_string_equal(path, again);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(round_trip),
      cmocka_unit_test(every_damaged_byte_is_seen),
      cmocka_unit_test(full_disk_leaves_the_old_file),
      cmocka_unit_test(text_is_split_into_whole_documents),
      cmocka_unit_test(order_and_names_do_not_matter),
      cmocka_unit_test(gzip_is_read_as_its_text),
      cmocka_unit_test(repeats_are_dropped),
      cmocka_unit_test(bad_sources_are_one_clear_line),
      cmocka_unit_test(names_resolve),
  };
  return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
