# Pictures of `isoflop bench gemm --out DIR`: DIR/gemm.svg and .png, GFLOP/s against the size of a square product, a line
# a rung of the ladder; DIR/roofline.svg and .png, GFLOP/s of training products against FLOPs per byte of their operands.
# In: DIR/gemm.csv, DIR/machine.gp. Usage: gnuplot -e "dir='out/bench'" scripts/bench-gemm-plot.gp
# Reference: Williams, Waterman & Patterson, "Roofline" (2009).
if (!exists("dir")) dir = "out/bench"
load dir."/machine.gp"
csv = dir."/gemm.csv"
set datafile separator ","
set grid lc rgb "#d8d8d8" lw .5
set border 3
set tics nomirror
rungs = system("awk -F, 'NR > 1 && !seen[$1]++ {print $1}' ".csv)
fast = system("awk -F, 'NR > 1 && $1 !~ /^scalar/ && !seen[$1]++ {print $1}' ".csv)
# the portable rungs from violet to green, each instruction set a colour, libraries in reds and greys
names = "scalar_naive scalar_interchange scalar_blocked scalar_packed scalar avx2 avx512 avx512bf16 avx512amx neon openblas blis onednn libxsmm"
colors = "440154 46327e 365c8d 277f8e 1fa187 4ac16d f58518 b8a100 d4449c f58518 d62728 7f7f7f e377c2 8c564b"
color(name) = (at = 0, sum [j = 1:words(names)] (word(names, j) eq name ? at = j : 0), at ? int(real("0x".word(colors, at))) : 0)
rows(kernel, ops, thr) = sprintf("< awk -F, '$1 == \"%s\" && $2 ~ /^(%s)$/ && $6 == %d' %s", kernel, ops, thr, csv)
# the fastest of all, and room above it: AMX multiplies far beyond the fp32 peak
top = 1.3 * system(sprintf("awk -F, -v p=%g 'NR > 1 && $7 > p {p = $7} END {print p}' %s", peak, csv))

do for [kind in "svg png"] {
  if (kind eq "svg") { set terminal svg size 760,480 font "Helvetica,13" background "#ffffff" }
  else { set terminal pngcairo size 1520,960 font "Helvetica,26" background "#ffffff" }

  set output dir."/gemm.".kind
  unset logscale
  set title sprintf("C = A B, n × n, 1 thread; the peak is %.0f GFLOP/s", peak)
  set xlabel "n"
  set ylabel "GFLOP/s"
  set logscale x 2
  set logscale y
  set xrange [48:2800]
  set yrange [.3:top]
  set key outside right center
  plot peak lc rgb "#888888" dt 2 title "FMA peak", \
    for [i = 1:words(rungs)] rows(word(rungs, i), "square", 1) using 3:7 with linespoints pt 7 ps .8 lw 2 \
      lc rgb color(word(rungs, i)) title word(rungs, i) noenhanced

  set output dir."/roofline.".kind
  set title "Products of training, 1 thread, under the roofline of this machine"
  set xlabel "FLOPs per byte of A, B and C, each moved once"
  set logscale x 10
  set xrange [2:500]
  set yrange [peak / 10:top]
  # an accumulated product (dw) reads C too
  intensity(m, n, k, acc) = 2. * m * n * k / (4. * (m * k + k * n + (1 + acc) * m * n))
  plot (x * bandwidth < peak ? x * bandwidth : peak) lc rgb "#444444" lw 2 title sprintf("peak, %.1f GB/s", bandwidth), \
    for [i = 1:words(fast)] rows(word(fast, i), "forward|dx|dw|scores|values", 1) \
      using (intensity($3, $4, $5, strcol(2) eq "dw")):7 with points pt 7 ps 1 \
      lc rgb color(word(fast, i)) title word(fast, i) noenhanced
}
