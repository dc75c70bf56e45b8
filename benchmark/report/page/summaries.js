// The summary over all pairs, and the list of runs without a result.

// The runs without a result by state. Runs of one cell with the same reason share a line.
function unfinishedGroups() {
  const groups = { failed: new Map(), missing: new Map(), "not applicable": new Map() };
  for (const row of rows) {
    row.cells.forEach((cell, column) => {
      for (const run of runsOf(cell)) {
        const lines = groups[run.state];
        if (!lines) continue;
        const key = JSON.stringify([row.name, column, run.why]);
        if (!lines.has(key)) lines.set(key, { row, column, why: run.why, list: [] });
        lines.get(key).list.push(run);
      }
    });
  }
  return Object.entries(groups).filter(([, lines]) => lines.size > 0);
}

function drawUnfinished() {
  const titles = { failed: "Failed", missing: "Missing", "not applicable": "Not applicable" };
  const sections = unfinishedGroups().map(([state, lines]) => {
    const count = new Set([...lines.values()].flatMap((line) => line.list)).size;
    return h(
      "details",
      { class: "group", open: state === "failed" || lines.size < 8 },
      h(
        "summary",
        {},
        h("b", { class: state.split(" ")[0] }, titles[state]),
        ` ${formatCount(count, "run")}`,
      ),
      plainTable(
        ["method", "pair", "runs", "reason", "files"],
        [...lines.values()].map(unfinishedLine),
        "unfinished",
      ),
    );
  });
  byId("unfinished").replaceChildren(
    ...(sections.length ? [h("h2", {}, "Runs without a result"), ...sections] : []),
  );
}

function unfinishedLine({ row, column, why, list }) {
  const { epoch, phase } = list[0].failure ?? {};
  const where = epoch ? ` (epoch ${epoch}${phase ? `, phase ${phase}` : ""})` : "";
  const ids = list.map((run) => run.id ?? "").join("\n");
  return h(
    "tr",
    {},
    h(
      "th",
      { scope: "row" },
      h(
        "button",
        { type: "button", class: "text", "data-open": `${rows.indexOf(row)}.${column}` },
        isolate(row.shown),
      ),
    ),
    h("td", {}, isolate(pairName(columns[column]))),
    h(
      "td",
      { title: ids },
      list
        .map(seedLabel)
        .join(", ")
        .replaceAll(/, seed /g, ", "),
    ),
    h("td", { class: "why" }, isolate(why), where),
    h("td", {}, list.map(fileLinks)),
  );
}

// One line for each method over all pairs, sorted by mean rank.
function drawOverall() {
  if (!content.overall?.lines.some(({ gain }) => gain !== null)) return;
  const { lines, ranking } = content.overall;
  const ranks = new Map(ranking?.standings.map(({ name, rank }) => [name, rank]));
  const summaries = lines
    .filter(({ name }) => rowByName(name))
    .sort((a, b) => (ranks.get(a.name) ?? 1e9) - (ranks.get(b.name) ?? 1e9));
  const text = (value, write) => (value === null || value === undefined ? "" : write(value));
  const line = ({ name, columns, gain, not_above: below, gap, ari }) => [
    text(ranks.get(name), formatPercent),
    text(gain, formatSigned),
    gain === null ? "" : `${below} of ${columns}`,
    text(gap, (value) => `${formatWhole(value)} %`),
    text(ari, (value) => `${formatWhole(value)} %`),
  ];
  const heads = [
    "method",
    "mean rank",
    "\u0394 scratch",
    "not above scratch",
    "gap closed",
    "ARI over kd",
  ];
  const caption = ranking
    ? `Mean rank over the ${formatCount(ranking.blocks, "pair")} in which every ranked method is ` +
      `complete; 1 is the best.${testsOfRanks(ranking)}`
    : "No ranks: fewer than two pairs are complete.";
  byId("overall").replaceChildren(
    h("h2", {}, "Over all pairs"),
    plainTable(
      heads,
      summaries.map((summary) =>
        h(
          "tr",
          {},
          h(
            "th",
            { scope: "row" },
            marker(styleOf(summary)),
            " ",
            isolate(rowByName(summary.name).shown),
          ),
          line(summary).map((value) => h("td", {}, value)),
        ),
      ),
      "figures",
    ),
    h("p", { class: "note" }, caption),
  );
}

function testsOfRanks({ p, critical }) {
  if (p === null) return "";
  return (
    ` Friedman test: p ${formatP(p)}. Nemenyi test: two mean ranks that differ by less than ` +
    `${formatPercent(critical)} are not significantly different.`
  );
}
