"""The style of the report page: light, dark, and print."""

__all__ = ["STYLE"]

STYLE = (
    """
:root { color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --ink: #1b2230; --soft: #5c6675; --line: #e2e6ec;
  --accent: #2457d6; --good: #14733f; --good-page: #dff5e7; --bad: #a8261c; --bad-page: #fde5e2;
  --warn: #865300; --warn-page: #fdf0d3; --busy: #1f52c4; --busy-page: #e1eafd;
  --c0: #2f6bea; --c1: #e0700d; --c2: #17935a; --c3: #9440c9; --c4: #c2255c; --c5: #5f6b7a; }
@media (prefers-color-scheme: dark) { :root {
  --page: #12151b; --card: #1b2029; --ink: #e6eaf1; --soft: #9aa5b5; --line: #303846;
  --accent: #8fb3ff; --good: #7be0a4; --good-page: #12361f; --bad: #ff9a90; --bad-page: #451713;
  --warn: #f5c665; --warn-page: #3d2c0a; --busy: #9dbdff; --busy-page: #182c55;
  --c0: #6c9dff; --c1: #ffa04d; --c2: #4fd08e; --c3: #c68cf2; --c4: #ff7aa5; --c5: #a3afbf; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.5;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 32px 24px 56px; }
header { margin-bottom: 26px; }
.crumb { color: var(--soft); margin: 0; }
h1 { font-size: 28px; line-height: 1.25; margin: 2px 0 12px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 34px 0 12px; }
h3 { font-size: 15px; margin: 0 0 8px; overflow-wrap: anywhere; }
.facts { display: flex; flex-wrap: wrap; gap: 6px 22px; align-items: center; color: var(--soft);
    margin: 0; }
.facts b { color: var(--ink); font-weight: 600; }
.badge { border-radius: 999px; padding: 2px 12px; font-weight: 600; font-size: 13px; }
.completed { color: var(--good); background: var(--good-page); }
.failed { color: var(--bad); background: var(--bad-page); }
.interrupted { color: var(--warn); background: var(--warn-page); }
.running { color: var(--busy); background: var(--busy-page); }
.grid-2 { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr));
    gap: 16px;
  align-items: start; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
    padding: 16px 18px;
  overflow-x: auto; min-width: 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 6px 14px 6px 0;
    border-top: 1px solid var(--line);
  overflow-wrap: anywhere; unicode-bidi: isolate; }
thead th, tr:first-child > td, tr:first-child > th[scope=row] { border-top: 0; }
thead + tbody tr:first-child > * { border-top: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 600; font-size: 13px; white-space: nowrap; }
th[scope=row] { font-weight: 500; color: var(--soft); width: 32%; min-width: 120px; }
td.n + td:not(.n), th.n + th:not(.n) { padding-left: 28px; }
td.n, th.n { text-align: right; white-space: nowrap; }
td:last-child, th:last-child { padding-right: 0; }
code { font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
    white-space: pre-wrap;
  overflow-wrap: anywhere; }
a { color: var(--accent); text-decoration: none; } a:hover { text-decoration: underline; }
.note { color: var(--soft); } details summary { cursor: pointer; color: var(--soft); }
details[open] summary { margin-bottom: 8px; }
.key { display: inline-block; width: 18px; height: 4px; border-radius: 2px; margin-right: 8px;
  vertical-align: middle; }
.matrix { width: auto; margin: 2px 0; } .n .matrix { margin-left: auto;
    } .matrix td { border: 1px solid var(--line) !important;
  padding: 2px 10px !important; text-align: right; }
svg { width: 100%; height: auto; display: block; margin-bottom: 8px; }
.grid { stroke: var(--line); } .axis { stroke: var(--soft); }
.tick { fill: var(--soft); font-size: 12px; } .end { text-anchor: end;
    } .middle { text-anchor: middle; }
.curve { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.hover { fill: transparent; } .hover:hover { stroke: var(--soft); }
"""
    + "".join(
        f".curve.s{i} {{ stroke: var(--c{i}); }} .dot.s{i} {{ fill: var(--c{i}); }}\n"
        f".key.s{i} {{ background: var(--c{i}); }}\n"
        for i in range(6)
    )
    + """
@media print {
  :root { color-scheme: light; --page: #fff; --card: #fff; --ink: #000; --soft: #444; --line: #ccc;
    --accent: #000; --c0: #2f6bea; --c1: #e0700d; --c2: #17935a; --c3: #9440c9; --c4: #c2255c;
    --c5: #5f6b7a; }
  main { max-width: none; padding: 0; } .card { break-inside: avoid; } h2 { break-after: avoid; }
  .badge { border: 1px solid; } * { print-color-adjust: exact; }
}
"""
)
