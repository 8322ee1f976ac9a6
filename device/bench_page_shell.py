# SPDX-License-Identifier: Apache-2.0
"""What is the same on every bench page: its head and its style, kin to the host's ``report.html``.

A template in a Python file, because a Pi has no template engine of ours and nothing else to carry the file.
"""

from __future__ import annotations

from string import Template
from typing import Final

STYLE: Final = """
:root {
  color-scheme: light dark;
  --page: #fbfbfa; --card: #fff; --ink: #1c2024; --quiet: #5b6470; --hair: #dfe3e8; --grid: #e9ecef;
  --blue: 0 114 178; --red: 213 94 0; --red-ink: #b04a00; --orange: 230 159 0; --green: 0 158 115;
  --pink: 204 121 167;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171a; --card: #1b1f23; --ink: #e7eaed; --quiet: #9aa4af; --hair: #31373d; --grid: #2a2f35;
    --blue: 86 180 233; --red: 240 138 50; --red-ink: #f5a05a; --orange: 236 178 62; --green: 45 182 142;
    --pink: 217 146 185;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink); overflow-wrap: break-word;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  font-variant-numeric: tabular-nums; -webkit-text-size-adjust: 100%;
}
main, header, footer { max-width: 68rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2.5rem; }
.brand { font-size: .8rem; letter-spacing: .08em; color: var(--quiet); margin: 0; }
h1 {
  font-size: 1.9rem; line-height: 1.2; font-weight: 650; margin: .15rem 0 .5rem; letter-spacing: -.01em;
  overflow-wrap: anywhere;
}
.intro { font-size: 1.1rem; margin: 0; max-width: 48rem; overflow-wrap: anywhere; }
.quiet { color: var(--quiet); margin: .4rem 0 0; font-size: .9rem; overflow-wrap: anywhere; }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; margin: 1rem 0 0; font-size: .9rem; }
a { color: rgb(var(--blue)); text-decoration: none; }
a:hover, a:focus-visible { text-decoration: underline; }
section { margin: 2.75rem 0 0; }
h2 {
  font-size: 1.25rem; font-weight: 650; margin: 0 0 .25rem; padding-top: .9rem;
  border-top: 1px solid var(--hair); overflow-wrap: anywhere;
}
h3 { font-size: 1rem; font-weight: 600; margin: 1.5rem 0 .5rem; }
.look { color: var(--quiet); font-size: .92rem; margin: 0 0 1rem; max-width: 46rem; }
.tiles {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(10rem, 44%), 1fr)); gap: .75rem;
  margin-top: 1.5rem;
}
.tile { background: var(--card); border: 1px solid var(--hair); border-radius: 8px; padding: .8rem .9rem; }
.tile dt { font-size: .82rem; color: var(--quiet); margin: 0; }
.tile dd { margin: 0; overflow-wrap: anywhere; }
.tile .value { font-size: 1.55rem; line-height: 1.3; font-weight: 600; letter-spacing: -.02em; }
.tile .unit { font-size: .85rem; font-weight: 450; letter-spacing: 0; color: var(--quiet); }
.tile .note { font-size: .78rem; line-height: 1.35; color: var(--quiet); margin-top: .15rem; }
.cautions {
  margin: 1rem 0 0; padding: .7rem 1rem .7rem 2.1rem; border: 1px solid rgb(var(--red)); border-radius: 8px;
  background: rgb(var(--red) / .07);
}
.cautions li + li { margin-top: .25rem; }
.good { color: rgb(var(--blue)); font-weight: 600; }
.bad { color: var(--red-ink); font-weight: 600; }
figure { margin: 0; min-width: 0; }
figure.narrow { max-width: 33rem; margin-top: 1rem; }
figure + figure { margin-top: .75rem; }
figcaption { font-size: .88rem; color: var(--quiet); margin-top: .4rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); gap: 1.25rem; }
.pair > * { min-width: 0; margin: 0; }
.scroll { overflow-x: auto; }
.scroll > svg { min-width: 38rem; }
svg {
  display: block; width: 100%; height: auto; background: var(--card); border: 1px solid var(--hair);
  border-radius: 8px; padding: .5rem;
}
svg text { font-size: 12px; fill: var(--quiet); }
svg text.strong { fill: var(--ink); font-weight: 600; font-size: 11px; }
svg .end { text-anchor: end; } svg .middle { text-anchor: middle; }
svg .grid { stroke: var(--grid); } svg .axis { stroke: var(--quiet); }
svg .zero { stroke: var(--quiet); stroke-dasharray: 3 3; fill: none; }
svg .line { fill: none; stroke: rgb(var(--blue)); stroke-width: 1.8; stroke-linejoin: round; }
svg .line.aside { stroke: rgb(var(--red)); stroke-dasharray: 5 3; }
svg .heat { fill: none; stroke: rgb(var(--red)); stroke-width: 1.8; stroke-linejoin: round; }
svg .range { fill: rgb(var(--blue) / .25); }
svg .dot { fill: rgb(var(--blue)); fill-opacity: .75; }
svg .above { fill: rgb(var(--red)); }
svg .percentile { stroke: var(--ink); stroke-width: 1; stroke-opacity: .7; }
svg .zone { fill: rgb(var(--red) / .18); }
svg.mini { width: 7.5rem; min-width: 5rem; padding: 0; border: 0; background: none; }
svg .band { fill: var(--grid); } svg .whisker { stroke: rgb(var(--blue)); stroke-width: 2; }
.s-capture { background: rgb(var(--orange)); fill: rgb(var(--orange)); }
.s-preprocess { background: rgb(var(--green)); fill: rgb(var(--green)); }
.s-invoke { background: rgb(var(--blue)); fill: rgb(var(--blue)); }
.s-postprocess { background: rgb(var(--pink)); fill: rgb(var(--pink)); }
.s-total { background: var(--quiet); fill: var(--quiet); }
.stacks { max-width: 50rem; }
.stacks p { margin: .9rem 0 .25rem; font-size: .92rem; display: flex; justify-content: space-between; gap: 1rem; }
.stack { display: flex; height: 1.5rem; background: var(--grid); border-radius: 3px; overflow: hidden; }
.stack i { min-width: 1px; }
.legend {
  display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin: .8rem 0 0; padding: 0; list-style: none;
  font-size: .88rem; color: var(--quiet);
}
.legend i {
  display: inline-block; width: .8rem; height: .8rem; border-radius: 2px; margin-right: .4rem;
  vertical-align: -.05rem;
}
table { border-collapse: collapse; font-size: .92rem; }
th { font-weight: 500; text-align: left; }
thead th { color: var(--quiet); font-size: .82rem; vertical-align: bottom; }
td, th { padding: .32rem .9rem .32rem 0; }
tbody tr + tr > * { border-top: 1px solid var(--grid); }
td.n, th.n { text-align: right; white-space: nowrap; }
.facts td { overflow-wrap: anywhere; } .facts th { vertical-align: top; white-space: nowrap; }
details > summary { cursor: pointer; font-size: .92rem; color: rgb(var(--blue)); margin: 1.25rem 0 .5rem; }
code { font-size: .92em; overflow-wrap: anywhere; }
footer { color: var(--quiet); font-size: .82rem; padding-top: 2.5rem; padding-bottom: 2.5rem; }
@media (max-width: 34rem) {
  header { padding-top: 1.5rem; }
  h1 { font-size: 1.5rem; }
  .tile .value { font-size: 1.45rem; }
  td, th { padding-right: .6rem; }
  table { font-size: .84rem; }
  .facts th { white-space: normal; min-width: 5.5rem; }
}
@media print { section, figure, .tile { break-inside: avoid; } nav { display: none; } }
"""

SHELL: Final = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>$title – Litesight bench</title>
<style>$style</style>
</head>
<body>
<header>
<p class="brand">Litesight bench</p>
<h1><bdi>$title</bdi></h1>
<p class="intro">$intro</p>
<p class="quiet">$identity</p>
$tiles
$cautions
<nav aria-label="Sections">$nav</nav>
</header>
<main>
$sections
</main>
<footer>Made by Litesight. Percentiles are nearest rank: each is a sample that was measured. 1 MB is 1,000,000 bytes.
The intervals of a comparison hold 95% of 2,000 block-bootstrap resamples; docs/bench-schema.md has the method.</footer>
</body>
</html>
""")
