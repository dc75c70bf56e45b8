// How a cell's runs were made: their configuration against another row's, and their provenance.

function configPart(row, column) {
  const others = (shownRows.includes(row) ? shownRows : rows).filter((other) => other !== row);
  const above = shownRows[shownRows.indexOf(row) - 1] ?? others[0];
  if (!above) return configTable(row, null, column);
  const room = h("div", {});
  const only = h("input", { type: "checkbox" });
  const choice = h(
    "select",
    { "aria-label": "Compare with" },
    others.map((other) =>
      h("option", { value: rows.indexOf(other), selected: other === above }, other.shown),
    ),
  );
  const draw = () =>
    room.replaceChildren(configTable(row, rows[Number(choice.value)], column, only.checked));
  for (const control of [choice, only]) control.addEventListener("change", draw);
  draw();
  return [
    h(
      "p",
      { class: "compare" },
      h("label", {}, "beside ", choice),
      h("label", {}, only, " differences alone"),
    ),
    room,
  ];
}

function configTable(row, other, column, differencesAlone) {
  const mine = configOf(row.cells[column]);
  const theirs = other ? configOf(other.cells[column]) : new Map();
  const keys = [...new Set([...mine.keys(), ...theirs.keys()])].sort((a, b) =>
    a.localeCompare(b, "en"),
  );
  const lines = keys
    .map((key) => [key, mine.get(key) ?? "\u2013", theirs.get(key) ?? "\u2013"])
    .filter(([, a, b]) => !differencesAlone || a !== b)
    .map(([key, a, b]) =>
      h(
        "tr",
        { class: other && a !== b ? "differs" : "" },
        h("th", { scope: "row" }, named(key)),
        h("td", {}, other && a !== b ? h("mark", {}, a) : a),
        other && h("td", { class: "muted" }, b),
      ),
    );
  return table(
    ["field", named(row.shown), ...(other ? [named(other.shown)] : [])],
    lines,
    "config",
  );
}

const GROUND = [
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
  const done = doneOf(cell);
  const place = (run) => pool[run.where] ?? {};
  const rest = [...new Set(done.flatMap((run) => Object.keys(place(run))))].filter(
    (key) => !GROUND.includes(key) && key !== "dirty",
  );
  const facts = [
    ["run", (run) => run.id],
    ...[...GROUND, ...rest].map((key) => [key, (run) => worded(key, place(run))]),
    [
      "teacher",
      (run) => {
        const teacher = pool[run.teacher];
        return (
          teacher?.id &&
          teacher.id + (typeof teacher.top1 === "number" ? ` (${percent(teacher.top1)} %)` : "")
        );
      },
    ],
    ["started", (run) => run.times?.[0]],
    ["finished", (run) => run.times?.[1]],
  ];
  const shown = facts.map(([name, read]) => [name, merged(list, read)]).filter(([, text]) => text);
  return h(
    "dl",
    {},
    shown.map(([name, text]) => [h("dt", {}, named(name)), h("dd", {}, named(text))]),
  );
}

function worded(key, place) {
  const value = place[key];
  if (value === undefined || value === null) return "";
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  return key === "commit"
    ? text.slice(0, 12) + (place.dirty ? " (with uncommitted changes)" : "")
    : text;
}
