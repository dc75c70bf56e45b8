// A cell opened: its seeds, curves, loss terms, configuration against a neighbour's, provenance.

const dialog = byId("detail");
const part = (title, ...children) => h("section", {}, h("h3", {}, title), children);
const table = (heads, lines, kind = "") =>
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

function openDetail(place) {
  const [line, column] = place.split(".").map(Number);
  const row = rows[line];
  if (!row?.cells[column]) return;
  choose({ open: place });
  hideCard();
  const cell = row.cells[column];
  const done = doneOf(cell);
  dialog.replaceChildren(
    detailHead(row, column),
    h("p", { class: "summary" }, summary(row, column)),
    ...cell.notes.map((note) => h("p", { class: "note" }, named(content.notes[note]))),
    done.length
      ? h(
          "figure",
          { class: "large" },
          curve(row, column, 640, 210),
          h("figcaption", {}, curveWords(row)),
        )
      : "",
    part("Runs", seedTable(row, column)),
    testsPart(row, column) ?? "",
    publishedPart(row, column) ?? "",
    lossPart(done, lookOf(row)) ?? "",
    measuredPart(done) ?? "",
    part("Provenance", provenance(cell)),
    part("Resolved configuration", configPart(row, column)),
  );
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

function detailHead(row, column) {
  const order = shownRows.includes(row) ? shownRows : rows;
  const beside = (step) => order[order.indexOf(row) + step];
  const turn = (step, sign, words) =>
    h(
      "button",
      {
        type: "button",
        class: "quiet",
        "data-turn": step,
        disabled: !beside(step),
        "aria-label": words,
        title: words,
        onclick: () => {
          openDetail(`${rows.indexOf(beside(step))}.${column}`);
          dialog.querySelector(`[data-turn="${step}"]:enabled, .close`).focus();
        },
      },
      sign,
    );
  return h(
    "header",
    {},
    h(
      "h2",
      { id: "detail-title" },
      marker(lookOf(row)),
      named(row.shown),
      h(
        "small",
        {},
        named(
          `${columns[column].dataset}: ${columns[column].teacher} \u2192 ${columns[column].student}`,
        ),
      ),
    ),
    h(
      "div",
      { class: "turns" },
      turn(-1, "\u2191", "The row above"),
      turn(1, "\u2193", "The row below"),
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

function summary(row, column) {
  const cell = row.cells[column];
  const number =
    cell.mean === null
      ? "no seed is done"
      : `${percent(cell.mean)} %${cell.std === null ? "" : ` \u00b1 ${percent(cell.std)}`}`;
  return [
    h("b", {}, number),
    h("span", {}, `${cell.n} of ${plural(cell.runs.length, "run")} done`),
    cell.interval &&
      h("span", {}, `95 % interval ${percent(cell.interval[0])} to ${percent(cell.interval[1])}`),
    cell.gap !== null && h("span", {}, `${whole(cell.gap)} % of the way from scratch to teacher`),
    (cell.best || cell.second) &&
      h("span", {}, cell.best ? "best of the complete rows" : "second of the complete rows"),
  ];
}

function curveWords(row) {
  const grey = content.references.filter((name) => name !== row.name && row.role === "student");
  return `${content.measure[0].toUpperCase()}${content.measure.slice(1)} (%) by epoch, a line for each seed; on the right the last quarter. ${grey.length ? `Grey: ${grey.join(", dotted: ")} (means). ` : ""}Shaded: phases before the last; dashed: drops of the learning rate.`;
}

function seedTable(row, column) {
  const list = runsOf(row.cells[column]);
  const measures = [...new Set(list.flatMap((run) => Object.keys(run.result ?? {})))].filter(
    (name) => !["top1", "epoch"].includes(name),
  );
  const difference = (run, name) => {
    const other = runsOf(rowNamed(name)?.cells[column] ?? { runs: [] }).find(
      (one) => one.seed === run.seed,
    );
    return row.name === name || row.role === "teacher" || other?.state !== "done"
      ? ""
      : signed(run.result.top1 - other.result.top1);
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
          percent(run.result.top1),
          ...content.references.map((name) => difference(run, name)),
          run.best && `${percent(run.best[1])} (epoch ${run.best[0]})`,
          ...measures.map((name) => figure(run.result[name])),
          measuredOf(run).seconds ? duration(measuredOf(run).seconds) : "",
          links(run),
        ].map((text) => h("td", {}, text))
      : [
          h(
            "td",
            { colspan: heads.length - 2, class: "why" },
            h("b", { class: run.state }, run.state),
            " ",
            named(run.why),
            trace(run),
          ),
          h("td", {}, links(run)),
        ];
  return table(
    heads,
    list.map((run) => h("tr", {}, h("th", { scope: "row" }, seedName(run)), line(run))),
    "figures",
  );
}

const figure = (value) =>
  typeof value === "number" ? Number(value.toPrecision(4)).toString() : (value ?? "");
const links = (run) =>
  (run.files ?? []).map((file) => [
    h(
      "a",
      { href: link(run, file), "aria-label": `${file} of ${seedName(run)}` },
      file === "student.pt" ? "weights" : file.replace(".json", ""),
    ),
    " ",
  ]);

function trace(run) {
  const text = run.failure && pool[run.failure.traceback];
  return text ? h("details", {}, h("summary", {}, "end of the traceback"), h("pre", {}, text)) : "";
}

function publishedPart(row, column) {
  const list = publishedOf(row, column);
  if (!list.length) return null;
  const own = row.cells[column].mean;
  const words = {
    copied: "copied from another paper",
    unverified: "not verified",
    differs: "trained otherwise",
  };
  const line = (other) => [
    percent(other.top1) + (other.std === null ? "" : ` \u00b1 ${percent(other.std)}`),
    own === null ? "" : signed(own - other.top1),
    other.n ?? "not said",
    other.epoch,
    named(`${other.title} (${other.where})`),
    named([words[other.status], other.note].filter(Boolean).join("; ")),
  ];
  const heads = ["top-1", "ours less theirs", "runs", "epoch", "source", "remark"];
  return part(
    "Published",
    table(
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
    const { delta, test, mark } = about(row, column, name);
    return (
      delta &&
      h(
        "tr",
        {},
        h("th", { scope: "row" }, name),
        [
          signed(delta[0]) + mark,
          plural(delta[1], "seed"),
          test ? `${percent(test[0])} to ${percent(test[1])}` : "",
          test ? small(test[2]) : "",
          test ? small(test[3]) : "",
        ].map((text) => h("td", {}, text)),
      )
    );
  };
  const lines = content.references.map(line).filter(Boolean);
  return lines.length
    ? part(
        "Paired differences",
        table(["to", "\u0394", "of", "95 % interval", "p", "p by Holm"], lines, "figures"),
      )
    : null;
}

const small = (p) => (p < 0.001 ? "< 0.001" : p.toFixed(3));

function lossPart(done, look) {
  const list = done.filter((run) => Object.keys(run.losses).length > 0);
  return list.length
    ? part("Loss terms", h("div", { class: "losses" }, lossPanels(list, look)))
    : null;
}
