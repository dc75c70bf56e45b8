// The table: methods by pairs, or, of one pair, a column for each number.

const letter = (note) =>
  (note < 26 ? "" : letter(Math.floor(note / 26) - 1)) + String.fromCharCode(97 + (note % 26));
const SHOW = [["top1", "top-1"], ...content.references.map((name) => [name, `\u0394 ${name}`])];

function fields() {
  const pairs = pairsShown();
  const names = {
    key: "method",
    head: ["method"],
    value: (row) => row.shown,
    cell: nameCell,
    text: true,
  };
  if (pairs.length !== 1)
    return [names, ...pairs.map((column) => pairField(column, pairs.length <= ROOMY))];
  const [column] = pairs;
  const limits = range(column);
  const number = (key, head, value, text) => ({
    key,
    head: [head],
    value: (row) => value(row.cells[column]),
    cell: (row) => {
      const found = value(row.cells[column]);
      return h("td", { class: `number side ${key}` }, found === null ? "" : text(found));
    },
  });
  const difference = (name) => ({
    ...number(
      `d-${name}`,
      `\u0394 ${name}`,
      (cell) => cell.deltas[content.references.indexOf(name)]?.[0] ?? null,
      signed,
    ),
    cell: (row) => h("td", { class: "number side" }, differenceText(row, column, name)),
  });
  return [
    names,
    {
      key: "top1",
      head: ["top-1 (%)"],
      value: (row) => row.cells[column].mean,
      cell: (row) => openCell(row, column, cellMean(row.cells[column])),
    },
    number("std", "\u00b1 std", (cell) => cell.std, percent),
    {
      ...number("n", "seeds", (cell) => (cell.applicable ? cell.n : null), String),
      cell: (row) => countCell(row.cells[column]),
    },
    ...content.references.map(difference),
    ...(rows.some((row) => row.cells[column].gap !== null)
      ? [
          {
            ...number(
              "gap",
              "gap closed",
              (cell) => cell.gap,
              (gap) => `${whole(gap)} %`,
            ),
          },
        ]
      : []),
    ...(state.published ? [publishedField(column)] : []),
    ...(limits
      ? [
          {
            head: [`each seed, ${percent(limits.low)} to ${percent(limits.high)}`],
            cell: (row) =>
              h(
                "td",
                { class: "stripes" },
                row.role === "student" && strip(row, column, limits.range, 260),
              ),
          },
        ]
      : []),
  ];
}

function differenceText(row, column, name) {
  const { delta, test, mark } = about(row, column, name);
  if (!delta) return "";
  const title =
    test &&
    `95 % interval ${percent(test[0])} to ${percent(test[1])}; p ${test[2].toPrecision(2)}, by Holm ${test[3].toPrecision(2)}`;
  return h("span", { title }, signed(delta[0]), mark && h("sup", {}, mark));
}

// Where the seeds lie is drawn as long as a reader can take it in.
const ROOMY = 6;

function pairField(column, roomy) {
  const limits = range(column);
  const value = (row) => {
    const cell = row.cells[column];
    return state.show === "top1" ? cell.mean : (about(row, column, state.show).delta?.[0] ?? null);
  };
  const cell = (row) => {
    const found = row.cells[column];
    const shown =
      state.show === "top1"
        ? cellBoth(found)
        : value(row) === null
          ? cellEmpty(found)
          : differenceText(row, column, state.show);
    return openCell(row, column, shown, [
      state.show === "top1" &&
        found.n > 0 &&
        found.n < found.runs.length &&
        h("span", { class: "count" }, `${found.n}/${found.runs.length}`),
      state.published &&
        publishedOf(row, column)
          .slice(0, 1)
          .map((other) => h("span", { class: "published" }, publishedText(other))),
      roomy &&
        limits &&
        row.role === "student" &&
        found.n > 0 &&
        strip(row, column, limits.range, 92),
    ]);
  };
  return {
    key: `p${column}`,
    head: columns[column].head.map((line, i) => (i ? `\u2192 ${line}` : line)),
    value,
    cell,
  };
}

const publishedText = (other) => `${percent(other.top1)} ${other.title}`;

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

const cellEmpty = (cell) =>
  h(
    "span",
    { class: "muted" },
    cell.applicable && cell.n === 0 ? `0/${cell.runs.length}` : "\u2013",
  );
const cellMean = (cell) =>
  cell.mean === null
    ? cellEmpty(cell)
    : h(cell.best ? "strong" : cell.second ? "u" : "span", {}, percent(cell.mean));

const cellBoth = (cell) => [
  cellMean(cell),
  cell.std !== null && h("span", { class: "std" }, ` \u00b1 ${percent(cell.std)}`),
];

function countCell(cell) {
  const complete = cell.n === cell.runs.length;
  return h(
    "td",
    { class: `number side ${complete ? "" : "count"}` },
    // Of none done, the cell beside it says so.
    cell.n > 0 ? (complete ? cell.n : `${cell.n}/${cell.runs.length}`) : "",
  );
}

function openCell(row, column, shown, below) {
  const cell = row.cells[column];
  const place = `${rows.indexOf(row)}.${column}`;
  const notes = cell.notes.map(letter).join(",");
  return h(
    "td",
    { class: "number", "data-cell": place },
    h(
      "button",
      {
        type: "button",
        class: "cell",
        tabindex: "-1",
        "aria-haspopup": "dialog",
        "data-open": place,
      },
      shown,
      notes && h("sup", {}, notes),
      below,
    ),
  );
}

const nameCell = (row) =>
  h("th", { scope: "row", class: row.role }, h("span", {}, marker(lookOf(row)), named(row.shown)));

function headCell(field) {
  const lines = field.head.map((line) => named(line));
  if (!field.key) return h("th", { scope: "col", class: "plain" }, lines);
  const here = state.sort === field.key;
  return h(
    "th",
    {
      scope: "col",
      class: field.text ? "" : `number ${field.key}`,
      "aria-sort": here ? (state.down ? "descending" : "ascending") : "none",
    },
    h(
      "button",
      { type: "button", "data-sort": field.key, "data-first": field.text ? "" : "1" },
      h("span", {}, lines),
      h("i", { "aria-hidden": "true" }, here ? (state.down ? "\u2193" : "\u2191") : ""),
    ),
  );
}

// First the way that is asked for most (numbers: the highest above), then the other, then the suite's.
function sortBy(button) {
  const { sort, first } = button.dataset;
  if (state.sort !== sort) choose({ sort, down: first });
  else choose(state.down === first ? { down: first ? "" : "1" } : { sort: "", down: "" });
  drawTable();
  document.querySelector(`[data-sort="${CSS.escape(sort)}"]`)?.focus();
}

let shownRows = rows;

function drawTable() {
  const list = fields();
  shownRows = sorted(
    rowsShown(),
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
        shownRows.map((row) =>
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

// One stop for the Tab key, arrows from cell to cell.
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
  const place = lines[line].indexOf(event.target);
  const within = (value, list) => list[Math.min(Math.max(value, 0), list.length - 1)];
  const next = within(place + step[1], within(line + step[0], lines));
  event.target.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}
