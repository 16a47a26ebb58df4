# corpus-clean.pl RECIPE UNPACKED_FOLDER TEXT_FOLDER: from a package's files to plain text.
# In: the package, unpacked. Out: files of text; each recipe below is one kind of package. Only perl-base is needed (it
# is on every Debian machine), so no modules but File::Find's job done by find(1). Order is by path; the same input
# gives the same bytes. Typographic quotes and dashes become ASCII, so that a byte model meets one spelling of each.
use strict;
use warnings;

my ($recipe, $in, $out) = @ARGV;
my ($kind, @args) = split /:/, $recipe;
my $count = 0;

sub files {  # files of the package whose path under it matches, sorted
  my ($want) = @_;
  my @size = $kind eq 'code' ? ('-size', '-1024k') : ();
  open my $find, '-|', 'find', $in, '-type', 'f', @size or die "find: $!\n";
  my @found = sort grep { /$want/ } map { chomp; $_ } <$find>;
  return @found;
}

sub slurp {
  open my $f, '<:raw', $_[0] or die "$_[0]: $!\n";
  local $/;
  my $s = <$f>;
  return defined $s ? $s : '';
}

sub unzip { open my $f, '-|', 'gzip', '-dc', $_[0] or die "gzip: $!\n"; local $/; return scalar <$f> }

sub ascii {  # the few typographic characters that occur often
  my ($s) = @_;
  $s =~ s/\xe2\x80[\x98\x99]/'/g;
  $s =~ s/\xe2\x80[\x9c\x9d]/"/g;
  $s =~ s/\xe2\x80\x94/--/g;
  $s =~ s/\xe2\x80[\x90-\x93]/-/g;
  $s =~ s/\xe2\x80\xa6/.../g;
  $s =~ s/\xc2\xa0/ /g;
  return $s;
}

sub emit {  # one text file; drops what is not mostly ASCII text
  my ($s) = @_;
  my $foreign = ($s =~ tr/\x80-\xff//);
  return if $s eq '' || $s =~ /\0/ || $foreign * 20 > length $s;
  my $path = sprintf '%s/%06d.txt', $out, $count++;
  open my $f, '>:raw', $path or die "$path: $!\n";
  print $f $s or die "$path: $!\n";
  close $f or die "$path: $!\n";
}

my %entity = (amp => '&', lt => '<', gt => '>', quot => '"', apos => "'", nbsp => ' ', mdash => '--', ndash => '-',
              hellip => '...', lsquo => "'", rsquo => "'", ldquo => '"', rdquo => '"');

sub html {
  my ($s) = @_;
  $s =~ s/<!--.*?-->//gs;
  $s =~ s/<(head|script|style)\b.*?<\/\1>//gis;
  $s =~ s/\s+/ /g;
  $s =~ s/<br\b[^>]*>/\n/gi;
  $s =~ s/<li\b[^>]*>/\n* /gi;
  $s =~ s/<\/?(p|h\d|div|ul|ol|table|tr|blockquote|pre)\b[^>]*>/\n\n/gi;
  $s =~ s/<[^>]*>//g;
  $s =~ s/&#(\d+);/$1 < 128 ? chr $1 : ''/ge;
  $s =~ s/&(\w+);/exists $entity{$1} ? $entity{$1} : ''/ge;
  $s =~ s/[ \t]*\n[ \t]*/\n/g;
  $s =~ s/\n{3,}/\n\n/g;
  return $s;
}

my %recipes = (
  # code:REGEX  source files under 1 MB
  code => sub { emit(slurp($_)) for files($args[0]) },

  html => sub { emit(ascii(html(ascii(slurp($_))))) for files($args[0]) },

  # An R data file: blocks of 4 bytes of length and a zlib stream; inside, strings as R serialises them: type 9 in the
  # flags' last byte, four bytes of length, the bytes. A gzip header in front of the bare deflate stream makes gzip
  # unpack it (and complain at the end that there is no checksum, which is why its exit code does not count).
  rdata => sub {
    for my $path (files('/Rdata\.rdb$')) {
      my $s = slurp($path);
      while ($s =~ /\x78[\x01\x9c\xda]/g) {
        my $at = pos $s;
        open my $gz, '>:raw', "$out/block" or die "$out/block: $!\n";
        print $gz "\x1f\x8b\x08\0\0\0\0\0\0\x03", substr $s, $at;
        close $gz;
        my $block = `gzip -dc <'$out/block' 2>/dev/null`;
        unlink "$out/block";
        my $text = '';
        while ($block =~ /\0\x04\0\x09(....)/gs) {
          my $n = unpack 'N', $1;
          last if $n > 10000 || pos($block) + $n > length $block;
          my $line = substr $block, pos $block, $n;
          $text .= "$line\n";
          pos($block) += $n;
        }
        emit(ascii($text)) if length $text > 10000;
      }
    }
  },

  # Sayings parted by lines of one %.
  fortunes => sub {
    for (grep { !/\.(dat|u8)$/ } files('/games/fortunes/[^/]+$')) {
      my $s = slurp($_);
      $s =~ s/^%\n/\n/gm;
      $s =~ s/.\x08//g;
      emit(ascii($s));
    }
  },

  # dictd databases: entries begin at column 0; {cross references}, [sources] and pronunciations are markup.
  dict => sub {
    for (files('\.dict\.dz$')) {
      my $s = ascii(unzip($_));
      $s =~ s/^00-database.*?\n(?=\S)//gms;
      $s =~ s/^ *\[[^\]\n]*(?:Webster|WordNet|PJC)[^\]\n]*\]\n//gm;
      $s =~ s/[{}]//g;
      $s =~ s/ \\[^\\\n]*\\,?//g;
      $s =~ s/^ +//gm;
      emit($s);
    }
  },

  # WordNet: "offset .. words .. | gloss; "example"" -> "word, word: gloss; "example"".
  wordnet => sub {
    for (files('/data\.(adj|adv|noun|verb)$')) {
      my $s = '';
      for (split /\n/, slurp($_)) {
        my ($head, $gloss) = /^\d{8} (.*?) \| (.*?)\s*$/ or next;
        my (undef, undef, $n, @word) = split / /, $head;
        my @names = map { $word[2 * $_] } 0 .. hex($n) - 1;
        s/_/ /g, s/\([a-z]+\)$// for @names;
        $s .= join(', ', @names) . ": $gloss\n";
      }
      emit($s);
    }
  },
);
my $run = $recipes{$kind} or die "corpus-clean.pl: no recipe '$kind' (there are: @{[sort keys %recipes]})\n";
$run->();
