// The data that report/page/content.py embeds in the page, and functions that read it.

const content = JSON.parse(byId("content").textContent);
const { rows, columns, runs, pool: sharedValues, seeds } = content;
const severalDatasets = new Set(columns.map((column) => column.dataset)).size > 1;
const students = rows.filter((row) => row.role === "student");

const pairName = (column) => column.head.join(" \u2192 ");
const styleOf = (row) => content.looks[row.name] ?? null;
const rowByName = (name) => rows.find((row) => row.name === name);
const runsOf = (cell) => cell.runs.map((index) => runs[index]);
const finishedRuns = (cell) => runsOf(cell).filter((run) => run.state === "done");
// The difference of a cell to a reference, its test, and the mark of a significant one.
const comparisonOf = (row, column, reference) => {
  const index = content.references.indexOf(reference);
  const cell = row.cells[column];
  return {
    delta: cell.deltas[index] ?? null,
    test: cell.tests[index] ?? null,
    mark: cell.tests[index]?.[3] < 0.05 ? SIGNIFICANCE_MARKS[index] : "",
  };
};
const SIGNIFICANCE_MARKS = ["\u2020", "\u2021"];
const seedLabel = (run) => (run.seed === null ? "teacher" : `seed ${run.seed}`);
// The quantities of a run by name, and the label of each name.
const measuredOf = (run) =>
  Object.fromEntries(
    sharedValues[run.measured[0]].map(([name], index) => [name, run.measured[1][index]]),
  );
const labelsOf = (run) => Object.fromEntries(sharedValues[run.measured[0]]);
const publishedOf = (row, column) =>
  row.cells[column].published.map((index) => sharedValues[index]);
const fileUrl = (run, file) => `${content.folder}/${run.folder}/${file}`;

// The leaves of nested objects by their dotted names, as text.
function flatten(tree, prefix = "") {
  if (tree === null || typeof tree !== "object" || Array.isArray(tree)) {
    return { [prefix]: Array.isArray(tree) ? tree.map(String).join(", ") : String(tree) };
  }
  return Object.assign(
    {},
    ...Object.entries(tree).map(([key, value]) =>
      flatten(value, prefix ? `${prefix}.${key}` : key),
    ),
  );
}

// The resolved configuration of a cell's runs: for each field the different values, in seed order.
function resolvedConfig(cell) {
  const values = new Map();
  for (const run of runsOf(cell)) {
    for (const [key, index] of Object.entries(run.config)) {
      for (const [name, value] of Object.entries(flatten(sharedValues[index], key))) {
        if (!values.has(name)) values.set(name, new Set());
        values.get(name).add(value);
      }
    }
  }
  return new Map([...values].map(([name, different]) => [name, [...different].join(" \u00b7 ")]));
}

// A fact of several runs: once if it is the same for all, otherwise for each seed.
function joinBySeed(list, read) {
  const values = list.map((run) => [seedLabel(run), read(run)]).filter(([, value]) => value);
  const different = new Set(values.map(([, value]) => value));
  if (different.size < 2) return [...different].join("");
  return values.map(([seed, value]) => `${seed}: ${value}`).join(" \u00b7 ");
}
