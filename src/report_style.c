// report_style.c: how the page looks, and the little script that sorts and filters its table of runs.
//
// In: nothing. Out: the head of the page. The invariant: everything is in the page itself, colours are variables with a
// light and a dark value, and without the script nothing is missing but sorting and filtering.
#include "report.h"

// clang-format off
static const char style[] =
    "*{box-sizing:border-box}\n"
    "body{margin:0 auto;max-width:1180px;padding:2.2rem 1.2rem 4rem;background:var(--page);color:var(--ink)}\n"
    "body{font:16px/1.55 system-ui,'Segoe UI','DejaVu Sans',sans-serif}\n"
    "h1{font-size:1.75rem;line-height:1.2;margin:0 0 .3rem}\n"
    "h2{font-size:1.2rem;margin:2.6rem 0 .6rem}\n"
    "p{max-width:46rem}a{color:var(--link)}.lead{font-size:1.06rem}\n"
    ".sub,.note,caption,figcaption{color:var(--soft);font-size:.88rem}\n"
    "figure{margin:1.2rem 0}svg text{font-family:inherit}\n"
    "figure svg{display:block;width:100%;height:auto;overflow:visible}\n"
    ".pair{display:grid;grid-template-columns:1fr 1fr;gap:1rem;margin:1.4rem 0 .8rem}\n"
    "@media screen and (max-width:760px){.pair{grid-template-columns:1fr}}\n"
    ".mark{fill:transparent;stroke:none}\n"
    "a:hover .mark,a:focus .mark{stroke:var(--ink);stroke-width:1.6}\n"
    ".scroll{overflow-x:auto}\n"
    "table{border-collapse:collapse;font-size:.81rem;font-variant-numeric:tabular-nums;width:100%}\n"
    "caption{text-align:left;padding-bottom:.4rem;white-space:normal}\n"
    "th,td{padding:.26rem .5rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--grid)}\n"
    "th{font-weight:600;border-bottom-color:var(--axis)}\n"
    "td.l,th.l{text-align:left}td.w{white-space:normal;text-align:left}\n"
    "tr.off td{color:var(--soft)}tr:target td{background:var(--band)}tr.top td{border-top:1px solid var(--axis)}\n"
    "td.p,th.p{color:var(--soft)}.pass{color:var(--s2)}.fail{color:var(--s4)}table.pairs{width:auto}\n"
    "table.sort th{cursor:pointer}input[type=search]{font:inherit;font-size:.88rem;width:20rem;max-width:100%;padding:.2rem .5rem}\n"
    "input[type=search]{color:var(--ink);background:var(--page);border:1px solid var(--axis);border-radius:4px}\n"
    "nav{font-size:.88rem;margin:1.2rem 0}nav a{margin-right:1.1rem;white-space:nowrap}tr:target{scroll-margin:40vh}\n"
    ".dot{display:inline-block;width:.7em;height:.7em;border-radius:50%;margin-right:.45em}\n"
    "code,pre{font-family:ui-monospace,'DejaVu Sans Mono',monospace;font-size:.86em}\n"
    "pre{background:var(--band);padding:.8rem 1rem;overflow-x:auto;border-radius:4px}\n"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1.2rem;font-size:.9rem}\n"
    "dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}\n"
    "@media print{\n"
    "nav,input,.again{display:none}a{color:inherit;text-decoration:none}\n"
    "body{max-width:none;padding:0;font-size:10.5pt}.lead{max-width:none}h2{break-after:avoid}\n"
    "svg,tr,pre,.pair{break-inside:avoid}figure svg{max-height:9.5cm}.scroll{overflow:visible}\n"
    "table{font-size:7.2pt}th,td{padding:.12rem .3rem}thead{display:table-header-group}pre{white-space:pre-wrap}\n"
    "}\n";
// clang-format on

static void put_theme(FILE *f, const char *selector, bool dark) {
  static const char *const names[] = {"page", "ink", "soft", "axis", "grid", "paper", "band", "link"};
  static const char *const light[] = {"#ffffff", "#20242a", "#5c646d", "#70777f",
                                      "#e3e6ea", "#8a9199", "#e6ecf4", "#1a5fa8"};
  static const char *const night[] = {"#15181c", "#e6e8eb", "#a3abb4", "#8a9199",
                                      "#2b3036", "#8a9199", "#26303c", "#7db4f0"};
  fprintf(f, "%s{", selector);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) fprintf(f, "--%s:%s;", names[i], (dark ? night : light)[i]);
  for (int i = 0; i < FIGURE_LEVELS; i++) {
    char hex[8];
    figures_level_color(i, dark, hex);
    fprintf(f, "--r%d:%s;", i, hex);
  }
  for (int k = 0; k < FIGURE_KINDS; k++) fprintf(f, "--s%d:%s;", k, figures_kind_color(k, dark));
  fputs("}", f);
}

void put_head(FILE *f) {
  fputs("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
        "content=\"width=device-width\">\n"
        "<meta name=\"color-scheme\" content=\"light dark\"><title>IsoFLOP study</title>\n<style>\n",
        f);
  put_theme(f, ":root", false);
  fputs("\n@media screen and (prefers-color-scheme:dark){", f);
  put_theme(f, ":root", true);
  fprintf(f, "}\n%s</style></head><body>\n", style);
}

// Sorts a table by the column whose head is clicked, once more in the other direction, and hides the rows that do not
// hold what was typed. Rows keep their ids, so links from the figures stay.
// clang-format off
static const char script[] =
    "document.querySelectorAll('table.sort').forEach(t=>{\n"
    "const b=t.tBodies[0],f=document.createElement('input'),k=s=>{const m=/^(-?[\\d.]+(?:e[-+]?\\d+)?)([kMBT]?)$/.exec(s);\n"
    "return m?m[1]*({k:1e3,M:1e6,B:1e9,T:1e12}[m[2]]||1):NaN};\n"
    "f.type='search';f.placeholder='filter: part, status, id, shape';\n"
    "f.oninput=()=>[...b.rows].forEach(r=>r.hidden=!r.textContent.includes(f.value.trim()));\n"
    "t.parentNode.before(f);\n"
    "[...t.tHead.rows[0].cells].forEach((h,i)=>{let d=-1;h.onclick=()=>{d=-d;b.append(...[...b.rows].sort((p,q)=>{\n"
    "const x=p.cells[i].textContent,y=q.cells[i].textContent,u=k(x),v=k(y);\n"
    "return isNaN(u)||isNaN(v)?(isNaN(u)-isNaN(v))||d*x.localeCompare(y):d*(u-v)}))}})});\n"
    // a link to a hidden row shows it
    "addEventListener('hashchange',()=>{const r=document.getElementById(location.hash.slice(1));\n"
    "if(r&&r.hidden){r.hidden=false;r.scrollIntoView()}});\n";
// clang-format on

void put_tail(FILE *f) { fprintf(f, "<script>\n%s</script>\n</body></html>\n", script); }
