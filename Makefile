# isoflop: `make help` lists the targets.
B       ?= build
ifeq ($(origin CC),default)
CC      := gcc
endif
V       ?= 0
Q       := $(if $(filter 1,$V),,@)
OPT     ?= -O3 -g
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla $(if $(DEV),-Werror)
# No -march, no -ffast-math: the binary runs on any CPU of its architecture and NaN stays NaN. Loops begin at a multiple
# of 32 bytes, since a short one that lies across two lines of the code's cache takes up to 1.5 times as long.
override CFLAGS += -std=gnu11 -falign-loops=32 $(OPT) $(WARN) -fopenmp -MMD -MP -D_GNU_SOURCE -Ikernels -Isrc $(SAN)
ARCH    := $(shell $(CC) -dumpmachine | cut -d- -f1)
# OpenBLAS's OpenMP flavour by its folder: where the pthread flavour is installed too, Debian would link that one.
BLAS    := $(wildcard /usr/lib/$(ARCH)-linux-gnu/openblas-openmp)
LDLIBS  += $(foreach d,$(BLAS),-L$d -Wl,-rpath,$d) -linih -ljansson -llbfgs -lz -lopenblas -lm
VERSION := 0.2
COMMIT  := $(shell git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null || echo unknown)

ifeq ($(ARCH),x86_64)
FLAGS_avx2       := -mavx2 -mfma
FLAGS_avx512     := -mavx512f -mavx512vl -mavx512bw -mavx512dq -mfma -mavx2 -mprefer-vector-width=512
FLAGS_avx512bf16 := $(FLAGS_avx512) -mavx512bf16
FLAGS_avx512amx  := $(FLAGS_avx512) -mamx-tile -mamx-bf16
endif

