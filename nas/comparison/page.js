"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const by = (id) => document.getElementById(id);
  const svgNS = "http://www.w3.org/2000/svg";
  const section = by("plot"), chart = by("chart"), details = by("details"), caption = by("caption");
  const axisPick = by("axis"), seriesPick = by("series"), logBox = by("log");
  const atlasBox = by("atlas"), wideBox = by("wide");   // only there if there is a background
  const familyBoxes = [...document.querySelectorAll("input[name=family]")];

  // Shapes tell families apart where colours do not; 0 is for what is yours.
  const SHAPES = [
    "M0 -6.5 6.5 0 0 6.5 -6.5 0Z", "M-4.6 0a4.6 4.6 0 1 0 9.2 0a4.6 4.6 0 1 0 -9.2 0Z", "M-4.2 -4.2H4.2V4.2H-4.2Z", "M0 -5.4 5.2 4.2H-5.2Z",
    "M0 5.4 5.2 -4.2H-5.2Z", "M-1.8 -5H1.8V-1.8H5V1.8H1.8V5H-1.8V1.8H-5V-1.8H-1.8Z", "M0 -5.4 5.1 -1.7 3.2 4.4H-3.2L-5.1 -1.7Z", "M-5 -2.9 0 -5.6 5 -2.9V2.9L0 5.6 -5 2.9Z",
  ];
  document.querySelectorAll("[data-shape]").forEach((path) => path.setAttribute("d", SHAPES[path.dataset.shape % SHAPES.length]));

  function make(name, attributes = {}, parent = null, text = "") {
    const node = document.createElementNS(svgNS, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text) node.textContent = text;
    if (parent) parent.append(node);
    return node;
  }

  // Three significant digits, thousands grouped: as in the table.
  function number(value) {
    if (value === 0) return "0";
    let digits = 0;
    while (digits < 6 && Math.abs(value) < 100 / 10 ** digits) digits += 1;
    return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  }

  function frontOf(rows, axis, series) {
    const points = rows.filter((row) => row.series === series && row.values[axis]);
    const x = (row) => row.values[axis].value;
    const beats = (a, b) => x(a) <= x(b) && a.ap >= b.ap && (x(a) < x(b) || a.ap > b.ap);
    return points.filter((row) => !points.some((other) => beats(other, row))).sort((a, b) => x(a) - x(b) || (a.name < b.name ? -1 : 1));
  }

  function maybe(row, rows, axis) {
    const bounds = (one) => one.values[axis].interval || [one.values[axis].value, one.values[axis].value];
    return !rows.some((other) => other !== row && other.series === row.series && other.values[axis] && other.ap >= row.ap && bounds(other)[1] < bounds(row)[0]);
  }

  function view() {
    const families = new Set(familyBoxes.filter((box) => box.checked).map((box) => box.value));
    const axis = data.axes.find((one) => one.key === axisPick.value);
    const rows = data.rows.filter((row) => families.has(row.family) && row.values[axis.key]);
    const shown = data.series.filter((one) => seriesPick.value === "*" || one.key === seriesPick.value);
    const keys = new Set(shown.map((one) => one.key));
    const fronts = shown.map((one) => ({ series: one, rows: frontOf(rows, axis.key, one.key) }));
    // The background is published AP: it is not mixed with another accuracy.
    const behind = atlasBox && atlasBox.checked && keys.has("published") ? data.background.filter((one) => axis.key in one.values) : [];
    return { axis, rows, shown, fronts, behind, points: rows.filter((row) => keys.has(row.series)), bare: rows.filter((row) => row.ap === null) };
  }

  function ticks(low, high, log, room) {
    const found = [];
    if (log) {
      const decades = Math.log10(high / low);
      const steps = decades > 2.2 || room < 420 && decades > 1.2 ? [1, 2, 5] : decades > 0.9 ? [1, 2, 3, 5, 7] : [1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9];
      for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1)
        for (const step of steps) if (step * 10 ** power >= low && step * 10 ** power <= high) found.push(step * 10 ** power);
      return found;
    }
    const rough = (high - low) / Math.max(3, Math.min(8, room / 70));
    const unit = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((one) => one * unit).find((one) => one >= rough);
    for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) found.push(Number(value.toPrecision(12)));
    return found;
  }

  const plain = (value) => value.toLocaleString("en-US", { maximumSignificantDigits: 4 });

  let active = null;   // name of the point that keyboard or pointer is at
  let nodes = [];      // {row, x, y, group}, left to right
  let drawn = 0;       // width of the chart when it was last drawn

  function draw() {
    const seen = view();
    drawn = chart.clientWidth;
    const width = Math.max(260, drawn);
    const height = Math.round(Math.min(520, Math.max(330, width * 0.6)));
    const strip = seen.bare.length ? 24 : 0;
    const box = { left: 40, right: width - 14, top: 26, bottom: height - 44 - strip };
    const log = logBox.checked;
    const everything = [...seen.points, ...seen.bare];
    const xs = everything.map((row) => row.values[seen.axis.key].value), ys = seen.points.map((row) => row.ap);
    if (seen.behind.length && (wideBox.checked || !ys.length)) {   // with no AP among the rows the atlas sets the axes
      xs.push(...seen.behind.map((one) => one.values[seen.axis.key]));
      ys.push(...seen.behind.map((one) => one.ap));
    }
    let [low, high] = xs.length ? [Math.min(...xs), Math.max(...xs)] : [1, 10];
    if (log && low > 0) { const pad = Math.max((high / low) ** 0.06, 1.12); low /= pad; high *= pad; }
    else { const pad = Math.max((high - low) * 0.06, high * 0.03); low = Math.max(0, low - pad); high += pad; }
    let [least, most] = ys.length ? [Math.min(...ys), Math.max(...ys)] : [0, 1];
    const lift = Math.max((most - least) * 0.1, 0.5);
    least = Math.max(0, least - lift); most = Math.min(100, most + lift);
    const scale = (value) => (log && low > 0 ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low));
    const x = (value) => box.left + scale(value) * (box.right - box.left);
    const y = (value) => box.bottom - (value - least) / (most - least) * (box.bottom - box.top);

    const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "group", "aria-label": `AP over ${label(seen.axis)}` });
    const back = make("g", { "aria-hidden": "true" }, svg);
    for (const value of ticks(least, most, false, (box.bottom - box.top) * 1.4)) {
      make("line", { class: "grid", x1: box.left, x2: box.right, y1: y(value), y2: y(value) }, back);
      make("text", { x: box.left - 7, y: y(value) + 4, "text-anchor": "end" }, back, plain(value));
    }
    for (const value of ticks(low, high, log && low > 0, box.right - box.left)) {
      make("line", { class: "base", x1: x(value), x2: x(value), y1: box.bottom + strip, y2: box.bottom + strip + 4 }, back);
      make("text", { x: x(value), y: box.bottom + strip + 18, "text-anchor": "middle" }, back, plain(value));
    }
    if (strip) {
      make("rect", { class: "strip", x: box.left, y: box.bottom + 2, width: box.right - box.left, height: strip - 3 }, back);
    }
    make("line", { class: "base", x1: box.left, x2: box.right, y1: box.bottom + strip, y2: box.bottom + strip }, back);
    make("text", { x: 0, y: 12 }, back, "AP, %");
    make("text", { x: box.right, y: height - 6, "text-anchor": "end" }, back, `${label(seen.axis)}, ${seen.axis.unit}${log && low > 0 ? ", log" : ""}`);

    background(svg, seen, x, y, box);
    const lines = make("g", { "aria-hidden": "true" }, svg);
    const at = (row) => [x(row.values[seen.axis.key].value), y(row.ap)];
    for (const family of data.rows.map((row) => row.family).filter((one, i, all) => all.indexOf(one) === i)) {
      const kin = seen.points.filter((row) => row.family === family && row.kind === "zoo").sort((a, b) => at(a)[0] - at(b)[0]);
      if (kin.length > 1) make("path", { class: `kin f${data.colours[family]}`, d: "M" + kin.map((row) => at(row).join(" ")).join("L") }, lines);
    }
    const members = new Set();
    // Thin lines from every cut network to its parent; one without AP is at its place in the strip.
    const spot = (row) => [x(row.values[seen.axis.key].value), row.ap === null ? box.bottom + 13 : y(row.ap)];
    for (const row of everything) {
      const parent = row.parent && everything.find((one) => one.name === row.parent);
      if (parent) make("path", { class: `cut f${data.colours[row.family]}`, d: `M${spot(parent).join(" ")}L${spot(row).join(" ")}` }, lines);
    }
    for (const front of seen.fronts) {
      if (!front.rows.length) continue;
      front.rows.forEach((row) => members.add(row.name));
      let path = "";
      front.rows.forEach((row, i) => { const [px, py] = at(row); path += i ? `H${px}V${py}` : `M${px} ${py}`; });
      make("path", { class: "front" + (front.series.key === "published" ? "" : " own"), d: path + `H${box.right}` }, lines);
    }
    for (const row of seen.bare) make("line", { class: `drop f${data.colours[row.family]}`, x1: x(row.values[seen.axis.key].value), x2: x(row.values[seen.axis.key].value), y1: box.top, y2: box.bottom + 13 }, lines);

    const layer = make("g", { role: "listbox", "aria-label": `Networks by ${label(seen.axis)}. Arrow keys go from one to the next.`, "aria-orientation": "horizontal" }, svg);
    nodes = everything.map((row) => {
      const px = x(row.values[seen.axis.key].value), py = row.ap === null ? box.bottom + 13 : y(row.ap);
      return { row, x: px, y: py };
    }).sort((a, b) => a.x - b.x || a.y - b.y);
    for (const node of nodes) {
      const { row } = node, reading = row.values[seen.axis.key], on = members.has(row.name);
      node.state = row.ap === null ? "no AP yet, cannot be placed" : on ? "on the front of those shown" : maybe(row, seen.points, seen.axis.key) ? "off the front, within the intervals it might be on it" : "off the front";
      const group = make("g", { class: `point f${data.colours[row.family]}${on || row.ap === null ? " on" : ""}`, role: "option", tabindex: "-1", "aria-selected": "false", "aria-label": spoken(row, seen.axis, node.state) }, layer);
      if (reading.interval && (row.kind !== "zoo")) bounds(group, x, reading, node.y);
      make("path", { d: SHAPES[data.colours[row.family] % SHAPES.length], transform: `translate(${node.x} ${node.y})` }, group);
      make("circle", { class: "ring", cx: node.x, cy: node.y, r: 10 }, group);
      node.group = group;
      group.addEventListener("focus", () => activate(node, seen, x, true));
      group.addEventListener("keydown", (event) => step(event, node));
    }
    const front = make("g", { "aria-hidden": "true" }, svg);
    names(front, svg, nodes.filter((node) => members.has(node.row.name) || node.row.kind !== "zoo"), box);
    svg.addEventListener("pointermove", (event) => near(event, seen, x));
    svg.addEventListener("pointerdown", (event) => near(event, seen, x));
    const had = chart.contains(document.activeElement);
    chart.replaceChildren(svg);
    place();
    const again = nodes.find((node) => node.row.name === active);
    if (nodes.length) (again || nodes[0]).group.setAttribute("tabindex", "0");
    if (again) { activate(again, seen, x, false); if (had) again.group.focus({ preventScroll: true }); } else { active = null; hint(); }
    by("warning").hidden = seen.shown.length < 2;
    caption.textContent = describe(seen);
  }

  // The atlas: thin lines and small points in gray within the axes of what is compared, named under the pointer.
  function background(svg, seen, x, y, box) {
    if (!seen.behind.length) return;
    const [w, h] = [box.right - box.left, box.bottom - box.top];   // an inner svg clips what lies beyond the axes
    const layer = make("svg", { class: "atlas", "aria-hidden": "true", x: box.left, y: box.top, width: w, height: h, viewBox: `${box.left} ${box.top} ${w} ${h}` }, svg);
    const spot = (one) => [x(one.values[seen.axis.key]), y(one.ap)];
    const best = new Map();   // family -> network -> its best entry, which the family's line joins
    for (const one of [...seen.behind].sort((a, b) => b.ap - a.ap)) {
      if (!best.has(one.family)) best.set(one.family, new Map());
      if (!best.get(one.family).has(one.name)) best.get(one.family).set(one.name, one);
    }
    for (const family of best.values()) {
      const kin = [...family.values()].sort((a, b) => spot(a)[0] - spot(b)[0]);
      if (kin.length > 1) make("path", { d: "M" + kin.map((one) => spot(one).join(" ")).join("L") }, layer);
    }
    for (const one of seen.behind) {
      const [cx, cy] = spot(one);
      const point = make("circle", { cx, cy, r: 2.6 }, layer);
      make("title", {}, point, `${one.name}, ${one.family}: AP ${one.ap}; ${one.recipe}`);
      point.addEventListener("pointerenter", () => told(one, seen));
    }
  }

  function told(one, seen) {
    for (const node of nodes) { node.group.classList.remove("active"); node.group.setAttribute("aria-selected", "false"); }
    active = null;
    const lines = [["AP", `${one.ap}, published`], ["family", one.family], ["recipe", one.recipe]];
    for (const axis of data.axes) if (axis.key in one.values) lines.push([axis.kind === "cost" ? axis.label : `${axis.label}, ${axis.kind}`, `${number(one.values[axis.key])} ${axis.unit}`]);
    if (one.source) lines.push(["source", one.source]);
    fill(`${one.name} (atlas)`, lines);
  }

  const label = (axis) => (axis.kind === "cost" ? axis.label : `${axis.kind} latency on ${axis.label}`);

  function bounds(parent, x, reading, y) {
    make("line", { class: "bounds", x1: x(reading.interval[0]), x2: x(reading.interval[1]), y1: y, y2: y }, parent);
  }

  // Names beside points, each where it covers no other name or point; a name without room is left out.
  let pending = null;
  function names(layer, svg, wanted, box) {
    pending = { layer, wanted, box };
  }
  function place() {
    if (!pending) return;
    const { layer, wanted, box } = pending;
    const taken = nodes.map((node) => ({ x0: node.x - 5, x1: node.x + 5, y0: node.y - 5, y1: node.y + 5, of: node }));
    const mine = (node) => (node.row.kind === "zoo" ? 1 : 0);
    for (const node of [...wanted].sort((a, b) => mine(a) - mine(b) || b.y - a.y)) {
      const text = make("text", { class: "name" }, layer, node.row.name.length > 28 ? node.row.name.slice(0, 27) + "…" : node.row.name);
      const w = text.getComputedTextLength(), strip = node.row.ap === null;
      const spots = strip ? [[9, 4], [-9 - w, 4]] : [[-8 - w, -6], [-6 - w / 2, -11], [9, 13], [-9 - w, 13], [9, -6], [9, 4], [-w / 2, 20], [-9 - w, 4]];
      const fits = spots.map(([dx, dy]) => ({ x0: node.x + dx, x1: node.x + dx + w, y0: node.y + dy - 10, y1: node.y + dy + 3 }))
        .find((r) => r.x0 >= 0 && r.x1 <= box.right + 14 && r.y0 >= 0 && !taken.some((t) => t.of !== node && r.x0 < t.x1 && r.x1 > t.x0 && r.y0 < t.y1 && r.y1 > t.y0));
      if (!fits) { text.remove(); continue; }
      text.setAttribute("x", fits.x0); text.setAttribute("y", fits.y1 - 3);
      taken.push(fits);
    }
    pending = null;
  }

  function spoken(row, axis, state) {
    const reading = row.values[axis.key];
    const interval = reading.interval ? `, interval ${number(reading.interval[0])} to ${number(reading.interval[1])}` : "";
    const origin = row.cut_from ? `, cut from ${row.cut_from}` : "";
    return `${row.name}, ${row.family}${origin}: ${number(reading.value)} ${axis.unit}${interval}, ${row.ap === null ? "" : `AP ${row.ap.toFixed(1)}, `}${state}`;
  }

  function activate(node, seen, x, move) {
    for (const one of nodes) {
      one.group.classList.toggle("active", one === node);
      one.group.setAttribute("aria-selected", one === node ? "true" : "false");
      if (move) one.group.setAttribute("tabindex", one === node ? "0" : "-1");
    }
    chart.querySelectorAll(".bounds.now").forEach((line) => line.remove());
    const reading = node.row.values[seen.axis.key];
    if (reading.interval) {
      bounds(node.group, x, reading, node.y);
      node.group.lastChild.classList.add("now");
    }
    active = node.row.name;
    show(node, seen);
  }

  function show(node, seen) {
    const { row } = node;
    const series = data.series.find((one) => one.key === row.series);
    const lines = [["AP", row.ap === null ? "none yet" : `${row.ap.toFixed(1)}, ${series.label}`], ["place", node.state]];
    for (const axis of data.axes) {
      const reading = row.values[axis.key];
      if (!reading) continue;
      const interval = reading.interval ? ` (${number(reading.interval[0])}–${number(reading.interval[1])})` : "";
      lines.push([axis.kind === "cost" ? axis.label : `${axis.label}, ${axis.kind}`, `${number(reading.value)} ${axis.unit}${interval}`]);
    }
    if (row.cut_from) lines.push(["cut from", row.cut_from]);
    lines.push(["input", `${row.input_px} px`], ["NMS", row.nms], ["weights", row.licence]);
    fill(row.name, lines);
    if (row.ap_note) {
      const note = document.createElement("p");
      note.textContent = row.ap_note;
      details.append(note);
    }
  }

  function fill(title, lines) {
    const head = document.createElement("h3"), list = document.createElement("dl");
    head.textContent = title;
    for (const [what, said] of lines) {
      const dt = document.createElement("dt"), dd = document.createElement("dd");
      dt.textContent = what; dd.textContent = said;
      list.append(dt, dd);
    }
    details.replaceChildren(head, list);
  }

  function hint() {
    const text = document.createElement("p");
    text.textContent = "Point at a network, or go through them with the arrow keys, to see all of its numbers here.";
    details.replaceChildren(text);
  }

  function step(event, node) {
    const here = nodes.indexOf(node);
    const to = { ArrowRight: here + 1, ArrowUp: here + 1, ArrowLeft: here - 1, ArrowDown: here - 1, Home: 0, End: nodes.length - 1 }[event.key];
    if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const next = nodes[Math.min(nodes.length - 1, Math.max(0, to))];
    next.group.focus({ preventScroll: true });
  }

  function near(event, seen, x) {
    const svg = event.currentTarget, frame = svg.getBoundingClientRect();
    const px = event.clientX - frame.left, py = event.clientY - frame.top;
    const reach = event.pointerType === "mouse" ? 18 : 30;
    let best = null, least = reach;
    for (const node of nodes) {
      const far = Math.hypot(node.x - px, node.y - py);
      if (far < least) { best = node; least = far; }
    }
    if (best && best.row.name !== active) activate(best, seen, x, false);
  }

  function describe(seen) {
    const parts = seen.fronts.map((front) => {
      const of = seen.points.filter((row) => row.series === front.series.key).length;
      if (!of) return `No network shown has ${front.series.label}.`;
      return `Front of the ${of} shown with ${front.series.label}: ${front.rows.map((row) => row.name).join(", ")}.`;
    });
    if (seen.bare.length) parts.push(`Without AP, marked in the strip: ${seen.bare.map((row) => row.name).join(", ")}.`);
    return parts.join(" ");
  }

  function sortable(table) {
    const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      const kind = head.querySelector("button").dataset.kind;
      const down = head.getAttribute("aria-sort") === "ascending" || !head.hasAttribute("aria-sort") && /AP/.test(head.textContent);
      heads.forEach((one) => one.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => { const cell = row.cells[column]; return kind === "number" ? (cell.dataset.sort === "" ? null : Number(cell.dataset.sort)) : cell.textContent.trim().toLowerCase(); };
      const rows = [...body.rows].map((row) => ({ row, key: key(row) }));
      rows.sort((a, b) => {
        if (a.key === null || b.key === null) return (a.key === null) - (b.key === null);   // what is not known stays last
        const order = kind === "number" ? a.key - b.key : a.key.localeCompare(b.key, "en", { numeric: true });
        return down ? -order : order;
      });
      body.append(...rows.map((one) => one.row));
    }));
  }

  section.hidden = false;
  if (!data.series.length) seriesPick.closest("label").hidden = true;
  for (const control of [axisPick, seriesPick, logBox, atlasBox, wideBox, ...familyBoxes].filter(Boolean)) control.addEventListener("change", draw);
  // Drawn in the next frame: within the observer's own, a new size would be reported as an error.
  new ResizeObserver(() => requestAnimationFrame(() => { if (chart.clientWidth !== drawn) draw(); })).observe(chart);
  window.addEventListener("beforeprint", () => document.querySelectorAll(".sources details").forEach((one) => { one.open = true; }));
  sortable(by("table"));
  draw();
})();
