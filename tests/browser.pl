#!/usr/bin/perl
# browser.pl CHROMIUM REPORT.html OUT: opens a report in headless Chromium and clicks through it; speaks TAP. Talks to the
# browser over its debugging pipe (NUL-terminated JSON on descriptors 3 and 4), so that it needs nothing but perl. Leaves
# light.png, dark.png and print.pdf in OUT.
use strict;
use warnings;
use Fcntl;
use MIME::Base64;

my ($chromium, $page, $out) = @ARGV;
my ($id, $tests, $failed, $session, $buffer) = (0, 0, 0, undef, '');

# ---- The browser ------------------------------------------------------------------------------------------

pipe(my $in, my $to) && pipe(my $from, my $back) or die "pipe: $!";
my $browser = fork // die "fork: $!";
if (!$browser) {
  require POSIX;
  fcntl($_, F_SETFD, 0) for $in, $back;
  # Both ends may be 3 or 4 already: first out of the way.
  my ($r, $w) = (POSIX::dup(fileno $in), POSIX::dup(fileno $back));
  ($r, $w) = map { my $fd = $_; $fd = POSIX::dup($fd) while $fd < 10; $fd } $r, $w;
  POSIX::dup2($r, 3), POSIX::dup2($w, 4);
  open STDOUT, '>', '/dev/null';
  open STDERR, '>', "$out/chromium.log";
  my @flags = map { "--$_" } qw(headless no-sandbox disable-gpu disable-dev-shm-usage remote-debugging-pipe
    hide-scrollbars no-first-run), 'window-size=1200,900', "user-data-dir=$out/profile";
  exec($chromium, @flags, 'about:blank') or POSIX::_exit(127);
}
close $in, close $back;
$to->autoflush(1);
END { kill 'TERM', $browser if $browser; }
$SIG{ALRM} = sub { print "not ok - the browser answers in time\n"; exit 1 };
alarm 300;

sub message {    # the next message of the browser
  while (index($buffer, "\0") < 0) {
    sysread($from, $buffer, 1 << 16, length $buffer) or die "the browser is gone: see $out/chromium.log\n";
  }
  my $end = index($buffer, "\0");
  my $text = substr($buffer, 0, $end);
  $buffer = substr($buffer, $end + 1);
  return $text;
}

sub call {       # a method and its parameters as JSON; its answer
  my ($method, $params) = @_;
  $id++;
  my $where = $session ? ",\"sessionId\":\"$session\"" : '';
  print $to "{\"id\":$id,\"method\":\"$method\",\"params\":", $params || '{}', "$where}\0";
  while (1) {
    my $m = message();
    return $m if $m =~ /^\{"id":$id\b/;
  }
}

sub quoted { my $s = shift; $s =~ s/([\\"])/\\$1/g; $s =~ s/\n/\\n/g; return "\"$s\"" }

# The text that a JavaScript expression gives.
sub js {
  my $m = call('Runtime.evaluate', '{"expression":' . quoted("Promise.resolve($_[0]).then(String)") . ',"awaitPromise":true}');
  return $1 if $m =~ /"type":"string","value":"((?:[^"\\]|\\.)*)"/;
  return "error: $m";
}

sub check {
  my ($good, $what, $why) = @_;
  $tests++;
  print $good ? '' : 'not ', "ok $tests - $what\n";
  if (!$good) { $failed++; print "# $why\n" }
}
sub is { my ($said, $wanted, $what) = @_; check($said eq $wanted, $what, "said '$said', expected '$wanted'") }

sub click { my ($x, $y) = @_;
  call('Input.dispatchMouseEvent', "{\"type\":\"$_\",\"x\":$x,\"y\":$y,\"button\":\"left\",\"clickCount\":1}")
    for qw(mousePressed mouseReleased);
}
sub save { my ($name, $method, $params) = @_;
  my ($data) = call($method, $params) =~ /"data":"([^"]*)"/ or return 0;
  open my $f, '>', "$out/$name" or die "$out/$name: $!";
  print $f decode_base64($data);
  return close $f;
}
sub media { call('Emulation.setEmulatedMedia', "{\"media\":\"$_[0]\",\"features\":[{\"name\":\"prefers-color-scheme\",\"value\":\"$_[1]\"}]}") }

# ---- The page ---------------------------------------------------------------------------------------------

my ($target) = call('Target.createTarget', '{"url":"about:blank"}') =~ /"targetId":"([^"]+)"/;
($session) = call('Target.attachToTarget', "{\"targetId\":\"$target\",\"flatten\":true}") =~ /"sessionId":"([^"]+)"/;
call('Page.enable');
call('Page.navigate', '{"url":"file://' . $page . '"}');
sub loaded {
  js('new Promise(done => { let wait = () => document.readyState == "complete" && location.protocol == "file:" ?'
    . ' done(1) : setTimeout(wait, 50); wait() })');
}
loaded();

is(js('performance.getEntriesByType("resource").length'), '0', 'the page fetches nothing');
is(js('[...document.querySelectorAll("a[href^=\"#\"]")].filter(a => !document.getElementById(a.getAttribute("href").slice(1))).length'),
  '0', 'every link within the page has a target');

