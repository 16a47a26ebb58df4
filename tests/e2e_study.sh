#!/bin/sh
# A study of several parts, end to end at toy size: stages that wait for records, a forecast before its pair, the same
# bytes after a kill. Speaks TAP. Environment: ISOFLOP (default build/isoflop).
. "$(dirname "$0")/lib.sh"
cat >"$T/study.ini" <<'END'
[study]
budgets = 2e8, 4e8, 8e8, 1.6e9
sizes_per_budget = 5
params_range = 4000, 40000
[model]
seq_len = 32
[eval]
eval_tokens = 2048
eval_points = 2
[part isoflop]
recentre = 2
span = 3
[part horizons]
kind = horizons
sizes_per_budget = 3
tokens_per_param = 0.3, 5
horizons = 3
[part rates]
budgets = 4e8
sizes_per_budget = 2
vary = lr_scale 0.5 2
[part verdict]
kind = verdict
budgets = 1.28e10
[part verdict-text]
kind = verdict
budgets = 1.6e10
END
cat src/*.c >"$T/text.txt"  # another corpus, for the last part
sweep() { "$ISOFLOP" sweep --config "$T/study.ini" --set "verdict-text:corpus=$T/text.txt" "$@"; }
runs() { awk -F, 'NR > 1' "$1/runs.csv" | wc -l; }
of_budget() { awk -F, -v b="$2" 'NR > 1 && $4 == b' "$1/runs.csv" | wc -l; }
earlier() {  # earlier FILE FILE...: is the first older than all others?
  first=$1; shift
  for f; do [ "$first" -ot "$f" ] || { echo "$first is not older than $f"; return 1; }; done
}
pair() { "$ISOFLOP" verdict "$1" >/dev/null && awk -F, 'NR > 1 && $4 == 1.28e10 { print $1 }' "$1/runs.csv"; }

# verdict ROW COLUMN: of the table that `isoflop verdict` leaves; row 1 is the first model
verdict() { awk -F, -v row="$1" -v name="$2" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) c = i; next }
  NR == row + 1 { print $c }' "$T/one/verdict.csv"; }
number() { echo "$1" | awk '{ exit !($1 > 0 && $1 < 1e300) }'; }

ok "a study of five parts" sweep --out "$T/one" --workers 2
ok "33 runs and two pairs: sizes, horizons, rates" [ "$(runs "$T/one")" -eq 37 ]
ok "two of them are the verdict's" [ "$(of_budget "$T/one" 12800000000)" -eq 2 ]
ok "their forecast was written before they were trained" eval 'for id in $(pair "$T/one"); do
  earlier "$T/one/forecast-verdict.ini" "$T/one/runs/$id/model.bin" || exit 1; done'
ok "the verdict is printed" eval '"$ISOFLOP" verdict "$T/one" >"$T/verdict" && grep -q "^verdict: 1.28e10 FLOPs on synthetic" "$T/verdict" &&
  [ "$(grep -cE "^  (the recommended size wins|the larger size wins: the recommendation FAILS)" "$T/verdict")" -eq 2 ]'
ok "it has a forecast and a measure of each model" [ "$(grep -cE "^  (recommended|4x larger) .* (pass|FAIL) " "$T/verdict")" -eq 4 ]
ok "and of each on text that it has never seen" [ "$(grep -c "which it has never seen: .* bits per byte" "$T/verdict")" -eq 4 ]
ok "a line a model, of which the first is the recommended one" [ "$(verdict 1 size),$(verdict 2 size)$(verdict 5 size)" = recommended,larger ]
ok "pass is a loss inside the forecast's interval, fail one outside" eval 'for row in 1 2 3 4; do
  echo "$(verdict $row loss) $(verdict $row p10) $(verdict $row p90) $(verdict $row verdict)" | awk "
    { exit (\$4 == \"pass\") != (\$1 >= \$2 && \$1 <= \$3) }" || { echo "row $row"; exit 1; }; done'
ok "of each pair the lower loss wins" eval '[ "$(grep -oE "recommended size wins|larger size wins" "$T/verdict")" = "$(for row in 1 3; do
  echo "$(verdict $row loss) $(verdict $((row + 1)) loss)"; done | awk "{ print (\$1 < \$2 ? \"recommended\" : \"larger\") \" size wins\" }")" ]'
ok "the loss is the record's" [ "$(verdict 2 loss)" = "$(awk -F, -v id="$(verdict 2 run_id)" '$1 == id { print $17 }' "$T/one/runs.csv")" ]
ok "the other corpus is the other verdict's" [ "$(verdict 1 other_corpus),$(verdict 3 other_corpus)" = "$T/text.txt,synthetic" ]
ok "every number is there" eval 'for row in 1 2 3 4; do for column in bits_per_byte bits_per_byte_se word_perplexity \
  flops_per_token_forward other_bits_per_byte other_bits_per_byte_se other_word_perplexity other_passages; do
  number "$(verdict $row $column)" || { echo "row $row: $column"; exit 1; }; done; done'
ok "a model of a corpus knows it better than one of another does" eval \
  'echo "$(verdict 1 bits_per_byte) $(verdict 3 other_bits_per_byte)" | awk "{ exit !(\$1 < \$2) }"'
ok "the finished study trains nothing" eval 'sweep --out "$T/one" >"$T/again" && ! grep "to go on" "$T/again"'
ok "killed in the middle" eval 'sweep --out "$T/two" --workers 2 >"$T/log" & pid=$!
  while [ "$(ls "$T/two/runs" 2>/dev/null | wc -l)" -lt 12 ]; do sleep 0.05; done; kill -9 $pid; wait $pid; [ $? -eq 137 ]'
ok "and gone on with, by one worker" sweep --out "$T/two" --workers 1
ok "the same runs to the byte" same_results "$T/one" "$T/two"
ok "the same forecast to the byte" cmp "$T/one/forecast-verdict.ini" "$T/two/forecast-verdict.ini"
ok "the laws are those of two parts" eval '"$ISOFLOP" fit --selftest 0 "$T/one" | grep -E "(29|28) of (29|28) runs used"'
echo "1..$n"
