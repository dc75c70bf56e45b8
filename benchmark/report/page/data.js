// What is embedded, and the few questions that the page asks of it.

const content = JSON.parse(byId("content").textContent);
const { rows, columns, runs, pool, seeds } = content;
const several = new Set(columns.map((column) => column.dataset)).size > 1;
const students = rows.filter((row) => row.role === "student");

const pairName = (column) => column.head.join(" \u2192 ");
const lookOf = (row) => content.looks[row.name] ?? null;
const rowNamed = (name) => rows.find((row) => row.name === name);
const runsOf = (cell) => cell.runs.map((place) => runs[place]);
const doneOf = (cell) => runsOf(cell).filter((run) => run.state === "done");
const about = (row, column, reference) => {
  const place = content.references.indexOf(reference);
  const cell = row.cells[column];
  return {
    delta: cell.deltas[place] ?? null,
    test: cell.tests[place] ?? null,
    mark: cell.tests[place]?.[3] < 0.05 ? DAGGERS[place] : "",
  };
};
const DAGGERS = ["\u2020", "\u2021"];
const seedName = (run) => (run.seed === null ? "teacher" : `seed ${run.seed}`);
const measuredOf = (run) =>
  Object.fromEntries(pool[run.measured[0]].map(([name], place) => [name, run.measured[1][place]]));
const labelsOf = (run) => Object.fromEntries(pool[run.measured[0]]);
const publishedOf = (row, column) => row.cells[column].published.map((place) => pool[place]);
const link = (run, file) => `${content.folder}/${run.folder}/${file}`;

function flat(tree, before = "") {
  if (tree === null || typeof tree !== "object" || Array.isArray(tree)) {
    return { [before]: Array.isArray(tree) ? tree.map(String).join(", ") : String(tree) };
  }
  return Object.assign(
    {},
    ...Object.entries(tree).map(([key, value]) => flat(value, before ? `${before}.${key}` : key)),
  );
}

// The resolved configuration of a cell; what differs between its runs is listed in seeds' order.
function configOf(cell) {
  const found = new Map();
  for (const run of runsOf(cell)) {
    for (const [key, place] of Object.entries(run.config)) {
      for (const [name, value] of Object.entries(flat(pool[place], key))) {
        if (!found.has(name)) found.set(name, new Set());
        found.get(name).add(value);
      }
    }
  }
  return new Map([...found].map(([name, values]) => [name, [...values].join(" \u00b7 ")]));
}

// By seed where they differ, once where they do not.
function merged(list, read) {
  const values = list.map((run) => [seedName(run), read(run)]).filter(([, value]) => value);
  const different = new Set(values.map(([, value]) => value));
  if (different.size < 2) return [...different].join("");
  return values.map(([seed, value]) => `${seed}: ${value}`).join(" \u00b7 ");
}
