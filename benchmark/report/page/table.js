// The main table: methods by pairs, or for a single pair a column for each number. A field is a
// column of the table: its key for sorting, its head, the value of a row and the cell of a row.

const footnoteLetter = (note) =>
  (note < 26 ? "" : footnoteLetter(Math.floor(note / 26) - 1)) +
  String.fromCharCode(97 + (note % 26));
// The quantities that the table of several pairs can show: value and label of each option.
const SHOW_OPTIONS = [
  ["top1", "top-1"],
  ...content.references.map((name) => [name, `\u0394 ${name}`]),
];

function tableFields() {
  const pairs = shownPairs();
  const names = {
    key: "method",
    head: ["method"],
    value: (row) => row.shown,
    cell: nameCell,
    text: true,
  };
  if (pairs.length !== 1) {
    const withStrip = pairs.length <= MAX_PAIRS_WITH_STRIPS;
    return [names, ...pairs.map((column) => pairField(column, withStrip))];
  }
  const [column] = pairs;
  const limits = top1Range(column);
  const number = (key, head, value, text) => ({
    key,
    head: [head],
    value: (row) => value(row.cells[column]),
    cell: (row) => {
      const known = value(row.cells[column]);
      return h("td", { class: `number side ${key}` }, known === null ? "" : text(known));
    },
  });
  const difference = (name) => ({
    ...number(
      `d-${name}`,
      `\u0394 ${name}`,
      (cell) => cell.deltas[content.references.indexOf(name)]?.[0] ?? null,
      formatSigned,
    ),
    cell: (row) => h("td", { class: "number side" }, differenceText(row, column, name)),
  });
  return [
    names,
    {
      key: "top1",
      head: ["top-1 (%)"],
      value: (row) => row.cells[column].mean,
      cell: (row) => cellButton(row, column, meanElement(row.cells[column])),
    },
    number("std", "\u00b1 std", (cell) => cell.std, formatPercent),
    {
      ...number("n", "seeds", (cell) => (cell.applicable ? cell.n : null), String),
      cell: (row) => countCell(row.cells[column]),
    },
    ...content.references.map(difference),
    ...(rows.some((row) => row.cells[column].gap !== null)
      ? [
          number(
            "gap",
            "gap closed",
            (cell) => cell.gap,
            (gap) => `${formatWhole(gap)} %`,
          ),
        ]
      : []),
    ...(state.published ? [publishedField(column)] : []),
    ...(limits
      ? [
          {
            head: [`each seed, ${formatPercent(limits.low)} to ${formatPercent(limits.high)}`],
            cell: (row) =>
              h(
                "td",
                { class: "stripes" },
                row.role === "student" && seedStrip(row, column, limits.range, 260),
              ),
          },
        ]
      : []),
  ];
}

function differenceText(row, column, name) {
  const { delta, test, mark } = comparisonOf(row, column, name);
  if (!delta) return "";
  const title =
    test &&
    `95 % interval ${formatPercent(test[0])} to ${formatPercent(test[1])}; ` +
      `p ${test[2].toPrecision(2)}, after Holm's correction ${test[3].toPrecision(2)}`;
  return h("span", { title }, formatSigned(delta[0]), mark && h("sup", {}, mark));
}

// With more pairs, the strips of seeds would be too small to read and are left out.
const MAX_PAIRS_WITH_STRIPS = 6;

function pairField(column, withStrip) {
  const limits = top1Range(column);
  const showsTop1 = state.show === "top1";
  const value = (row) =>
    showsTop1
      ? row.cells[column].mean
      : (comparisonOf(row, column, state.show).delta?.[0] ?? null);
  const text = (row) => {
    const cell = row.cells[column];
    if (showsTop1) return meanAndStd(cell);
    return value(row) === null ? noNumberElement(cell) : differenceText(row, column, state.show);
  };
  const cell = (row) => {
    const { n, runs: runIndices } = row.cells[column];
    const incomplete = n > 0 && n < runIndices.length;
    const [published] = publishedOf(row, column);
    const hasStrip = withStrip && limits && row.role === "student" && n > 0;
    return cellButton(row, column, text(row), [
      showsTop1 && incomplete && h("span", { class: "count" }, `${n}/${runIndices.length}`),
      state.published && published && h("span", { class: "published" }, publishedText(published)),
      hasStrip && seedStrip(row, column, limits.range, 92),
    ]);
  };
  return {
    key: `p${column}`,
    head: columns[column].head.map((line, i) => (i ? `\u2192 ${line}` : line)),
    value,
    cell,
  };
}

const publishedText = (other) => `${formatPercent(other.top1)} ${other.title}`;

