// Runs without a number, each with its reason: those that say the same of one cell in one line.

function undoneGroups() {
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

function drawUndone() {
  const words = { failed: "Failed", missing: "Missing", "not applicable": "Not applicable" };
  const shown = undoneGroups().map(([state, lines]) => {
    const count = new Set([...lines.values()].flatMap((line) => line.list)).size;
    return h(
      "details",
      { class: "group", open: state === "failed" || lines.size < 8 },
      h(
        "summary",
        {},
        h("b", { class: state.split(" ")[0] }, words[state]),
        ` ${plural(count, "run")}`,
      ),
      table(
        ["method", "pair", "runs", "reason", "files"],
        [...lines.values()].map(undoneLine),
        "undone",
      ),
    );
  });
  byId("undone").replaceChildren(
    ...(shown.length ? [h("h2", {}, "Runs without a number"), ...shown] : []),
  );
}

function undoneLine({ row, column, why, list }) {
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
        named(row.shown),
      ),
    ),
    h("td", {}, named(pairName(columns[column]))),
    h(
      "td",
      { title: ids },
      list
        .map(seedName)
        .join(", ")
        .replaceAll(/, seed /g, ", "),
    ),
    h("td", { class: "why" }, named(why), where),
    h("td", {}, list.map(links)),
  );
}

// What is said of each method over all pairs: one line, the best mean rank first.
function drawOverall() {
  if (!content.overall?.lines.some(({ gain }) => gain !== null)) return;
  const { lines, ranking } = content.overall;
  const ranks = new Map(ranking?.standings.map(({ name, rank }) => [name, rank]));
  const shown = lines
    .filter(({ name }) => rowNamed(name))
    .sort((a, b) => (ranks.get(a.name) ?? 1e9) - (ranks.get(b.name) ?? 1e9));
  const text = (value, write) => (value === null || value === undefined ? "" : write(value));
  const line = ({ name, columns, gain, not_above: below, gap, ari }) => [
    text(ranks.get(name), percent),
    text(gain, signed),
    gain === null ? "" : `${below} of ${columns}`,
    text(gap, (value) => `${whole(value)} %`),
    text(ari, (value) => `${whole(value)} %`),
  ];
  const heads = [
    "method",
    "mean rank",
    "\u0394 scratch",
    "not above scratch",
    "gap closed",
    "ARI over kd",
  ];
  const words = ranking
    ? `Mean rank over the ${plural(ranking.blocks, "pair")} that every ranked method has completed.${ranking.p === null ? "" : ` Friedman: p ${small(ranking.p)}; by Nemenyi mean ranks that differ by less than ${percent(ranking.critical)} are not told apart.`}`
    : "No ranks: fewer than two pairs are complete.";
  byId("overall").replaceChildren(
    h("h2", {}, "Over all pairs"),
    table(
      heads,
      shown.map((one) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, marker(lookOf(one)), " ", named(rowNamed(one.name).shown)),
          line(one).map((value) => h("td", {}, value)),
        ),
      ),
      "figures",
    ),
    h("p", { class: "note" }, words),
  );
}
