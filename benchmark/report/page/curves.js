// Small drawings: where the seeds of a cell lie, and how top-1 and the loss terms went.

const path = (points) =>
  points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
const scale = (from, to, start, end) => (value) =>
  start + ((value - from) / (to - from || 1)) * (end - start);

// Steps that a reader can count: 1, 2 or 5 times a power of ten.
function ticks(low, high, most) {
  const rough = (high - low) / most || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) =>
    Number(((first + i) * step).toPrecision(10)),
  );
}

// All seeds of a column's methods; what lies far below the others is shown at the edge.
function range(column) {
  const values = students.flatMap((row) => doneOf(row.cells[column]).map((run) => run.result.top1));
  if (!values.length) return null;
  values.sort((a, b) => a - b);
  const high = values.at(-1);
  const middle = values[Math.floor(values.length / 2)];
  const low = Math.max(values[0], middle - 8 * Math.max(high - middle, 0.25));
  const room = Math.max(high - low, 0.1) * 0.08;
  return { low: values[0], high, range: [low - room, high + room] };
}

function strip(row, column, [low, high], width = 104) {
  const height = 14;
  const x = scale(low, high, 4, width - 4);
  const cell = row.cells[column];
  const ground = rowNamed("scratch")?.cells[column].mean;
  const at = (value) => Math.max(3, x(value));
  return svg(
    "svg",
    {
      class: "strip tone",
      viewBox: `0 0 ${width} ${height}`,
      width,
      height,
      "aria-hidden": "true",
      "--c": lookOf(row)?.[0] ?? "#777",
    },
    svg("path", { class: "axis", d: `M0 ${height / 2}H${width}` }),
    ground && x(ground) > 0 && svg("path", { class: "ground", d: `M${x(ground)} 1V${height - 1}` }),
    doneOf(cell).map((run) =>
      run.result.top1 < low
        ? svg("path", { class: "dot", d: `M6 ${height / 2 - 3.5}v7l-5.5-3.5z` })
        : svg("circle", { class: "dot", cx: x(run.result.top1), cy: height / 2, r: 2.6 }),
    ),
    cell.mean !== null && svg("path", { class: "mean", d: `M${at(cell.mean)} 2V${height - 2}` }),
  );
}

// A seed's points; the mean of those seeds that share their epochs.
const pointsOf = (run) => run.top1.map((value, i) => [pool[run.axis].epochs[i], value / 100]);

function meanOf(list) {
  const same = list.filter((run) => run.axis === list[0].axis);
  return same[0].top1.map((_, i) => [
    pool[same[0].axis].epochs[i],
    mean(same.map((run) => run.top1[i])) / 100,
  ]);
}

function curve(row, column, width, height) {
  const done = doneOf(row.cells[column]).filter((run) => run.top1.length > 0);
  if (!done.length) return null;
  const axis = pool[done[0].axis];
  const others = content.references
    .map(rowNamed)
    .filter((other) => other && other !== row && row.role === "student")
    .map((other) => [other.name, doneOf(other.cells[column]).filter((run) => run.top1.length > 0)])
    .filter(([, list]) => list.length > 0)
    .map(([name, list]) => [name, meanOf(list)]);
  const own = done.map(pointsOf);
  const last = axis.epochs.at(-1);
  const late = Math.floor(last * 0.75);
  const lines = [...own, ...others.map(([, points]) => points)];
  const split = Math.round(width * 0.56);
  const words = `Top-1 by epoch, ${plural(done.length, "seed")}, ${percent(mean(done.map((run) => run.result.top1)))} after the last.`;
  return svg(
    "svg",
    {
      class: "curve tone",
      viewBox: `0 0 ${width} ${height}`,
      role: "img",
      "aria-label": words,
      "--c": lookOf(row)?.[0] ?? "#777",
    },
    panel({
      box: [38, split, 16, height - 24],
      from: 0,
      to: last,
      lines,
      own,
      others,
      axis,
      phases: true,
    }),
    late < last &&
      last > 4 &&
      panel({
        box: [split + 44, width - 14, 16, height - 24],
        from: late,
        to: last,
        lines,
        own,
        others,
        axis,
        tint: true,
      }),
  );
}

