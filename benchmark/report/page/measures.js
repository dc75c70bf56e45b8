// The tables of measures below the main table, and the measures of each run in a cell's dialog.

// Tables with more rows start collapsed, so that the sections below them stay in reach.
const MAX_ROWS_OPENED = 12;

function drawMeasured() {
  const sections = content.tables.map((sheet) => {
    const previous = byId("measured").querySelector(`[data-sheet="${sheet.name}"]`);
    const open = previous?.open ?? rows.length <= MAX_ROWS_OPENED;
    return h(
      "details",
      { class: "group", "data-sheet": sheet.name, open },
      h("summary", {}, `${sheet.title[0].toUpperCase()}${sheet.title.slice(1)}`),
      measureTable(sheet),
      h("p", { class: "note" }, sheet.caption),
    );
  });
  byId("measured").replaceChildren(
    ...(sections.length ? [h("h2", {}, "What else is measured"), ...sections] : []),
  );
}

function measureTable(sheet) {
  const pairs = shownPairs();
  const names = {
    key: `${sheet.name}-method`,
    head: ["method"],
    value: (row) => row.shown,
    text: true,
  };
  const fields = [names, ...pairs.flatMap((pair) => measureFields(sheet, pair))];
  const lines = sortRows(
    filteredRows().filter((row) => Object.hasOwn(sheet.rows, row.name)),
    fields.find((field) => field.key === state.sort),
  );
  const pairHeads =
    columns.length > 1 &&
    h(
      "tr",
      { class: "pairs" },
      h("td", {}),
      pairs.map((pair) =>
        h(
          "th",
          { scope: "colgroup", colspan: sheet.heads.length },
          isolate(pairName(columns[pair])),
        ),
      ),
    );
  return h(
    "div",
    { class: "scroll" },
    h(
      "table",
      { class: "sheet", "aria-label": sheet.title },
      h("thead", {}, pairHeads, h("tr", {}, fields.map(headCell))),
      h(
        "tbody",
        {},
        lines.map((row) =>
          h(
            "tr",
            { class: row.role },
            nameCell(row),
            fields.slice(1).map((field) => field.cell(row)),
          ),
        ),
      ),
    ),
  );
}

function measureFields(sheet, pair) {
  return sheet.heads.map((head, index) => ({
    key: `${sheet.name}-${pair}-${index}`,
    head: [head.replace(" (", "\u00a0(")],
    value: (row) => parseNumber(sheet.rows[row.name][pair][index]),
    cell: (row) =>
      h("td", { class: `number ${index ? "" : "first"}` }, sheet.rows[row.name][pair][index]),
  }));
}

// The number in a cell's text, for sorting. The text may have a count of seeds after the number, as
// in "91.00 (1/3)"; a count alone, as in "0/3", is no number.
function parseNumber(text) {
  const value = Number.parseFloat(text.replaceAll(",", "").replace(MINUS, "-"));
  return Number.isNaN(value) || /^\d+\/\d+$/.test(text) ? null : value;
}

function measuredPart(done) {
  const values = done.map(measuredOf);
  const keys = [...new Set(values.flatMap(Object.keys))];
  if (!keys.length) return null;
  const labels = Object.assign({}, ...done.map(labelsOf));
  const severalRuns = done.length > 1;
  const line = (key) => {
    const ofRuns = values.map((run) => run[key]);
    const numbers = ofRuns.filter((value) => typeof value === "number");
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, isolate(labels[key])),
      ofRuns.map((value) => h("td", {}, formatAmount(value))),
      severalRuns &&
        h("td", { class: "muted" }, numbers.length ? formatAmount(mean(numbers)) : ""),
    );
  };
  const heads = ["", ...done.map(seedLabel), ...(severalRuns ? ["mean"] : [])];
  return sectionOf("Measures and costs", plainTable(heads, keys.map(line), "figures amounts"));
}

function formatAmount(value) {
  if (typeof value !== "number") return String(value ?? "");
  const digits = Number.isInteger(value) ? undefined : 4;
  return useMinusSign(value.toLocaleString("en", { maximumSignificantDigits: digits }));
}
