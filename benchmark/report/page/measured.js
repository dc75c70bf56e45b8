// What is measured besides accuracy: tables below the main one, and every number of a cell's runs.

const FEW_ROWS = 12; // more would push what comes below out of sight

function drawMeasured() {
  const shown = content.tables.map((sheet) => {
    const before = byId("measured").querySelector(`[data-sheet="${sheet.name}"]`);
    const open = before?.open ?? rows.length <= FEW_ROWS;
    return h(
      "details",
      { class: "group", "data-sheet": sheet.name, open },
      h("summary", {}, `${sheet.title[0].toUpperCase()}${sheet.title.slice(1)}`),
      sheetTable(sheet),
      h("p", { class: "note" }, sheet.caption),
    );
  });
  byId("measured").replaceChildren(
    ...(shown.length ? [h("h2", {}, "What else is measured"), ...shown] : []),
  );
}

function sheetTable(sheet) {
  const pairs = pairsShown();
  const names = {
    key: `${sheet.name}-method`,
    head: ["method"],
    value: (row) => row.shown,
    text: true,
  };
  const list = [names, ...pairs.flatMap((pair) => sheetFields(sheet, pair))];
  const lines = sorted(
    rowsShown().filter((row) => Object.hasOwn(sheet.rows, row.name)),
    list.find((field) => field.key === state.sort),
  );
  const above =
    columns.length > 1 &&
    h(
      "tr",
      { class: "pairs" },
      h("td", {}),
      pairs.map((pair) =>
        h("th", { scope: "colgroup", colspan: sheet.heads.length }, named(pairName(columns[pair]))),
      ),
    );
  return h(
    "div",
    { class: "scroll" },
    h(
      "table",
      { class: "sheet", "aria-label": sheet.title },
      h("thead", {}, above, h("tr", {}, list.map(headCell))),
      h(
        "tbody",
        {},
        lines.map((row) =>
          h(
            "tr",
            { class: row.role },
            nameCell(row),
            list.slice(1).map((field) => field.cell(row)),
          ),
        ),
      ),
    ),
  );
}

function sheetFields(sheet, pair) {
  return sheet.heads.map((head, place) => ({
    key: `${sheet.name}-${pair}-${place}`,
    head: [head.replace(" (", "\u00a0(")],
    value: (row) => numberIn(sheet.rows[row.name][pair][place]),
    cell: (row) =>
      h("td", { class: `number ${place ? "" : "first"}` }, sheet.rows[row.name][pair][place]),
  }));
}

// The texts are those of the other tables: a count may stand behind a number.
function numberIn(text) {
  const value = Number.parseFloat(text.replaceAll(",", "").replace(MINUS, "-"));
  return Number.isNaN(value) || /^\d+\/\d+$/.test(text) ? null : value;
}

function measuredPart(done) {
  const values = done.map(measuredOf);
  const keys = [...new Set(values.flatMap(Object.keys))];
  if (!keys.length) return null;
  const labels = Object.assign({}, ...done.map(labelsOf));
  const several = done.length > 1;
  const line = (key) => {
    const found = values.map((one) => one[key]);
    const whole = found.filter((value) => typeof value === "number");
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, named(labels[key])),
      found.map((value) => h("td", {}, amount(value))),
      several && h("td", { class: "muted" }, whole.length ? amount(mean(whole)) : ""),
    );
  };
  const heads = ["", ...done.map(seedName), ...(several ? ["mean"] : [])];
  return part("Measures and costs", table(heads, keys.map(line), "figures amounts"));
}

function amount(value) {
  if (typeof value !== "number") return String(value ?? "");
  const digits = Number.isInteger(value) ? undefined : 4;
  return minus(value.toLocaleString("en", { maximumSignificantDigits: digits }));
}
