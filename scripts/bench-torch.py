#!/usr/bin/python3
"""The same training step in PyTorch, in alternation with `isoflop bench step`: ms, min and max, and the ratio.

In: build/isoflop (or --isoflop PATH), Debian's python3-torch. Out: a table (or --csv) on stdout.
PyTorch is set up as well as we know how: OpenBLAS of the OpenMP flavour and not pinned to an old core, ATen with AVX-512 where
the CPU has it, memory that is kept instead of returned to the kernel, attention as baddbmm with a ready mask, gradients set to
None, AdamW over lists of tensors. Its model is a little lighter than ours: layer norm and learned positions, which it has as
single operations, for RMSNorm, rotary positions and normalised queries and keys.

  scripts/bench-torch.py                       T = 128 with 1 and 8 sequences, T = 256 with 2 and 8, 1 thread
  scripts/bench-torch.py --threads 2 --shapes 64,3,2,256,8 128,4,4,256,8
  scripts/bench-torch.py --precision bf16      autocast, against precision = bf16
"""
import argparse
import csv
import glob
import os
import re
import statistics
import subprocess
import sys
import time

SMALL = [(d, layers, heads, 128, b) for b in (1, 8)
         for d, layers, heads in ((16, 1, 2), (24, 2, 2), (32, 2, 2), (48, 3, 2), (64, 3, 2), (96, 4, 3))]
LARGE = [(d, layers, heads, 256, b) for b in (2, 8)
         for d, layers, heads in ((32, 2, 2), (64, 3, 2), (96, 4, 3), (128, 4, 4), (192, 5, 6), (256, 6, 8), (384, 8, 6), (512, 8, 8))]
VOCAB = 256


def best_vectors():  # ATen takes the name without asking the CPU
    return "avx512" if "avx512f" in open("/proc/cpuinfo").read() else "avx2"


def openblas_kernels(isoflop):
    """Those that our bench measures OpenBLAS with: its own choice, unless it does not know the CPU."""
    said = subprocess.run([isoflop, "bench", "gemm", "--csv", "--kernels", "openblas", "--seconds", "0.001"], capture_output=True, text=True)
    return re.findall(r"^# openblas \((\w+)\)", said.stderr, re.M)


def tuned_environment(threads, isoflop):
    env = dict(os.environ)
    for key in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_NUM_THREADS"):
        env.pop(key, None)
    for name in openblas_kernels(isoflop):
        env["OPENBLAS_CORETYPE"] = name
    openmp = glob.glob("/usr/lib/*/openblas-openmp")
    env.update(OMP_NUM_THREADS=str(threads), ATEN_CPU_CAPABILITY=best_vectors(), MALLOC_MMAP_THRESHOLD_=str(4 << 30),
               MALLOC_TRIM_THRESHOLD_=str(4 << 30), MALLOC_TOP_PAD_=str(256 << 20), ISOFLOP_BENCH_TORCH=str(threads))
    if openmp:
        env["LD_LIBRARY_PATH"] = openmp[0]
    return env


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--isoflop", default="build/isoflop")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--repetitions", type=int, default=9)
    p.add_argument("--seconds", type=float, default=0.3, help="of measuring each side in each repetition")
    p.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    p.add_argument("--shapes", nargs="*", metavar="d,layers,heads,seq,batch")
    p.add_argument("--csv", action="store_true")
    a = p.parse_args()
    a.shapes = [tuple(int(x) for x in s.split(",")) for s in a.shapes] if a.shapes else SMALL + LARGE
    return a