FAULTS   = $(if $(filter x86_64,$(ARCH)),$B/fault_inject.so)
isa      = $(lastword $(subst _, ,$(basename $(notdir $1))))
KERN    := $(patsubst %,$B/%.o,$(basename $(wildcard kernels/*.[cS])))
SRC     := $(patsubst %.c,$B/%.o,$(filter-out src/main.c,$(wildcard src/*.c)))
TESTS   := $(patsubst tests/%.c,$B/tests/%,$(wildcard tests/test_*.c) tests/checkkern.c)

# What `make sweep` trains on: english, code, synthetic, or a path to a .txt, .gz, .tok or a folder; and where its study goes.
CORPUS  ?= english
OUT     ?= out/sweep-$(basename $(notdir $(CORPUS:%/=%)))
STUDY   ?= out/study

.PHONY: all sweep study report bench corpus corpus-english corpus-code check test test-neon test-avx512 asan ubsan valgrind cover tidy fmt clean help FORCE
all: $B/isoflop  ## build/isoflop

$B/%.o: %.c Makefile $B/flags
	@mkdir -p $(@D); echo "  CC $<"
	$Q$(CC) $(CFLAGS) $(FLAGS_$(call isa,$<)) -c $< -o $@
$B/%.o: %.S Makefile $B/flags
	@mkdir -p $(@D); echo "  AS $<"
	$Q$(CC) -MMD -MP $(filter -g,$(OPT)) -c $< -o $@
# All is compiled anew when the compiler or its flags change, and what a record says of its program when that does.
FLAGS   := $(CC) $(CFLAGS)
BUILT   := -DISOFLOP_VERSION='"$(VERSION)"' -DISOFLOP_COMMIT='"$(COMMIT)"' -DISOFLOP_FLAGS='"$(strip $(OPT) $(SAN))"'
$B/src/train.o: override CFLAGS += $(BUILT)
$B/src/train.o: $B/built
$B/built: FORCE
	@mkdir -p $B; echo "$(BUILT)" | cmp -s - $@ || echo "$(BUILT)" >$@
$B/flags: FORCE
	@mkdir -p $B; echo "$(FLAGS)" | cmp -s - $@ || echo "$(FLAGS)" >$@
FORCE:
$B/isoflop: $B/src/main.o $(SRC) $(KERN)
	@echo "  LD $@"
	$Q$(CC) $(CFLAGS) $^ $(LDLIBS) -o $@
$B/tests/%: $B/tests/%.o $(SRC) $(KERN)
	@echo "  LD $@"
	$Q$(CC) $(CFLAGS) $^ $(LDLIBS) -lcmocka -o $@
$B/tests/test_model: $B/tests/ref_gpt.o
$B/tests/test_vec: $B/tests/bench_vec.o
$B/tests/test_checkpoint: LDLIBS += -Wl,--wrap=malloc
$B/tests/test_util: LDLIBS += -Wl,--wrap=realloc
.SECONDARY:
$B/fault_inject.so: tests/fault_inject.c
	@mkdir -p $(@D); echo "  LD $@"
	$Q$(CC) -std=gnu11 -O2 -g $(WARN) -D_GNU_SOURCE -shared -fPIC $< -o $@

sweep: $B/isoflop corpus  ## the default study on CORPUS=english|code|synthetic|PATH: trains, fits, draws OUT/report.html
	$B/isoflop sweep --config configs/sweep.ini --set corpus=$(CORPUS) --out $(OUT)
	@$(MAKE) --no-print-directory report
study: $B/isoflop corpus-english corpus-code  ## the whole study: 841 runs, every figure and table, STUDY/report.html (1 to 1.5 hours)
	$B/isoflop tune --config configs/tune.ini --out $(STUDY)/tune
	$B/isoflop plan --forecast --config configs/study.ini --config $(STUDY)/tune/recipe.ini
	$B/isoflop sweep --config configs/study.ini --config $(STUDY)/tune/recipe.ini --out $(STUDY)
	$B/isoflop verdict $(STUDY)
	$B/isoflop report $(STUDY)
report: $B/isoflop  ## fits and figures again from the runs that OUT has
	$B/isoflop report $(OUT)
bench: $B/isoflop  ## the ladder of matrix products and the training step: tables, out/bench/gemm.csv, pictures (2 minutes)
	$B/isoflop bench gemm --out out/bench
	gnuplot -e "dir='out/bench'" scripts/bench-gemm-plot.gp
	$B/isoflop bench step
corpus: $(addprefix corpus-,$(filter english code,$(CORPUS)))
corpus-english corpus-code: corpus-%: $B/isoflop  ## real text from Debian packages, no root, nothing installed
	$Q[ -f $${ISOFLOP_DATA:-data}/$*.tok ] || ISOFLOP=$B/isoflop scripts/corpus.sh $*
check: $B/isoflop $(TESTS)  ## the unit tests: under a minute
	$Qtests/run.sh $B $(notdir $(TESTS))
test: $B/isoflop $(TESTS) $(FAULTS)  ## all tests; the last line is "N passed, N failed"
	$Qtests/run.sh $B
.PHONY: test-corruption test-disk test-memory test-kills test-random-kills
test-disk test-memory test-kills: $B/isoflop $(FAULTS)  ## the disk, the memory fails, a SIGKILL comes at each STEPth demand (default: all)
	STEP=$(or $(STEP),1) ONLY=$(subst kills,kill,$(@:test-%=%)) ISOFLOP=$(abspath $<) sh tests/e2e_faults.sh
test-random-kills: $B/isoflop  ## training killed KILLS times (default 1000) at random moments and resumed
	KILLS=$(or $(KILLS),1000) ISOFLOP=$(abspath $<) sh tests/e2e_kills.sh
test-corruption: $B/tests/test_corruption  ## every STRIDEth bit of each kind of file turned over, every STRIDEth length (default: all)
	STRIDE=$(or $(STRIDE),1) $<
# libFuzzer sees the parsers' own objects; the rest is linked as it is.
FUZZED  := $(patsubst %,src/%.c,checkpoint config corpus fit_envelope fit_import record recipe shape study util)
FUZZ_FLAGS = -std=gnu11 -O1 -g -D_GNU_SOURCE -DFUZZER -Ikernels -Isrc -fsanitize=fuzzer,address,undefined,float-cast-overflow \
             -fno-sanitize-recover=all
.PHONY: fuzz
$B/fuzz: tests/test_fuzz.c $(FUZZED) $(SRC) $(KERN)
	clang $(FUZZ_FLAGS) $< $(FUZZED) $(filter-out $(FUZZED:%.c=$B/%.o),$(filter %.o,$^)) $(LDLIBS) -lgomp -o $@
fuzz: $B/fuzz $B/tests/test_fuzz  ## libFuzzer on each parser, or on FUZZ="csv json", SECONDS=60 each; finds go to out/fuzz
	$Qfor t in $(or $(FUZZ),study override corpus checkpoint record csv json curve); do \
	  d=out/fuzz/$$t; mkdir -p $$d; export FUZZ_TARGET=$$t; \
	  $B/tests/test_fuzz --seeds $$d && $B/fuzz -max_total_time=$(or $(SECONDS),60) -max_len=4096 -timeout=10 -rss_limit_mb=2048 \
	    -verbosity=0 -print_final_stats=1 -artifact_prefix=out/fuzz/$$t- $$d || exit 1; done
.PHONY: test-fire test-sweep-kills test-determinism test-slurm test-nfs
test-fire: $B/isoflop  ## 16 x SEEDS (default 25) cells, 8 workers, a tenth failing, 3 workers killed, clocks 5 minutes off
	SEEDS=$(or $(SEEDS),25) ISOFLOP=$(abspath $<) sh tests/e2e_fire.sh
test-sweep-kills: $B/isoflop  ## KILLS (default 200) SIGKILLs of sweeps, workers and runs, over SWEEPS (default 20) small sweeps
	KILLS=$(or $(KILLS),200) SWEEPS=$(or $(SWEEPS),20) ISOFLOP=$(abspath $<) sh tests/e2e_sweep_kills.sh
test-determinism: $B/isoflop  ## a hash of one study run in every way: workers, threads, order, kills, Slurm (root; 15 minutes)
	FULL=1 ISOFLOP=$(abspath $<) sh tests/e2e_determinism.sh
test-slurm: $B/isoflop  ## an array of workers on a real Slurm on this machine (root; 5 minutes)
	bash tests/slurm.sh $B
test-nfs: $B/isoflop  ## workers on two clients of a real NFS, in an emulated machine: kills, a network that fails (root; 6 minutes)
	bash tests/nfs.sh $B
test-neon:  ## the ARM kernels, cross-built, run under qemu
	$Qsh tests/neon.sh $B
test-avx512: $(addprefix $B/tests/,test_softmax test_vec checkkern)  ## the AVX-512 kernels in an emulated CPU (5 minutes)
	bash tests/avx512.sh $B
asan:  ## all tests under the address and leak sanitizer
	$QASAN_OPTIONS=allocator_may_return_null=1 $(MAKE) --no-print-directory B=build-asan OPT="-O1 -g" \
	  SAN="-fsanitize=address -fno-omit-frame-pointer" test
ubsan:  ## all tests under the undefined-behaviour sanitizer
	$Q$(MAKE) --no-print-directory B=build-ubsan OPT="-O1 -g" SAN="-fsanitize=undefined -fno-sanitize-recover=all" test
# Valgrind knows no AVX-512, so these take the AVX2 kernels; definite leaks and every other finding end it. test_bench
# compares the resident size, which under valgrind is valgrind's.
valgrind: $(TESTS)  ## the unit tests under valgrind, or those named by ONLY="test_record ..."
	$Qfor t in $(or $(ONLY),$(filter-out test_bench,$(notdir $(TESTS)))); do echo "  VALGRIND $$t"; \
	  valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite $B/tests/$$t >/dev/null || exit 1; done
cover:  ## line and branch coverage of all tests, a file a line, then of all
	$Qrm -rf build-cover
	-$Q$(MAKE) --no-print-directory B=build-cover OPT="-O1 -g --coverage -fprofile-update=atomic" test
	$Qfor d in kernels src; do gcov -nb build-cover/$$d/*.gcda; done 2>/dev/null | sed 's/% of /:/' | awk -F'[:\047]' ' \
	  function row(f, n, l, m, t) { printf "%-32s %6.1f %% of %5d lines  %6.1f %% of %5d branches\n", f, l, n, t, m } \
	  function flush() { if (f) { row(f, n, l, m, t); N += n; L += n * l; M += m; T += m * t } f = ""; n = m = t = 0 } \
	  /^File/ { flush(); f = $$2 ~ /^(src|kernels)\/.*c$$/ ? $$2 : "" } \
	  /^Lines/ && !n { l = $$2; n = $$3 } /^Taken/ { t = $$2; m = $$3 } /^$$/ { flush() } \
	  END { flush(); row("all", N, L / N, M, T / M) }'
tidy:  ## clang-tidy with the checks of .clang-tidy
	$Qfor f in $(wildcard src/*.c kernels/*.c tests/*.c); do \
	  case $$f in *avx512*) isa="$(FLAGS_avx512bf16) $(FLAGS_avx512amx)" ;; *avx2*) isa="$(FLAGS_avx2)" ;; *) isa= ;; esac; \
	  clang-tidy --quiet $$f -- $(filter -std% -f% -D% -I%,$(CFLAGS)) $$isa 2>/dev/null || bad=1; done; [ -z "$$bad" ]
fmt:  ## clang-format the files named by F="...", or those changed since the last commit
	$Qclang-format -i $(or $F,$(shell git diff --name-only HEAD -- '*.c' '*.h'))
clean:  ## remove everything that was built
	rm -rf build build-*
help:  ## this list
	@grep -hE '^[a-z0-9-]+( [a-z0-9-]+)*:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 28

-include $(shell find $B -name '*.d' 2>/dev/null)