function publishedField(column) {
  const first = (row) => publishedOf(row, column)[0] ?? null;
  return {
    key: "published",
    head: ["published"],
    value: (row) => first(row)?.top1 ?? null,
    cell: (row) =>
      h("td", { class: "number side published" }, first(row) && publishedText(first(row))),
  };
}

const noNumberElement = (cell) =>
  h(
    "span",
    { class: "muted" },
    cell.applicable && cell.n === 0 ? `0/${cell.runs.length}` : "\u2013",
  );
const meanElement = (cell) =>
  cell.mean === null
    ? noNumberElement(cell)
    : h(cell.best ? "strong" : cell.second ? "u" : "span", {}, formatPercent(cell.mean));

const meanAndStd = (cell) => [
  meanElement(cell),
  cell.std !== null && h("span", { class: "std" }, ` \u00b1 ${formatPercent(cell.std)}`),
];

function countCell(cell) {
  const complete = cell.n === cell.runs.length;
  return h(
    "td",
    { class: `number side ${complete ? "" : "count"}` },
    // If no seed is done, the top-1 cell has this count.
    cell.n > 0 ? (complete ? cell.n : `${cell.n}/${cell.runs.length}`) : "",
  );
}

// A cell that opens the details of its runs.
function cellButton(row, column, text, below) {
  const cell = row.cells[column];
  const position = `${rows.indexOf(row)}.${column}`;
  const notes = cell.notes.map(footnoteLetter).join(",");
  return h(
    "td",
    { class: "number", "data-cell": position },
    h(
      "button",
      {
        type: "button",
        class: "cell",
        tabindex: "-1",
        "aria-haspopup": "dialog",
        "data-open": position,
      },
      text,
      notes && h("sup", {}, notes),
      below,
    ),
  );
}

const nameCell = (row) =>
  h(
    "th",
    { scope: "row", class: row.role },
    h("span", {}, marker(styleOf(row)), isolate(row.shown)),
  );

function headCell(field) {
  const lines = field.head.map((line) => isolate(line));
  if (!field.key) return h("th", { scope: "col", class: "plain" }, lines);
  const isSorted = state.sort === field.key;
  return h(
    "th",
    {
      scope: "col",
      class: field.text ? "" : `number ${field.key}`,
      "aria-sort": isSorted ? (state.down ? "descending" : "ascending") : "none",
    },
    h(
      "button",
      { type: "button", "data-sort": field.key, "data-first": field.text ? "" : "1" },
      h("span", {}, lines),
      h("i", { "aria-hidden": "true" }, isSorted ? (state.down ? "\u2193" : "\u2191") : ""),
    ),
  );
}

// The first click sorts numbers from high to low and names from A to Z, the second click reverses
// the order, and the third restores the order of the suite.
function sortBy(button) {
  const { sort, first } = button.dataset;
  if (state.sort !== sort) updateState({ sort, down: first });
  else updateState(state.down === first ? { down: first ? "" : "1" } : { sort: "", down: "" });
  drawTable();
  document.querySelector(`[data-sort="${CSS.escape(sort)}"]`)?.focus();
}

// The rows of the table as they are filtered and sorted now.
let visibleRows = rows;

function drawTable() {
  const list = tableFields();
  visibleRows = sortRows(
    filteredRows(),
    list.find((field) => field.key && field.key === state.sort),
  );
  const wide = list.length > 8 ? "wide" : "";
  byId("results").replaceChildren(
    h(
      "table",
      { role: "grid", class: wide, "aria-label": content.title },
      h("thead", {}, h("tr", {}, list.map(headCell))),
      h(
        "tbody",
        {},
        visibleRows.map((row) =>
          h(
            "tr",
            { class: row.role },
            list.map((field) => field.cell(row)),
          ),
        ),
      ),
    ),
  );
  byId("results").querySelector("button.cell")?.setAttribute("tabindex", "0");
  drawMeasured();
}

// The Tab key reaches only one cell of the table; arrow keys, Home and End move from cell to cell.
function moveFocus(event) {
  const steps = {
    ArrowUp: [-1, 0],
    ArrowDown: [1, 0],
    ArrowLeft: [0, -1],
    ArrowRight: [0, 1],
    Home: [0, -1e9],
    End: [0, 1e9],
  };
  const step = steps[event.key];
  if (!step || !event.target.matches("button.cell")) return;
  event.preventDefault();
  const lines = [...byId("results").querySelectorAll("tbody tr")].map((line) => [
    ...line.querySelectorAll("button.cell"),
  ]);
  const line = lines.findIndex((buttons) => buttons.includes(event.target));
  const index = lines[line].indexOf(event.target);
  const clampedItem = (value, list) => list[Math.min(Math.max(value, 0), list.length - 1)];
  const next = clampedItem(index + step[1], clampedItem(line + step[0], lines));
  event.target.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}
