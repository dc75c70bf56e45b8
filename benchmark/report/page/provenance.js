// How a cell's runs were made: their configuration next to another row's, and their provenance.

function configPart(row, column) {
  const others = (visibleRows.includes(row) ? visibleRows : rows).filter((other) => other !== row);
  const above = visibleRows[visibleRows.indexOf(row) - 1] ?? others[0];
  if (!above) return configTable(row, null, column);
  const container = h("div", {});
  const onlyDifferences = h("input", { type: "checkbox" });
  const choice = h(
    "select",
    { "aria-label": "Compare with" },
    others.map((other) =>
      h("option", { value: rows.indexOf(other), selected: other === above }, other.shown),
    ),
  );
  const draw = () =>
    container.replaceChildren(
      configTable(row, rows[Number(choice.value)], column, onlyDifferences.checked),
    );
  for (const control of [choice, onlyDifferences]) control.addEventListener("change", draw);
  draw();
  return [
    h(
      "p",
      { class: "compare" },
      h("label", {}, "Compare with ", choice),
      h("label", {}, onlyDifferences, " Only differences"),
    ),
    container,
  ];
}

function configTable(row, other, column, onlyDifferences) {
  const own = resolvedConfig(row.cells[column]);
  const theirs = other ? resolvedConfig(other.cells[column]) : new Map();
  const keys = [...new Set([...own.keys(), ...theirs.keys()])].sort((a, b) =>
    a.localeCompare(b, "en"),
  );
  const lines = keys
    .map((key) => [key, own.get(key) ?? "\u2013", theirs.get(key) ?? "\u2013"])
    .filter(([, a, b]) => !onlyDifferences || a !== b)
    .map(([key, a, b]) =>
      h(
        "tr",
        { class: other && a !== b ? "differs" : "" },
        h("th", { scope: "row" }, isolate(key)),
        h("td", {}, other && a !== b ? h("mark", {}, a) : a),
        other && h("td", { class: "muted" }, b),
      ),
    );
  return plainTable(
    ["field", isolate(row.shown), ...(other ? [isolate(other.shown)] : [])],
    lines,
    "config",
  );
}

// These fields of a record's environment are shown first, in this order.
const ENVIRONMENT_FIELDS = [
  "commit",
  "device",
  "cpu",
  "torch",
  "torchvision",
  "numpy",
  "python",
  "platform",
  "threads",
  "host",
];

function provenance(cell) {
  const list = runsOf(cell);
  const done = finishedRuns(cell);
  const environment = (run) => sharedValues[run.where] ?? {};
  const rest = [...new Set(done.flatMap((run) => Object.keys(environment(run))))].filter(
    (key) => !ENVIRONMENT_FIELDS.includes(key) && key !== "dirty",
  );
  const facts = [
    ["run", (run) => run.id],
    ...[...ENVIRONMENT_FIELDS, ...rest].map((key) => [
      key,
      (run) => formatEnvironmentValue(key, environment(run)),
    ]),
    [
      "teacher",
      (run) => {
        const teacher = sharedValues[run.teacher];
        return (
          teacher?.id &&
          teacher.id +
            (typeof teacher.top1 === "number" ? ` (${formatPercent(teacher.top1)} %)` : "")
        );
      },
    ],
    ["started", (run) => run.times?.[0]],
    ["finished", (run) => run.times?.[1]],
  ];
  const known = facts
    .map(([name, read]) => [name, joinBySeed(list, read)])
    .filter(([, text]) => text);
  return h(
    "dl",
    {},
    known.map(([name, text]) => [h("dt", {}, isolate(name)), h("dd", {}, isolate(text))]),
  );
}

function formatEnvironmentValue(key, environment) {
  const value = environment[key];
  if (value === undefined || value === null) return "";
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  return key === "commit"
    ? text.slice(0, 12) + (environment.dirty ? " (with uncommitted changes)" : "")
    : text;
}
