"use strict";
// Draws the curves of a report: each `.chart` takes the figure of its name from the page's JSON.
(() => {
  const root = document.documentElement;
  const data = JSON.parse(document.getElementById("data").textContent);
  const drawn = new Map(); // element -> uPlot

  const LOOKS = {
    faint: { color: "--faint", width: 1 },
    train: { color: "--train", width: 2 },
    checks: { color: "--checks", width: 2, points: true },
    points: { color: "--dots", width: 0, points: true },
  };
  const WHOLE = [1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7].flatMap((k) => [k, 2 * k, 5 * k]);
  const TONES = { best: "--good", stop: "--soft" };
  const color = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const font = () => `12px ${getComputedStyle(document.body).fontFamily}`;

  // --- numbers as words ---

  function power(value) {
    const [mantissa, exponent] = value.toExponential(2).split("e");
    return `${Number(mantissa)}e${Number(exponent)}`;
  }

  function number(value) {
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-3 || size >= 1e7)) return power(value);
    return value.toLocaleString("en-US", { maximumSignificantDigits: size >= 1000 ? 6 : 3 });
  }

  // A tick of the horizontal axis: 1,200 but 500K.
  function short(value) {
    if (Math.abs(value) < 1e5) return number(value);
    return value.toLocaleString("en-US", { notation: "compact", maximumSignificantDigits: 3 });
  }

  const FORMATS = {
    number,
    percent: (value) => `${Number((100 * value).toFixed(2))}%`,
    rate: (value) => (value === 0 || value >= 0.01 ? number(value) : power(value)),
  };

  // --- scales ---

  function padded(low, high) {
    if (low === null || low === undefined) return [0, 1];
    const room = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
    return [low >= 0 && low < room ? 0 : low - room, high + room];
  }

  function paddedLog(low, high) {
    if (!(low > 0)) return [0.1, 1];
    const room = Math.max((high / low) ** 0.05, 1.1);
    return [low / room, high * room];
  }

  // Powers of ten; few decades also get their 2 and 5, many are thinned.
  function decades(low, high) {
    const first = Math.floor(Math.log10(low));
    const last = Math.ceil(Math.log10(high));
    const stride = Math.max(1, Math.ceil((last - first) / 8));
    const within = last - first <= 1 ? [1, 2, 3, 5] : last - first <= 3 ? [1, 2, 5] : [1];
    const ticks = [];
    for (let e = first; e <= last; e += stride) within.forEach((m) => ticks.push(m * 10 ** e));
    return ticks.filter((tick) => tick >= low && tick <= high);
  }

  function widest(u, texts, axis) {
    if (!texts) return u.axes[axis]._size || 40;
    u.ctx.font = u.axes[axis].font[0];
    const widths = texts.map((text) => (text ? u.ctx.measureText(text).width : 0));
    return Math.ceil(Math.max(0, ...widths) / devicePixelRatio) + 16;
  }

  // --- one chart's parts ---

  const GRID = { stroke: () => color("--grid"), width: 1 };

  function axes(figure) {
    const wide = figure.log && ((tick) => (tick >= 1e6 ? power(tick) : number(tick)));
    const format = wide || FORMATS[figure.format || "number"];
    const quiet = { stroke: () => color("--soft"), grid: GRID, ticks: { show: false } };
    const bare = { ...quiet, font: font(), labelFont: font() };
    const y = { ...bare, gap: 6, size: (u, texts) => widest(u, texts, 1) };
    y.values = (u, ticks) => ticks.map((tick) => (tick === null ? "" : format(tick)));
    if (figure.log) y.splits = (u, axis, low, high) => decades(low, high);
    if (figure.log) y.filter = (u, ticks) => ticks;
    const x = { ...bare, gap: 4, size: 24, values: (u, ticks) => ticks.map(short) };
    const words = { label: "predicted", labelSize: 18 };
    if (figure.square) return [{ ...x, ...words, label: "true value" }, { ...y, ...words }];
    const epoch = data.epoch >= 2 && figure.tall ? ` (${number(data.epoch)} make an epoch)` : "";
    const label = `step${epoch}`;
    return [{ ...x, label, labelSize: 18, incrs: WHOLE, grid: { show: false } }, y];
  }

  function look(series) {
    const { color: name, width, points } = LOOKS[series.look];
    const few = series.x.length <= 60;
    const dots = { show: Boolean(points) ? few || width === 0 : series.x.length === 1 };
    const scatter = series.look === "points";
    return {
      label: series.label,
      stroke: () => color(name),
      width,
      alpha: series.look === "faint" && series.x.length > 1200 ? 0.5 : 1,
      paths: scatter ? () => null : undefined,
      points: { ...dots, size: scatter ? 6 : 5, width: 0, fill: () => color(name) },
    };
  }

  function clipped(u, draw) {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top - 1, bbox.width, bbox.height + 1);
    ctx.clip();
    draw(ctx, bbox, devicePixelRatio);
    ctx.restore();
  }

  function label(ctx, text, x, y, tone, alignment) {
    ctx.textAlign = alignment;
    ctx.textBaseline = "middle";
    ctx.lineWidth = 5 * devicePixelRatio;
    ctx.strokeStyle = color("--card");
    ctx.strokeText(text, x, y);
    ctx.fillStyle = tone;
    ctx.fillText(text, x, y);
  }

  function line(ctx, fromX, fromY, toX, toY) {
    ctx.beginPath();
    ctx.moveTo(fromX, fromY);
    ctx.lineTo(toX, toY);
    ctx.stroke();
  }

  // A dashed line for each event, and its words on a row of their own.
  function drawMarks(u, marks) {
    clipped(u, (ctx, bbox, ratio) => {
      const places = marks.map((mark) => Math.round(u.valToPos(mark.x, "x", true)));
      const tones = marks.map((mark) => color(TONES[mark.kind] || "--soft"));
      ctx.lineWidth = ratio;
      ctx.setLineDash([4 * ratio, 4 * ratio]);
      places.forEach((x, i) => {
        ctx.strokeStyle = tones[i];
        line(ctx, x, bbox.top, x, bbox.top + bbox.height);
      });
      ctx.setLineDash([]);
      ctx.font = font().replace("12px", `${12 * ratio}px`);
      places.forEach((x, row) => {
        const left = x > bbox.left + bbox.width / 2;
        const y = bbox.top + (20 + 18 * row) * ratio;
        const beside = x + (left ? -7 : 7) * ratio;
        label(ctx, marks[row].label, beside, y, tones[row], left ? "right" : "left");
      });
    });
  }

  // A triangle at the top edge where a stretch that was not finite begins, and a bar as long as it.
  function drawBroken(u, stretches) {
    clipped(u, (ctx, bbox, ratio) => {
      ctx.fillStyle = color("--bad");
      for (const [first, last] of stretches) {
        const x = u.valToPos(first, "x", true);
        const end = u.valToPos(last, "x", true);
        ctx.fillRect(x - ratio, bbox.top - 1, Math.max(end - x, 2 * ratio), 4 * ratio);
        ctx.beginPath();
        ctx.moveTo(x - 5 * ratio, bbox.top - 1);
        ctx.lineTo(x + 5 * ratio, bbox.top - 1);
        ctx.lineTo(x, bbox.top + 9 * ratio);
        ctx.fill();
      }
    });
  }

  function drawDiagonal(u) {
    clipped(u, (ctx, bbox, ratio) => {
      const { min, max } = u.scales.x;
      ctx.strokeStyle = color("--checks");
      ctx.lineWidth = 1.5 * ratio;
      const [fromX, toX] = [min, max].map((value) => u.valToPos(value, "x", true));
      const [fromY, toY] = [min, max].map((value) => u.valToPos(value, "y", true));
      line(ctx, fromX, fromY, toX, toY);
    });
  }

  // --- words around a chart: what each line is, and what stands under the pointer ---

  function key(figure) {
    const list = document.createElement("div");
    list.className = "key";
    const add = (text, swatch) => {
      const item = list.appendChild(document.createElement("span"));
      item.textContent = text;
      item.style.setProperty("--swatch", `var(${swatch})`);
      return item;
    };
    figure.series.forEach((series) => add(series.label, LOOKS[series.look].color));
    if (figure.square) add("exact", "--checks");
    if ((figure.broken || []).length) add("▼ not a finite number", "--bad").className = "broken";
    list.hidden = list.children.length < 2;
    return list;
  }

  function nearest(column, index) {
    for (let i = index; i >= 0; i--) if (column[i] !== undefined) return column[i];
    return undefined;
  }

  function where(figure, x) {
    if (figure.square) return `true value ${number(x)}`;
    const epoch = data.epoch ? ` (epoch ${(x / data.epoch).toFixed(1)})` : "";
    return `step ${x.toLocaleString("en-US")}${epoch}`;
  }

  function said(figure, series, value) {
    const label = figure.square ? "predicted" : series.label;
    return `${label} ${value === null ? "not finite" : FORMATS[figure.format || "number"](value)}`;
  }

  function readOut(u, figure, tip) {
    const { idx, left } = u.cursor;
    tip.hidden = idx === null || idx === undefined;
    if (tip.hidden) return;
    const values = figure.series.map((series, i) => nearest(u.data[i + 1], idx));
    const lines = figure.series
      .filter((series, i) => values[i] !== undefined)
      .map((series) => said(figure, series, values[figure.series.indexOf(series)]));
    tip.textContent = [where(figure, u.data[0][idx]), ...lines].join("\n");
    const flip = left > u.over.clientWidth / 2;
    tip.style.left = flip ? "" : `${left + 10}px`;
    tip.style.right = flip ? `${u.over.clientWidth - left + 10}px` : "";
  }

  // --- drawing ---

  function columns(figure) {
    const tables = figure.series.map((series) => [series.x, series.y]);
    if (figure.square) return tables[0];
    const edges = (figure.broken || []).flat();
    if (edges.length) tables.push([[...new Set(edges)], [...new Set(edges)].map(() => null)]);
    return uPlot.join(tables).slice(0, figure.series.length + 1);
  }

  function stretch(low, high) {
    if (low === null || low === undefined) return [0, 1];
    return [low === 1 || low === high ? low - 1 : low, low === high ? high + 1 : high];
  }

  function limits(figure) {
    const all = figure.square ? [...figure.series[0].x, ...figure.series[0].y] : [];
    const span = [Math.min(...all), Math.max(...all)];
    const room = (span[1] - span[0]) * 0.04 || 1;
    const square = [span[0] - room, span[1] + room];
    const roomy = figure.log ? paddedLog : padded;
    const x = (u, low, high) => (figure.square ? square : stretch(low, high));
    const y = (u, low, high) => (figure.square ? square : roomy(low, high));
    return { x: { time: false, range: x }, y: { distr: figure.log ? 3 : 1, range: y } };
  }

  function draw(element, figure) {
    const list = key(figure);
    const tip = document.createElement("div");
    tip.className = "tip";
    tip.hidden = true;
    element.replaceChildren(list);
    const hooks = {
      drawAxes: [(u) => figure.square && drawDiagonal(u)],
      draw: [(u) => drawMarks(u, figure.marks || []), (u) => drawBroken(u, figure.broken || [])],
      ready: [(u) => u.over.append(tip)],
      setCursor: [(u) => readOut(u, figure, tip)],
    };
    const size = { width: element.clientWidth, height: element.clientHeight };
    if (!list.hidden) size.height -= list.offsetHeight + 6;
    const cursor = { y: false, drag: { x: !figure.square, y: false }, points: { size: 7 } };
    const series = [{}, ...figure.series.map(look)];
    const frame = { padding: [10, 22, 0, 0], legend: { show: false }, axes: axes(figure) };
    const options = { ...size, ...frame, hooks, cursor, series, scales: limits(figure) };
    drawn.set(element, new uPlot(options, columns(figure), element));
  }

  function drawAll() {
    drawn.forEach((chart) => chart.destroy());
    drawn.clear();
    for (const element of document.querySelectorAll("[data-chart]")) {
      const figure = { ...data[element.dataset.chart] };
      figure.square = element.dataset.chart === "residuals";
      figure.tall = element.classList.contains("tall");
      figure.series = (figure.series || []).filter((series) => series.x.length);
      element.hidden = figure.series.length === 0;
      if (!element.hidden) draw(element, figure);
    }
    root.dataset.drawn = drawn.size;
  }

  function onPaper(printing) {
    root.classList.toggle("printing", printing);
    if (printing) document.querySelectorAll("details").forEach((each) => (each.open = true));
    drawAll();
  }

  let width = 0;
  const resized = () => {
    if (window.innerWidth === width || root.classList.contains("printing")) return;
    width = window.innerWidth;
    drawAll();
  };
  window.addEventListener("error", (event) => (root.dataset.failed = event.message));
  window.addEventListener("resize", resized);
  window.addEventListener("beforeprint", () => onPaper(true));
  window.addEventListener("afterprint", () => onPaper(false));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  resized();
})();
