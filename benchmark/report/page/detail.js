// The dialog of a cell: its runs, curves, tests, published values, loss terms, measures and
// provenance, and its configuration next to that of another row.

const dialog = byId("detail");
const sectionOf = (title, ...children) => h("section", {}, h("h3", {}, title), children);
const plainTable = (heads, lines, kind = "") =>
  h(
    "div",
    { class: "scroll" },
    h(
      "table",
      { class: `plain ${kind}` },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          heads.map((head) => h("th", { scope: "col" }, head)),
        ),
      ),
      h("tbody", {}, lines),
    ),
  );

// Opens the dialog of a cell. `position` is "ROW.COLUMN", by the indices of both.
function openDetail(position) {
  const [line, column] = position.split(".").map(Number);
  const row = rows[line];
  if (!row?.cells[column]) return;
  updateState({ open: position });
  hideCard();
  const cell = row.cells[column];
  const done = finishedRuns(cell);
  dialog.replaceChildren(
    detailHead(row, column),
    h("p", { class: "summary" }, summaryLine(row, column)),
    ...cell.notes.map((note) => h("p", { class: "note" }, isolate(content.notes[note]))),
    done.length
      ? h(
          "figure",
          { class: "large" },
          accuracyCurve(row, column, 640, 210),
          h("figcaption", {}, curveCaption(row)),
        )
      : "",
    sectionOf("Runs", seedTable(row, column)),
    testsPart(row, column) ?? "",
    publishedPart(row, column) ?? "",
    lossPart(done, styleOf(row)) ?? "",
    measuredPart(done) ?? "",
    sectionOf("Provenance", provenance(cell)),
    sectionOf("Resolved configuration", configPart(row, column)),
  );
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

function detailHead(row, column) {
  const order = visibleRows.includes(row) ? visibleRows : rows;
  const neighbour = (step) => order[order.indexOf(row) + step];
  const neighbourButton = (step, arrow, label) =>
    h(
      "button",
      {
        type: "button",
        class: "quiet",
        "data-turn": step,
        disabled: !neighbour(step),
        "aria-label": label,
        title: label,
        onclick: () => {
          openDetail(`${rows.indexOf(neighbour(step))}.${column}`);
          dialog.querySelector(`[data-turn="${step}"]:enabled, .close`).focus();
        },
      },
      arrow,
    );
  return h(
    "header",
    {},
    h(
      "h2",
      { id: "detail-title" },
      marker(styleOf(row)),
      isolate(row.shown),
      h(
        "small",
        {},
        isolate(
          `${columns[column].dataset}: ${columns[column].teacher} \u2192 ${columns[column].student}`,
        ),
      ),
    ),
    h(
      "div",
      { class: "turns" },
      neighbourButton(-1, "\u2191", "The row above"),
      neighbourButton(1, "\u2193", "The row below"),
      h(
        "button",
        {
          type: "button",
          class: "quiet close",
          onclick: () => dialog.close(),
          "aria-label": "Close",
          title: "Close (Esc)",
          autofocus: true,
        },
        "\u00d7",
      ),
    ),
  );
}

const formatStd = (std) => (std === null ? "" : ` \u00b1 ${formatPercent(std)}`);

function summaryLine(row, column) {
  const cell = row.cells[column];
  const number =
    cell.mean === null
      ? "no seed is done"
      : `${formatPercent(cell.mean)} %${formatStd(cell.std)}`;
  return [
    h("b", {}, number),
    h("span", {}, `${cell.n} of ${formatCount(cell.runs.length, "run")} done`),
    cell.interval &&
      h(
        "span",
        {},
        `95 % interval ${formatPercent(cell.interval[0])} to ${formatPercent(cell.interval[1])}`,
      ),
    cell.gap !== null &&
      h("span", {}, `closes ${formatWhole(cell.gap)} % of the gap between scratch and teacher`),
    (cell.best || cell.second) &&
      h("span", {}, cell.best ? "best of the complete methods" : "second of the complete methods"),
  ];
}

function curveCaption(row) {
  const references = content.references.filter(
    (name) => name !== row.name && row.role === "student",
  );
  const measure = `${content.measure[0].toUpperCase()}${content.measure.slice(1)}`;
  return [
    `${measure} (%) by epoch, one line for each seed. On the right: the last quarter.`,
    references.length ? `Grey: mean of ${references.join("; dotted: mean of ")}.` : "",
    "Shaded: phases before the last. Dashed: learning-rate drops.",
  ].join(" ");
}

function seedTable(row, column) {
  const list = runsOf(row.cells[column]);
  const measures = [...new Set(list.flatMap((run) => Object.keys(run.result ?? {})))].filter(
    (name) => !["top1", "epoch"].includes(name),
  );
  const difference = (run, name) => {
    const other = runsOf(rowByName(name)?.cells[column] ?? { runs: [] }).find(
      (candidate) => candidate.seed === run.seed,
    );
    return row.name === name || row.role === "teacher" || other?.state !== "done"
      ? ""
      : formatSigned(run.result.top1 - other.result.top1);
  };
  const heads = [
    "run",
    "top-1",
    ...content.references.map((name) => `\u0394 ${name}`),
    "best on test",
    ...measures.map((name) => name.replaceAll("_", " ")),
    "time",
    "files",
  ];
  const line = (run) =>
    run.state === "done"
      ? [
          formatPercent(run.result.top1),
          ...content.references.map((name) => difference(run, name)),
          run.best && `${formatPercent(run.best[1])} (epoch ${run.best[0]})`,
          ...measures.map((name) => formatFigure(run.result[name])),
          measuredOf(run).seconds ? formatDuration(measuredOf(run).seconds) : "",
          fileLinks(run),
        ].map((text) => h("td", {}, text))
      : [
          h(
            "td",
            { colspan: heads.length - 2, class: "why" },
            h("b", { class: run.state }, run.state),
            " ",
            isolate(run.why),
            tracebackDetails(run),
          ),
          h("td", {}, fileLinks(run)),
        ];
  return plainTable(
    heads,
    list.map((run) => h("tr", {}, h("th", { scope: "row" }, seedLabel(run)), line(run))),
    "figures",
  );
}

const formatFigure = (value) =>
  typeof value === "number" ? Number(value.toPrecision(4)).toString() : (value ?? "");
const fileLinks = (run) =>
  (run.files ?? []).map((file) => [
    h(
      "a",
      { href: fileUrl(run, file), "aria-label": `${file} of ${seedLabel(run)}` },
      file === "student.pt" ? "weights" : file.replace(".json", ""),
    ),
    " ",
  ]);

function tracebackDetails(run) {
  const text = run.failure && sharedValues[run.failure.traceback];
  return text ? h("details", {}, h("summary", {}, "end of the traceback"), h("pre", {}, text)) : "";
}

function publishedPart(row, column) {
  const list = publishedOf(row, column);
  if (!list.length) return null;
  const own = row.cells[column].mean;
  const remarks = {
    copied: "copied from another paper",
    unverified: "not verified",
    differs: "trained differently",
  };
  const line = (other) => [
    formatPercent(other.top1) + formatStd(other.std),
    own === null ? "" : formatSigned(own - other.top1),
    other.n ?? "not stated",
    other.epoch,
    isolate(`${other.title} (${other.where})`),
    isolate([remarks[other.status], other.note].filter(Boolean).join("; ")),
  ];
  const heads = ["top-1", "measured \u2212 published", "runs", "epoch", "source", "remark"];
  return sectionOf(
    "Published",
    plainTable(
      heads,
      list.map((other) =>
        h(
          "tr",
          {},
          line(other).map((text) => h("td", {}, text)),
        ),
      ),
    ),
  );
}

function testsPart(row, column) {
  const line = (name) => {
    const { delta, test, mark } = comparisonOf(row, column, name);
    return (
      delta &&
      h(
        "tr",
        {},
        h("th", { scope: "row" }, name),
        [
          formatSigned(delta[0]) + mark,
          formatCount(delta[1], "seed"),
          test ? `${formatPercent(test[0])} to ${formatPercent(test[1])}` : "",
          test ? formatP(test[2]) : "",
          test ? formatP(test[3]) : "",
        ].map((text) => h("td", {}, text)),
      )
    );
  };
  const lines = content.references.map(line).filter(Boolean);
  return lines.length
    ? sectionOf(
        "Paired differences",
        plainTable(
          ["reference", "\u0394", "paired by", "95 % interval", "p", "p (Holm)"],
          lines,
          "figures",
        ),
      )
    : null;
}

const formatP = (p) => (p < 0.001 ? "< 0.001" : p.toFixed(3));

function lossPart(done, style) {
  const list = done.filter((run) => Object.keys(run.losses).length > 0);
  return list.length
    ? sectionOf("Loss terms", h("div", { class: "losses" }, lossPanels(list, style)))
    : null;
}