function panel({
  box: [left, right, top, bottom],
  from,
  to,
  lines,
  own,
  others,
  axis,
  phases,
  tint,
}) {
  const inside = (points) => points.filter(([epoch]) => epoch >= from);
  const values = lines.flatMap((points) => inside(points).map(([, value]) => value));
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = Math.max(high - low, 0.2) * 0.05;
  const x = scale(from, to, left, right);
  const y = scale(low - room, high + room, bottom, top);
  const draw = (points) => path(inside(points).map(([epoch, value]) => [x(epoch), y(value)]));
  return svg(
    "g",
    {},
    svg("rect", {
      class: tint ? "panel tint" : "panel",
      x: left,
      y: top,
      width: right - left,
      height: bottom - top,
    }),
    phases && bands(axis, x, top, bottom),
    ticks(low, high, 5).map((value) => [
      svg("path", { class: "grid", d: `M${left} ${y(value)}H${right}` }),
      svg("text", { x: left - 5, y: y(value) + 3, class: "end" }, String(value)),
    ]),
    ticks(from, to, tint ? 3 : 4)
      .filter(Number.isInteger)
      .map((epoch) => svg("text", { x: x(epoch), y: bottom + 13, class: "middle" }, String(epoch))),
    axis.drops
      .filter((epoch) => epoch >= from)
      .map((epoch) => svg("path", { class: "drop", d: `M${x(epoch)} ${top}V${bottom}` })),
    others.map(([name, points]) =>
      svg("path", { class: `other ${name === "scratch" ? "" : "dotted"}`, d: draw(points) }),
    ),
    own.map((points) => svg("path", { class: "seed", d: draw(points) })),
  );
}

// What comes before the last phase is shaded; each phase has its name above its beginning.
function bands(axis, x, top, bottom) {
  if (axis.phases.length < 2) return null;
  let start = 0;
  return axis.phases.map(([name, end], i) => {
    const [left, right] = [x(start), x(end)];
    start = end;
    return [
      i < axis.phases.length - 1 &&
        svg("rect", { class: "phase", x: left, y: top, width: right - left, height: bottom - top }),
      svg("text", { x: left, y: top - 5, class: "start" }, name),
    ];
  });
}

// One small panel a loss term; logarithmic where it falls by more than a factor of twenty.
function lossPanels(list, look) {
  const names = new Set(list.flatMap((run) => Object.keys(run.losses)));
  return [...names].map((name) => {
    const lines = list
      .filter((run) => run.losses[name])
      .map((run) => {
        const [first, values] = run.losses[name];
        const epochs = pool[run.axis].epochs;
        return values
          .map((value, i) => [epochs[first + i], value])
          .filter(([, value]) => value !== null);
      });
    return h(
      "figure",
      { class: "loss" },
      h(
        "figcaption",
        {},
        named(name),
        " ",
        h("span", { class: "muted" }, String(lines[0].at(-1)[1])),
      ),
      lossCurve(lines, look),
    );
  });
}

function lossCurve(lines, look) {
  const [width, height] = [190, 84];
  const values = lines.flat().map(([, value]) => value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const logs = low > 0 && high > 20 * low;
  const change = logs ? Math.log10 : (value) => value;
  const epochs = lines.flat().map(([epoch]) => epoch);
  const x = scale(Math.min(...epochs), Math.max(...epochs), 2, width - 2);
  const y = scale(change(low), change(high), height - 16, 6);
  return svg(
    "svg",
    {
      class: "curve tone",
      viewBox: `0 0 ${width} ${height}`,
      "aria-hidden": "true",
      "--c": look?.[0] ?? "#777",
    },
    svg("path", { class: "grid", d: `M0 ${height - 16}H${width}` }),
    lines.map((points) =>
      svg("path", {
        class: "seed",
        d: path(points.map(([epoch, value]) => [x(epoch), y(change(value))])),
      }),
    ),
    svg("text", { x: 2, y: height - 4, class: "start" }, `${Math.min(...epochs)}`),
    svg(
      "text",
      { x: width / 2, y: height - 4, class: "middle" },
      `${rounded(low)} to ${rounded(high)}${logs ? ", log" : ""}`,
    ),
    svg("text", { x: width - 2, y: height - 4, class: "end" }, `${Math.max(...epochs)}`),
  );
}

const rounded = (value) => Number(value.toPrecision(3)).toString();
