// Small drawings: the top-1 of each seed in a cell, and the curves of top-1 and of the loss terms.

const pathOf = (points) =>
  points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
const linearScale = (from, to, start, end) => (value) =>
  start + ((value - from) / (to - from || 1)) * (end - start);

// At most about `maxTicks` ticks whose step is 1, 2 or 5 times a power of ten.
function ticks(low, high, maxTicks) {
  const rough = (high - low) / maxTicks || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) =>
    Number(((first + i) * step).toPrecision(10)),
  );
}

// The top-1 axis of a column's strips. It covers all seeds of all methods, but seeds far below the
// others do not stretch it: they are drawn at its left edge.
function top1Range(column) {
  const values = students.flatMap((row) =>
    finishedRuns(row.cells[column]).map((run) => run.result.top1),
  );
  if (!values.length) return null;
  values.sort((a, b) => a - b);
  const high = values.at(-1);
  const median = values[Math.floor(values.length / 2)];
  const low = Math.max(values[0], median - 8 * Math.max(high - median, 0.25));
  const margin = Math.max(high - low, 0.1) * 0.08;
  return { low: values[0], high, range: [low - margin, high + margin] };
}

// A dot for each seed, a bar for their mean and a dotted line for scratch, on one top-1 axis.
function seedStrip(row, column, [low, high], width = 104) {
  const height = 14;
  const x = linearScale(low, high, 4, width - 4);
  const cell = row.cells[column];
  const scratch = rowByName("scratch")?.cells[column].mean;
  const xOfMean = (value) => Math.max(3, x(value));
  return svg(
    "svg",
    {
      class: "strip tone",
      viewBox: `0 0 ${width} ${height}`,
      width,
      height,
      "aria-hidden": "true",
      "--c": styleOf(row)?.[0] ?? "#777",
    },
    svg("path", { class: "axis", d: `M0 ${height / 2}H${width}` }),
    scratch &&
      x(scratch) > 0 &&
      svg("path", { class: "scratch", d: `M${x(scratch)} 1V${height - 1}` }),
    finishedRuns(cell).map((run) =>
      run.result.top1 < low
        ? svg("path", { class: "dot", d: `M6 ${height / 2 - 3.5}v7l-5.5-3.5z` })
        : svg("circle", { class: "dot", cx: x(run.result.top1), cy: height / 2, r: 2.6 }),
    ),
    cell.mean !== null &&
      svg("path", { class: "mean", d: `M${xOfMean(cell.mean)} 2V${height - 2}` }),
  );
}

// The points [epoch, top-1 in percent] of one run. A run stores top-1 in hundredths of a percent.
const pointsOf = (run) =>
  run.top1.map((value, i) => [sharedValues[run.axis].epochs[i], value / 100]);

// The mean of the runs that have the same epochs as the first one.
function meanCurve(list) {
  const [first] = list;
  const alike = list.filter((run) => run.axis === first.axis);
  return first.top1.map((_, i) => [
    sharedValues[first.axis].epochs[i],
    mean(alike.map((run) => run.top1[i])) / 100,
  ]);
}

// Top-1 by epoch of each seed, with the mean curves of the references; right, the last quarter.
// Null if no run has a history.
function accuracyCurve(row, column, width, height) {
  const withHistory = (cell) => finishedRuns(cell).filter((run) => run.top1.length > 0);
  const done = withHistory(row.cells[column]);
  if (!done.length) return null;
  const axis = sharedValues[done[0].axis];
  const others = content.references
    .map(rowByName)
    .filter((other) => other && other !== row && row.role === "student")
    .map((other) => [other.name, withHistory(other.cells[column])])
    .filter(([, list]) => list.length > 0)
    .map(([name, list]) => [name, meanCurve(list)]);
  const own = done.map(pointsOf);
  const last = axis.epochs.at(-1);
  const lastQuarter = Math.floor(last * 0.75);
  const lines = [...own, ...others.map(([, points]) => points)];
  const split = Math.round(width * 0.56);
  const final = formatPercent(mean(done.map((run) => run.result.top1)));
  const count = formatCount(done.length, "seed");
  const label = `Top-1 by epoch, ${count}; mean after the last: ${final}.`;
  return svg(
    "svg",
    {
      class: "curve tone",
      viewBox: `0 0 ${width} ${height}`,
      role: "img",
      "aria-label": label,
      "--c": styleOf(row)?.[0] ?? "#777",
    },
    curvePanel({
      box: [38, split, 16, height - 24],
      from: 0,
      to: last,
      lines,
      own,
      others,
      axis,
      phases: true,
    }),
    lastQuarter < last &&
      last > 4 &&
      curvePanel({
        box: [split + 44, width - 14, 16, height - 24],
        from: lastQuarter,
        to: last,
        lines,
        own,
        others,
        axis,
        tint: true,
      }),
  );
}

// Curves from one epoch to another, with axes, learning-rate drops and, if asked for, phases.
function curvePanel({
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
  const margin = Math.max(high - low, 0.2) * 0.05;
  const x = linearScale(from, to, left, right);
  const y = linearScale(low - margin, high + margin, bottom, top);
  const draw = (points) => pathOf(inside(points).map(([epoch, value]) => [x(epoch), y(value)]));
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
    phases && phaseBands(axis, x, top, bottom),
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

// A band for each phase but the last, and the name of each phase above its first epoch.
function phaseBands(axis, x, top, bottom) {
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

// One small panel for each loss term.
function lossPanels(list, style) {
  const names = new Set(list.flatMap((run) => Object.keys(run.losses)));
  return [...names].map((name) => {
    const lines = list
      .filter((run) => run.losses[name])
      .map((run) => {
        const [first, values] = run.losses[name];
        const epochs = sharedValues[run.axis].epochs;
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
        isolate(name),
        " ",
        h("span", { class: "muted" }, String(lines[0].at(-1)[1])),
      ),
      lossCurve(lines, style),
    );
  });
}

// One line for each run. The axis is logarithmic if the values span more than a factor of twenty.
function lossCurve(lines, style) {
  const [width, height] = [190, 84];
  const values = lines.flat().map(([, value]) => value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const logarithmic = low > 0 && high > 20 * low;
  const transform = logarithmic ? Math.log10 : (value) => value;
  const epochs = lines.flat().map(([epoch]) => epoch);
  const x = linearScale(Math.min(...epochs), Math.max(...epochs), 2, width - 2);
  const y = linearScale(transform(low), transform(high), height - 16, 6);
  return svg(
    "svg",
    {
      class: "curve tone",
      viewBox: `0 0 ${width} ${height}`,
      "aria-hidden": "true",
      "--c": style?.[0] ?? "#777",
    },
    svg("path", { class: "grid", d: `M0 ${height - 16}H${width}` }),
    lines.map((points) =>
      svg("path", {
        class: "seed",
        d: pathOf(points.map(([epoch, value]) => [x(epoch), y(transform(value))])),
      }),
    ),
    svg("text", { x: 2, y: height - 4, class: "start" }, `${Math.min(...epochs)}`),
    svg(
      "text",
      { x: width / 2, y: height - 4, class: "middle" },
      `${formatThreeDigits(low)} to ${formatThreeDigits(high)}${logarithmic ? ", log scale" : ""}`,
    ),
    svg("text", { x: width - 2, y: height - 4, class: "end" }, `${Math.max(...epochs)}`),
  );
}

const formatThreeDigits = (value) => Number(value.toPrecision(3)).toString();