def model_class(torch, d, layers, heads, seq):
    nn = torch.nn
    functional = torch.nn.functional

    class Block(nn.Module):
        def __init__(self, mask):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
            self.qkv, self.proj = nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d, bias=False)
            self.fc, self.out = nn.Linear(d, 4 * d, bias=False), nn.Linear(4 * d, d, bias=False)
            self.mask = mask

        def forward(self, x):
            batch = x.shape[0]
            q, k, v = (t.transpose(1, 2).reshape(batch * heads, seq, d // heads)
                       for t in self.qkv(self.norm1(x)).view(batch, seq, 3, heads, d // heads).unbind(2))
            s = torch.baddbmm(self.mask.to(q.dtype), q, k.transpose(1, 2), alpha=(d // heads) ** -0.5)
            o = torch.bmm(torch.softmax(s, -1), v).view(batch, heads, seq, d // heads).transpose(1, 2).reshape(batch, seq, d)
            x = x + self.proj(o)
            return x + self.out(functional.gelu(self.fc(self.norm2(x)), approximate="tanh"))

    class Gpt(nn.Module):
        def __init__(self):
            super().__init__()
            mask = torch.full((1, seq, seq), float("-inf")).triu(1)
            self.embed, self.position = nn.Embedding(VOCAB, d), nn.Parameter(torch.zeros(seq, d))
            self.blocks = nn.ModuleList(Block(mask) for _ in range(layers))
            self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, VOCAB, bias=False)

        def forward(self, tokens, targets):
            x = self.embed(tokens) + self.position
            for block in self.blocks:
                x = block(x)
            return functional.cross_entropy(self.head(self.norm(x)).view(-1, VOCAB).float(), targets.view(-1))

    return Gpt


def torch_stepper(torch, shape, bf16):
    d, layers, heads, seq, batch = shape
    torch.manual_seed(1)
    model = model_class(torch, d, layers, heads, seq)()
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, foreach=True)
    tokens = torch.randint(VOCAB, (batch, seq + 1))
    inputs, targets = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()

    def step():
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = model(inputs, targets)
        loss.backward()
        grads = [p.grad for p in parameters]  # clipped by the norm of all, with as few operations as there are
        norm = float(torch.stack(torch._foreach_norm(grads)).norm())
        if norm > 1.0:
            torch._foreach_mul_(grads, 1.0 / norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def torch_time(step, seconds):
    """Median ms of the steps of so many seconds, after one that warms up: as `isoflop bench step` does it."""
    step()
    times, began = [], time.perf_counter()
    while not times or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def isoflop_time(a, shape):
    d, layers, heads, seq, batch = shape
    sets = dict(d_model=d, n_layers=layers, n_heads=heads, seq_len=seq, batch_tokens=seq * batch, precision=a.precision)
    command = [a.isoflop, "bench", "step", "--csv", "--threads", str(a.threads), "--seconds", str(a.seconds)]
    for key, value in sets.items():
        command += ["--set", f"{key}={value}"]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "LD_LIBRARY", "OMP_"))}
    row = list(csv.DictReader(subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout.splitlines()))[0]
    return float(row["ms_median"]), float(row["gflops_exact"]) * float(row["ms_median"]), float(row["pct_peak"]), float(row["rss_mb"])


def main():
    a = parse()
    if os.environ.get("ISOFLOP_BENCH_TORCH") != str(a.threads):  # what the loader and malloc read has to be set before the start
        os.execve(sys.executable, [sys.executable] + sys.argv, tuned_environment(a.threads, a.isoflop))
    try:
        import torch
    except ImportError:
        sys.exit("bench-torch: no PyTorch here: apt-get install python3-torch, and run with /usr/bin/python3")
    torch.set_num_threads(a.threads)
    blas = [line.split()[-1] for line in open("/proc/self/maps") if "blas" in line and "r-xp" in line]
    print(f"# PyTorch {torch.__version__}, {a.threads} thread(s), {', '.join(sorted(set(blas))) or 'no BLAS found'} "
          f"({os.environ.get('OPENBLAS_CORETYPE', 'its choice')}); {a.precision}; "
          f"{a.repetitions} alternated repetitions of {a.seconds} s a side: median [min, max]", file=sys.stderr)
    names = ["d_model", "n_layers", "n_heads", "seq", "batch_seqs", "threads", "precision", "ours_ms", "ours_min", "ours_max",
             "ours_pct_peak", "ours_rss_mb", "torch_ms", "torch_min", "torch_max", "torch_pct_peak", "ratio"]
    if a.csv:
        print(",".join(names))
    else:
        print(f"{'d,layers,heads':>14} {'T':>4} {'B':>2}  {'ours ms':>9} {'[min, max]':>20} {'%peak':>5}  {'PyTorch ms':>10} {'[min, max]':>20} "
              f"{'%peak':>5}  {'ratio':>6}")
    for shape in a.shapes:
        d, layers, heads, seq, batch = shape
        step = torch_stepper(torch, shape, a.precision == "bf16")
        step()
        ours, theirs, peaks = [], [], []
        for _ in range(a.repetitions):
            ms, mflops, pct, rss = isoflop_time(a, shape)
            ours.append(ms)
            peaks.append(mflops / ms / pct)  # the FMA peak that this repetition saw, in units of GFLOP/s / 100
            theirs.append(torch_time(step, a.seconds))
        us, them, peak = statistics.median(ours), statistics.median(theirs), statistics.median(peaks)
        if a.csv:
            print(",".join(str(x) for x in (*shape, a.threads, a.precision, f"{us:.4f}", f"{min(ours):.4f}", f"{max(ours):.4f}",
                                            f"{mflops / us / peak:.1f}", f"{rss:.1f}", f"{them:.4f}", f"{min(theirs):.4f}",
                                            f"{max(theirs):.4f}", f"{mflops / them / peak:.1f}", f"{them / us:.3f}")), flush=True)
        else:
            print(f"{d:>6},{layers:>3},{heads:>3} {seq:>4} {batch:>2}  {us:>9.3f} {f'[{min(ours):.3f}, {max(ours):.3f}]':>20} "
                  f"{mflops / us / peak:>5.0f}  {them:>10.3f} {f'[{min(theirs):.3f}, {max(theirs):.3f}]':>20} "
                  f"{mflops / them / peak:>5.0f}  {them / us:>5.2f}x", flush=True)


if __name__ == "__main__":
    main()
