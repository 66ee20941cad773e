"use strict";
// The data is JSON, compressed: see view.c for its parts.
const $ = (id) => document.getElementById(id);
const make = (tag, text, className) => {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  if (className) e.className = className;
  return e;
};
// 1234567 -> "1.23 M"
const count = (n) => {
  const k = n >= 1e12 ? 4 : n >= 1e9 ? 3 : n >= 1e6 ? 2 : n >= 1e3 ? 1 : 0;
  return (n/1000**k).toPrecision(3).replace(/e.*/, "") + " " + ["", "k", "M", "G", "T"][k];
};
const mib = (bytes) => bytes >= 1e10 ? (bytes/2**30).toFixed(1) + " GiB" : bytes >= 104857.6 ? (bytes/1048576).toFixed(1) + " MiB" : (bytes/1024).toFixed(1) + " KiB";

async function read() {
  const bytes = Uint8Array.from(atob($("data").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

// ---- tabs: arrows move between them
function tabs() {
  const all = [...document.querySelectorAll("[role=tab]")];
  const choose = (tab) => {
    for (const t of all) {
      t.setAttribute("aria-selected", t === tab);
      t.tabIndex = t === tab ? 0 : -1;
      $(t.getAttribute("aria-controls")).hidden = t !== tab;
    }
    window.dispatchEvent(new Event("resize"));
  };
  for (const t of all) {
    t.onclick = () => choose(t);
    t.onkeydown = (e) => {
      const shown = all.filter((x) => !x.hidden), step = {ArrowRight: 1, ArrowLeft: -1}[e.key];
      if (!step) return;
      const next = shown[(shown.indexOf(t) + step + shown.length) % shown.length];
      choose(next);
      next.focus();
    };
  }
  return (id) => choose($("tab-" + id));
}

// ---- source and graph
// A line without the numbers of its values: what it says, whatever it is called in this stage.
const meaning = (line) => line.replace(/%\d+/g, "%").replace(/ @k\d+/, " @k");
const defines = (line) => { const m = /^\s+%(\d+)/.exec(line); return m ? m[1] : null; };

function sourcePane(data, onLine) {
  const pane = $("source");
  data.source.replace(/\n$/, "").split("\n").forEach((text, i) => {
    const row = make("span", undefined, "row");
    row.dataset.line = i + 1;
    row.append(make("span", i + 1, "n"), text || " ");
    row.dataset.at = i + 1;
    row.onclick = () => onLine(i + 1);
    pane.append(row);
  });
  return pane;
}

function graphPane(data, onLine) {
  const pane = $("graph");
  let rows = [], byValue = new Map();
  const show = (index) => {
    const stage = data.stages[index], before = index ? data.stages[index - 1] : null, seen = new Map();
    if (before)
      for (const l of before.lines) {
        const m = meaning(data.lines[l]);
        seen.set(m, (seen.get(m) || 0) + 1);
      }
    rows = [];
    byValue = new Map();
    let added = 0;
    const part = document.createDocumentFragment();
    stage.lines.forEach((l, i) => {
      const text = data.lines[l], m = meaning(text), left = seen.get(m) || 0;
      const row = make("span", undefined, "row");
      if (before && left > 0) seen.set(m, left - 1);
      else if (before) { row.classList.add("new"); added++; }
      // Values are links to where they are made.
      text.split(/(%\d+)/).forEach((piece, k) => {
        if (k % 2) { const b = make("b", piece); b.dataset.value = piece.slice(1); row.append(b); }
        else row.append(piece);
      });
      if (!text) row.append(" ");
      if (stage.at[i]) row.dataset.at = stage.at[i];
      const id = defines(text);
      if (id) byValue.set(id, row);
      rows.push(row);
      part.append(row);
    });
    pane.replaceChildren(part);
    let gone = 0;
    for (const n of seen.values()) gone += n;
    return {added, gone, first: !before};
  };
  pane.onclick = (e) => {
    const value = e.target.dataset && e.target.dataset.value, row = e.target.closest(".row");
    if (value && byValue.get(value) && byValue.get(value) !== row) mark([byValue.get(value)], pane);
    else if (row && row.dataset.at) onLine(+row.dataset.at, row);
  };
  return {show, rows: () => rows};
}

// Arrows move through a pane line by line, from the one that is marked.
function walk(pane, go) {
  pane.addEventListener("keydown", (e) => {
    const step = {ArrowDown: 1, ArrowUp: -1}[e.key];
    if (!step || e.altKey || e.ctrlKey) return;
    const rows = [...pane.children].filter((r) => !r.classList.contains("dim"));
    const hits = rows.map((r, i) => r.classList.contains("hit") ? i : -1).filter((i) => i >= 0);
    let i = hits.length ? (step > 0 ? hits[hits.length - 1] : hits[0]) + step : 0;
    while (rows[i] && !rows[i].dataset.at) i += step;
    if (rows[i]) go(rows[i]);
    e.preventDefault();
  });
}

// Scrolls the pane, and not the page, until the row is in it.
function reveal(row, pane) {
  const above = row.offsetTop - pane.scrollTop, height = row.offsetHeight;
  if (above < 0) pane.scrollTop += above - height;
  else if (above + height > pane.clientHeight) pane.scrollTop += above + 3*height - pane.clientHeight;
}

function mark(rows, pane) {
  for (const r of pane.querySelectorAll(".hit")) r.classList.remove("hit");
  for (const r of rows) r.classList.add("hit");
  if (rows.length) reveal(rows[0], pane);
}

function irView(data) {
  const slider = $("stage"), changed = $("changed"), find = $("find");
  let line = 0;
  const onLine = (n, from) => {
    line = n;
    mark([...$("source").children].filter((r) => +r.dataset.line === n), $("source"));
    const rows = graph.rows().filter((r) => +r.dataset.at === n);
    mark(rows, $("graph"));
    if (from) reveal(from, $("graph"));
  };
  sourcePane(data, (n) => onLine(n));
  const graph = graphPane(data, onLine);
  walk($("source"), (row) => onLine(+row.dataset.at));
  walk($("graph"), (row) => onLine(+row.dataset.at, row));
  const filter = () => {
    const text = find.value.toLowerCase();
    for (const r of graph.rows())
      r.classList.toggle("dim", (changed.checked && !r.classList.contains("new"))
                         || (text !== "" && !r.textContent.toLowerCase().includes(text)));
  };
  const show = () => {
    const index = +slider.value, s = data.stages[index], d = graph.show(index);
    $("stage-name").textContent = s.name;
    slider.setAttribute("aria-valuetext", s.name);
    $("stage-facts").textContent = s.summary + " \u00b7 " + (index ? s.ms.toFixed(2) + " ms \u00b7 " : "") + s.nodes + " values, "
      + count(s.flops) + "FLOP, " + mib(s.bytes) + (s.kernels ? " stored in " + s.kernels + " kernels" : "")
      + (d.first ? "" : d.added || d.gone ? " \u00b7 " + d.added + " lines new, " + d.gone + " gone" : " \u00b7 nothing changed");
    filter();
    if (line) onLine(line);
  };
  slider.max = data.stages.length - 1;
  slider.oninput = show;
  changed.onchange = filter;
  find.oninput = filter;
  table($("passes"), ["pass", "what it does", "ms", "values", "operations", "stored", "bytes", "kernels"], data.stages.map((s) =>
    [s.name, s.summary, s.ms.toFixed(2), s.nodes, count(s.flops), s.stored, mib(s.bytes), s.kernels || ""]), {num: [2, 3, 4, 5, 6, 7],
    onRow: (i) => { slider.value = i; show(); }});
  show();
  return (pass, n) => {
    if (pass) slider.value = Math.max(0, data.stages.findIndex((s) => s.name === pass));
    show();
    if (n) onLine(n);
  };
}

// ---- tables; rows can be chosen by mouse and keyboard, and sorted by the columns of `sort`
function table(at, heads, rows, {num = [], sort = {}, onRow} = {}) {
  const head = make("tr"), all = [];
  let by = -1;
  const reorder = (column) => {
    const key = sort[column], down = by !== column ? -1 : 1;
    const order = rows.map((_, i) => i).sort((a, b) => down*(key(a) - key(b)) || a - b);
    by = by === column ? -1 : column;
    [...head.cells].forEach((th, i) => th.setAttribute("aria-sort", i !== column ? "none" : down < 0 ? "descending" : "ascending"));
    at.append(...order.map((i) => all[i]));
    return order[0];
  };
  heads.forEach((h, i) => {
    const th = make("th", sort[i] ? undefined : h, num.includes(i) ? "num" : "");
    th.scope = "col";
    if (sort[i]) {
      const button = make("button", h, "sort");
      button.onclick = () => reorder(i);
      th.append(button);
    }
    head.append(th);
  });
  at.replaceChildren(head);
  const choose = (index) => {
    for (const r of all) { r.classList.toggle("on", r === all[index]); r.tabIndex = r === all[index] ? 0 : -1; }
    onRow(index);
  };
  rows.forEach((cells, index) => {
    const tr = make("tr");
    cells.forEach((c, i) => tr.append(make("td", c, num.includes(i) ? "num" : "")));
    if (onRow) {
      tr.tabIndex = index ? -1 : 0;         // one stop for the whole table; arrows move in it
      tr.onclick = () => choose(index);
      tr.onkeydown = (e) => {
        const next = {ArrowDown: tr.nextElementSibling, ArrowUp: tr.previousElementSibling}[e.key];
        if (e.key === "Enter" || e.key === " ") tr.onclick();
        else if (next && next !== head) { next.focus(); choose(all.indexOf(next)); }
        else return;
        e.preventDefault();
      };
    }
    all.push(tr);
    at.append(tr);
  });
  return {choose, reorder};
}

// ---- kernels
// The least time in which this machine could do it; 0: its ceilings were not measured.
const floorOf = (data, k) => data.ceiling.flops ? Math.max(k.flops/data.ceiling.flops, k.bytes/data.ceiling.bytes) : 0;
const roof = (data, k) => k.seconds && data.ceiling.flops ? (100*floorOf(data, k)/k.seconds).toFixed(0) + " %" : "";

function kernelsView(data, goToLine) {
  let chosen = 0;
  const text = () => {
    const k = data.kernels[chosen], language = document.querySelector("[name=language]:checked").value;
    $("kernel-name").textContent = k.name;
    $("kernel-facts").textContent = [k.layer, k.family, k.launches + (k.launches === 1 ? " run" : " runs"), count(k.flops) + "FLOP", mib(k.bytes)]
      .concat(k.seconds ? [(k.seconds*1e3).toFixed(3) + " ms", count(k.flops/k.seconds) + "FLOP/s", (k.bytes/k.seconds*1e-9).toFixed(1) + " GB/s"] : [])
      .concat(roof(data, k) ? [roof(data, k) + " of the roof"] : []).filter((x) => x).join(" \u00b7 ");
    $("kernel-line").textContent = k.place ? (k.line ? "line " : "") + k.place : "";
    $("kernel-line").disabled = !k.line;
    $("kernel-text").textContent = k[language] || "There is no text in this language.";
  };
  $("kernel-line").onclick = () => goToLine(data.kernels[chosen].line);
  const list = make("table");
  $("kernel-list").append(list);
  const key = (name) => (i) => data.kernels[i][name], timed = data.measured;
  const shown = table(list, ["kernel", "family"].concat(timed ? ["ms", "roof"] : []).concat(["runs", "FLOP", "bytes", "line"]), data.kernels.map((k) =>
    [k.name, k.family].concat(timed ? [(k.seconds*1e3).toFixed(3), roof(data, k)] : [])
      .concat([k.launches, count(k.flops), mib(k.bytes), k.place])),
    {num: timed ? [2, 3, 4, 5, 6] : [2, 3, 4], onRow: (i) => { chosen = i; text(); },
     sort: timed ? {2: key("seconds"), 3: (i) => floorOf(data, data.kernels[i])/(data.kernels[i].seconds || Infinity), 4: key("launches"), 5: key("flops"), 6: key("bytes")}
                 : {2: key("launches"), 3: key("flops"), 4: key("bytes")}});
  for (const r of document.querySelectorAll("[name=language]")) r.onchange = text;
  if (data.kernels.length) shown.choose(timed ? shown.reorder(2) : 0);
  return (i) => shown.choose(i);
}

// ---- drawing
function canvas(id, draw) {
  const c = $(id), context = c.getContext("2d");
  const redraw = () => {
    if (!c.clientWidth) return;
    const scale = window.devicePixelRatio || 1;
    c.width = c.clientWidth*scale;
    c.height = c.clientHeight*scale;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    draw(context, c.clientWidth, c.clientHeight);
  };
  window.addEventListener("resize", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  return {c, redraw};
}
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

function memoryView(data) {
  const m = data.memory, n = m.launches.length || 1;
  const blocks = m.buffers.map(([name, kind, offset, bytes, first, last, type, layer]) => {
    const whole = kind === "param" || kind === "state" || kind === "input" || kind === "kept";
    const line = kind === "temp" && m.launches[first] ? m.launches[first][1] : 0;
    const by = layer + (line ? (layer ? ":" : "line ") + line : "");
    return {name, kind, offset, bytes, first: whole ? 0 : first, last: whole ? n - 1 : last, type, by};
  });
  let chosen = -1;
  const box = (b, w, h) => [b.first/n*w, h - (b.offset + b.bytes)/m.arena*h, Math.max((b.last - b.first + 1)/n*w, 1), Math.max(b.bytes/m.arena*h, .5)];
  const view = canvas("gantt", (g, w, h) => {
    const shade = {param: colour("param"), state: colour("param"), input: colour("input"), output: colour("output"), temp: colour("temp"), kept: colour("param")};
    blocks.forEach((b, i) => {
      const [x, y, bw, bh] = box(b, w, h);
      g.fillStyle = shade[b.kind];
      g.globalAlpha = i === chosen ? 1 : .72;
      g.fillRect(x, y, bw, bh);
      if (bw > 3 && bh > 3) { g.strokeStyle = colour("panel"); g.globalAlpha = .6; g.strokeRect(x + .5, y + .5, bw - 1, bh - 1); }
    });
    g.globalAlpha = 1;
    if (chosen >= 0) {
      const [x, y, bw, bh] = box(blocks[chosen], w, h);
      g.strokeStyle = colour("text");
      g.lineWidth = 2;
      g.strokeRect(x, y, bw, Math.max(bh, 2));
      g.lineWidth = 1;
    }
  });
  const tell = (i) => {
    if (i === chosen) return;
    chosen = i;
    const b = blocks[i];
    $("gantt-tip").textContent = b ? b.name + " : " + b.type + ", " + b.kind + ", " + mib(b.bytes) + " at " + b.offset
      + ", launches " + b.first + " to " + b.last + (b.by ? ", " + b.by : "") : "Point at a block, or choose a row.";
    view.redraw();
  };
  view.c.onmousemove = (e) => {
    const w = view.c.clientWidth, h = view.c.clientHeight;
    tell(blocks.findIndex((b) => { const [x, y, bw, bh] = box(b, w, h);
      return e.offsetX >= x && e.offsetX < x + bw && e.offsetY >= y && e.offsetY < y + bh; }));
  };
  $("memory-facts").textContent = mib(m.arena) + " in all; the largest live set is " + mib(m.live) + " ("
    + (100*m.live/(m.arena || 1)).toFixed(1) + " % of it). " + n + " launches from left to right.";
  const order = blocks.map((b, i) => i).sort((a, b) => blocks[b].bytes - blocks[a].bytes).slice(0, 200);
  table($("buffers"), ["buffer", "type", "kind", "size", "offset", "from", "to", "made by"], order.map((i) => {
    const b = blocks[i];
    return [b.name, b.type, b.kind, mib(b.bytes), b.offset, b.first, b.last, b.by];
  }), {num: [3, 4, 5, 6], onRow: (i) => tell(order[i])});
}

// ---- routing: the capacity table, and what other capacities would drop
const percent = (x) => x === 0 ? "0" : x < .001 ? "< 0.1 %" : (100*x).toFixed(1) + " %";

function routingView(data) {
  const routes = data.plan.routes || [], seen = new Set();
  if (!routes.length) return;
  $("tab-routing").hidden = false;
  const all = make("table");
  $("routes").append(all);
  table(all, ["layer", "line", "experts", "top", "pool", "tokens", "capacity", "rows each", "memory", "expected drop"], routes.map((r) =>
    [r.layer, r.place.split(":")[1], r.experts, r.choices, r.pool, r.pool_tokens, r.experts_choose ? "experts choose" : r.dropless ? "dropless" : (r.rows*r.experts/(r.pool_tokens*r.choices || 1)).toFixed(2),
     r.rows, mib(r.bytes), percent(r.expected_drop)]), {num: [1, 2, 3, 5, 6, 7, 8, 9]});
  for (const r of routes) {
    const key = [r.experts, r.choices, r.pool_tokens].join();
    if (seen.has(key) || !r.what_if.length) continue;
    seen.add(key);
    $("routes").append(make("h2", "What if: " + r.experts + " experts, top " + r.choices + ", pools of " + r.pool_tokens + " tokens"));
    const t = make("table");
    $("routes").append(t);
    table(t, ["capacity", "rows each", "of dropless", "expected drop", ""], r.what_if.map((w) =>
      [w.dropless ? "dropless" : w.capacity, w.rows, (100*w.rows/r.pool_tokens).toFixed(0) + " %", percent(w.expected_drop), ""]), {num: [1, 2, 3]});
    const most = Math.max(...r.what_if.map((w) => w.expected_drop));
    r.what_if.forEach((w, i) => {
      const bar = make("span", undefined, "bar-of");
      bar.style.width = (most ? 9*w.expected_drop/most : 0) + "rem";
      t.rows[i + 1].cells[4].append(bar);
    });
  }
  $("routes").append(make("p", "Drops are of the choices, if all experts were chosen equally often; an uneven router drops more.", "facts"));
}

// ---- time
const shades = ["param", "temp", "output", "input", "mark", "soft", "new-edge", "focus"];

// Each kernel as a dot: operations a byte, operations a second; the roof is what the machine can do.
function roofView(data, families, tell, open) {
  const dots = data.kernels.map((k, i) => ({i, k, x: k.flops/(k.bytes || 1), y: k.flops/(k.seconds || 1)})).filter((d) => d.k.seconds > 0 && d.k.flops > 0);
  if (!data.ceiling.flops || !dots.length) return;
  $("roof-part").hidden = false;
  const ridge = data.ceiling.flops/data.ceiling.bytes, all = dots.reduce((s, d) => s + d.k.seconds, 0);
  const x0 = Math.min(ridge/10, ...dots.map((d) => d.x))/1.5, x1 = Math.max(ridge*10, ...dots.map((d) => d.x))*1.5;
  const y1 = Math.max(data.ceiling.flops, ...dots.map((d) => d.y))*2, y0 = Math.max(Math.min(x0*data.ceiling.bytes, ...dots.map((d) => d.y))/2, y1/1e7);
  const left = 46, right = 12, top = 22, bottom = 40;
  const px = (x, w) => left + Math.log(x/x0)/Math.log(x1/x0)*(w - left - right);
  const py = (y, h) => h - bottom - Math.log(Math.max(y, y0)/y0)/Math.log(y1/y0)*(h - top - bottom);
  const size = (d) => 3 + 15*Math.sqrt(d.k.seconds/all);
  const view = canvas("roof", (g, w, h) => {
    g.font = "12px system-ui, sans-serif";
    g.fillStyle = colour("soft");
    g.strokeStyle = colour("line");
    const grid = (x, y, u, v) => { g.beginPath(); g.moveTo(x, y); g.lineTo(u, v); g.stroke(); };
    for (let e = Math.ceil(Math.log10(y0)); 10**e <= y1; e++) {
      grid(left, py(10**e, h), w - right, py(10**e, h));
      g.textAlign = "right";
      g.fillText(10**(e % 3) + " " + (["", "k", "M", "G", "T", "P"][Math.floor(e/3)] || ""), left - 4, py(10**e, h) + 4);
    }
    for (let e = Math.ceil(Math.log10(x0)); 10**e <= x1; e++) {
      grid(px(10**e, w), top, px(10**e, w), h - bottom);
      g.textAlign = "center";
      g.fillText(e < 0 ? (10**e).toFixed(-e) : 10**e, px(10**e, w), h - bottom + 15);
    }
    g.textAlign = "left";
    g.fillText("FLOP/s", 4, 14);
    g.textAlign = "center";
    g.fillText("floating-point operations a byte", (w + left)/2, h - 7);
    g.strokeStyle = colour("text");
    g.lineWidth = 1.5;
    g.beginPath();
    g.moveTo(px(x0, w), py(x0*data.ceiling.bytes, h));
    g.lineTo(px(ridge, w), py(data.ceiling.flops, h));
    g.lineTo(px(x1, w), py(data.ceiling.flops, h));
    g.stroke();
    g.lineWidth = 1;
    for (const d of dots) {
      g.beginPath();
      g.arc(px(d.x, w), py(d.y, h), size(d), 0, 7);
      g.globalAlpha = .65;
      g.fillStyle = colour(shades[families.indexOf(d.k.family) % shades.length]);
      g.fill();
      g.globalAlpha = 1;
      g.strokeStyle = colour("back");
      g.stroke();
    }
  });
  const near = (e) => {
    const w = view.c.clientWidth, h = view.c.clientHeight;
    const away = (d) => Math.hypot(px(d.x, w) - e.offsetX, py(d.y, h) - e.offsetY) - size(d);
    const d = dots.reduce((a, b) => away(b) < away(a) ? b : a);
    return away(d) < 8 ? d : null;
  };
  view.c.onmousemove = (e) => { const d = near(e); view.c.style.cursor = d ? "pointer" : ""; if (d) $("roof-tip").textContent = tell(d.k); };
  view.c.onclick = (e) => { const d = near(e); if (d) open(d.i); };
  $("roof-facts").textContent = "The roof: " + count(data.ceiling.flops) + "FLOP/s and " + (data.ceiling.bytes*1e-9).toFixed(1)
    + " GB/s, measured here. A dot is a kernel, its size the share of the time. Above the slope: its data come out of a cache.";
}

function traceView(data, open) {
  if (!data.measured) return;
  $("tab-trace").hidden = false;
  const launches = data.memory.launches, total = launches.reduce((s, l) => s + l[2], 0) || 1;
  const spent = (family) => data.kernels.reduce((s, k) => s + (k.family === family ? k.seconds : 0), 0);
  const families = [...new Set(data.kernels.map((k) => k.family))].sort((a, b) => spent(b) - spent(a));
  const starts = [];
  launches.reduce((s, l) => { starts.push(s); return s + l[2]; }, 0);
  const view = canvas("timeline", (g, w, h) => {
    const paint = shades.map(colour);
    launches.forEach((l, i) => {
      const k = data.kernels[l[0] - 1];
      g.fillStyle = paint[families.indexOf(k.family) % paint.length];
      g.fillRect(starts[i]/total*w, 8, Math.max(l[2]/total*w - .4, .3), h - 16);
    });
  });
  const under = (e) => {
    const at = e.offsetX/view.c.clientWidth*total;
    return starts.findIndex((s, k) => at >= s && at < s + launches[k][2]);
  };
  const tell = (k) => k.name + " (" + k.family + (k.layer ? ", " + k.layer : "") + "): " + (k.seconds*1e3).toFixed(3) + " ms, "
    + count(k.flops/k.seconds) + "FLOP/s, " + (k.bytes/k.seconds*1e-9).toFixed(1) + " GB/s" + (roof(data, k) ? ", " + roof(data, k) + " of the roof" : "");
  view.c.onmousemove = (e) => {
    const i = under(e);
    if (i < 0) return;
    const k = data.kernels[launches[i][0] - 1];
    $("timeline-tip").textContent = "launch " + i + ": " + k.name + " (" + k.family + "), " + launches[i][2].toFixed(1) + " us"
      + (launches[i][1] ? ", line " + launches[i][1] : "");
  };
  view.c.onclick = (e) => { const i = under(e); if (i >= 0) open(launches[i][0] - 1); };
  $("trace-facts").textContent = (total/1e3).toFixed(3) + " ms in " + launches.length + " launches, the least time of each.";
  families.forEach((f, i) => {
    const entry = make("span", f + " " + (1e8*spent(f)/total).toFixed(0) + " %"), swatch = make("i", "", "swatch");
    swatch.style.background = "var(--" + shades[i % shades.length] + ")";
    entry.prepend(swatch);
    $("families").append(entry, " ");
  });
  const order = data.kernels.map((_, i) => i).sort((a, b) => data.kernels[b].seconds - data.kernels[a].seconds).slice(0, 20);
  const floor = data.kernels.reduce((s, k) => s + floorOf(data, k), 0);
  if (floor) $("trace-facts").textContent += " With all data in memory and no cache, the machine's ceilings allow " + (floor*1e3).toFixed(3) + " ms.";
  table($("times"), ["kernel", "family", "ms", "share", "runs", "GFLOP/s", "GB/s", "roof", "layer"], order.map((i) => {
    const k = data.kernels[i], s = k.seconds || 1e-12;
    return [k.name, k.family, (s*1e3).toFixed(3), (1e8*s/total).toFixed(1) + " %", k.launches, (k.flops/s*1e-9).toFixed(1), (k.bytes/s*1e-9).toFixed(1),
            roof(data, k), k.layer];
  }), {num: [2, 3, 4, 5, 6, 7], onRow: (i) => { $("timeline-tip").textContent = tell(data.kernels[order[i]]); }});
  roofView(data, families, tell, open);
}

// #memory opens a view; #ir:fuse_loops:12 a stage of the IR, with what line 12 of the source became.
function follow(choose, goTo) {
  const [view, pass, line] = decodeURIComponent(location.hash.slice(1)).split(":");
  const tab = [...document.querySelectorAll("[role=tab]")].find((t) => !t.hidden && (t.id === "tab-" + view || t.textContent.toLowerCase() === view));
  if (tab) choose(tab.id.slice(4));
  if (view === "ir" && pass) goTo(pass, +line);
}

read().then((data) => {
  const choose = tabs(), goTo = irView(data);
  const openKernel = kernelsView(data, (line) => { choose("ir"); goTo(null, line); });
  memoryView(data);
  routingView(data);
  traceView(data, (i) => { choose("kernels"); openKernel(i); });
  $("plain").hidden = true;
  document.querySelector("main").hidden = false;
  follow(choose, goTo);
  window.addEventListener("hashchange", () => follow(choose, goTo));
  window.dispatchEvent(new Event("resize"));
  document.documentElement.dataset.ready = "yes";
}).catch((e) => { $("about").textContent += " \u00b7 the interactive part needs a newer browser (" + e.message + ")"; });