# In each figure the first point, by the mouse: nothing lies over it, and it leads to its row, which says how to run it again.
my $figures = js('document.querySelectorAll("figure").length');
my ($clicked, $wrong) = (0, '');
for my $k (0 .. $figures - 1) {
  my $at = js("(() => { let a = document.querySelectorAll('figure')[$k].querySelector('a[href^=\"#run-\"]'); if (!a) return '';"
    . "a.scrollIntoView({block: 'center'}); let b = a.getBoundingClientRect(), x = b.x + b.width / 2, y = b.y + b.height / 2;"
    . "let over = document.elementFromPoint(x, y); return [x, y, over && over.closest('a') == a ? 1 : 0, a.getAttribute('href')].join(' ') })()");
  my ($x, $y, $free, $hash) = split ' ', $at or next;
  click($x, $y);
  my $row = js('(() => { let r = document.querySelector(":target"); if (!r) return "no row"; let b = r.getBoundingClientRect();'
    . 'return [location.hash.startsWith("#run-"), b.top >= 0 && b.bottom <= innerHeight,'
    . ' r.textContent.includes("isoflop rerun . " + location.hash.slice(5)) || r.textContent.includes("row")].join(" ") })()');
  $clicked++;
  $wrong .= "figure $k ($hash): free $free, $row; " unless $free && $row eq 'true true true';
  js('history.replaceState(null, "", location.pathname)');
}
check($clicked > 0, "figures have points to click: $clicked of $figures", 'none has');
check($wrong eq '', 'a click on a point leads to its row, in view, with the command that runs it again', $wrong);
is(js('[...document.querySelectorAll("a[href^=\"#run-\"] > .mark title")].filter(t => !/^run .*\nloss /s.test(t.textContent)).length'), '0', 'hovering over a point says which run it is and its loss');

# Sorting and filtering, by mouse and keys.
my $sort = js('(() => { let h = [...document.querySelectorAll("table.sort th")].find(h => h.textContent == "loss");'
  . 'h.scrollIntoView({block: "center", inline: "center"}); let b = h.getBoundingClientRect(); return [b.x + 5, b.y + 5].join(" ") })()');
click(split ' ', $sort);
is(js('(() => { let t = document.querySelector("table.sort"), k = [...t.tHead.rows[0].cells].findIndex(h => h.textContent == "loss");'
  . 'let v = [...t.tBodies[0].rows].map(r => parseFloat(r.cells[k].textContent)).filter(v => !isNaN(v));'
  . 'return v.length > 1 && v.every((x, i) => !i || x >= v[i - 1]) })()'), 'true', 'a click on a column sorts the runs');
js('document.querySelector("input[type=search]").focus()');
my $one = js('document.querySelector("table.sort tbody tr").id.slice(4)');
call('Input.insertText', "{\"text\":\"$one\"}");
is(js('[...document.querySelectorAll("table.sort tbody tr")].filter(r => r.offsetHeight).length'), '1', 'the filter leaves the rows that match');
js('(() => { let i = document.querySelector("input[type=search]"); i.value = ""; i.dispatchEvent(new Event("input")) })()');

# Light and dark: text keeps a contrast of 4.5 (WCAG 2, AA) against the page.
my $contrast = '(() => { let rgb = s => s.match(/[\d.]+/g).slice(0, 3).map(Number);'
  . 'let light = c => { let [r, g, b] = c.map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b };'
  . 'let page = light(rgb(getComputedStyle(document.body).backgroundColor)), least = 99;'
  . 'for (let t of document.querySelectorAll("p, td, th, figcaption, h2, p a, td a, svg text")) { let s = getComputedStyle(t), c = light(rgb(t.namespaceURI.endsWith("svg") ? s.fill : s.color));'
  . 'least = Math.min(least, (Math.max(c, page) + .05) / (Math.min(c, page) + .05)) } return least.toFixed(2) })()';
my %back;
for my $scheme (qw(light dark)) {
  media('screen', $scheme);
  $back{$scheme} = js('getComputedStyle(document.body).backgroundColor');
  my $least = js($contrast);
  check($least =~ /^[\d.]+$/ && $least >= 4.5, "$scheme: every text stands out", "least contrast $least");
  check(save("$scheme.png", 'Page.captureScreenshot', '{"captureBeyondViewport":true}'), "$scheme: screenshot", 'none');
}
check($back{light} ne $back{dark}, 'the page follows the theme', "$back{light} in both");

# Narrow screens scroll the tables, not the page.
for my $width (1200, 390) {
  call('Emulation.setDeviceMetricsOverride', "{\"width\":$width,\"height\":900,\"deviceScaleFactor\":1,\"mobile\":false}");
  is(js('document.documentElement.scrollWidth <= innerWidth'), 'true', "$width pixels are wide enough");
}
call('Emulation.clearDeviceMetricsOverride');

# Print: light, whatever the theme of the screen.
media('print', 'dark');
is(js('getComputedStyle(document.body).backgroundColor'), $back{light}, 'paper is light');
check(save('print.pdf', 'Page.printToPDF', '{"printBackground":false}') && -s "$out/print.pdf" > 10000, 'it prints', 'no PDF');

# Without script nothing is missing but the filter.
my $rows = js('document.querySelectorAll("table.sort tbody tr").length');
call('Emulation.setScriptExecutionDisabled', '{"value":true}');
call('Page.reload');
my $found = 0;
for (my $tries = 0; $tries < 60 && $found != $rows; $tries++) {    # with scripts off the page cannot say when it is there
  select undef, undef, undef, .5;
  my ($root) = call('DOM.getDocument') =~ /"nodeId":(\d+)/ or next;
  my ($nodes) = call('DOM.querySelectorAll', "{\"nodeId\":$root,\"selector\":\"table.sort tbody tr\"}") =~ /"nodeIds":\[([^\]]*)\]/;
  $found = () = split /,/, $nodes // '', -1;
}
is($found, $rows, 'every run is there without script');
print "1..$tests\n";
alarm 0;
exit($failed ? 1 : 0);
