// Builds the page and reacts to the reader: filters, keys, pointer and theme. Reloads the page
// while a grid runs.

const card = byId("card");

function drawFilters() {
  const option = (value, text) => h("option", { value }, text);
  const choice = (name, label, list) => h("label", {}, label, h("select", { name }, list));
  const sets = [...new Set(columns.map((column) => column.dataset))];
  byId("filters").replaceChildren(
    h(
      "label",
      {},
      "Method",
      h("input", {
        name: "method",
        type: "search",
        placeholder: "all, or kd, at \u2026",
        autocomplete: "off",
        spellcheck: "false",
      }),
    ),
    choice("dataset", "Data set", [option("", "all"), sets.map((name) => option(name, name))]),
    choice("pair", "Pair", [
      option("", "all"),
      columns.map((column, index) => option(String(index), pairName(column))),
    ]),
    choice(
      "show",
      "Show",
      SHOW_OPTIONS.map(([value, text]) => option(value, text)),
    ),
    content.published
      ? h(
          "label",
          { class: "check" },
          h("input", { name: "published", type: "checkbox", value: "1" }),
          "Published values",
        )
      : "",
    h("button", { type: "reset", class: "quiet" }, "Reset"),
  );
}

function fillFilters() {
  for (const control of byId("filters").elements) {
    if (control.type === "checkbox") control.checked = state[control.name] === "1";
    else if (control.name) control.value = state[control.name];
  }
  // Pairs of other data sets are not offered. The choice of what to show is hidden for a single
  // pair, because its table has all numbers.
  for (const option of byId("filters").elements.pair.options) {
    option.hidden =
      option.value !== "" &&
      Boolean(state.dataset) &&
      columns[Number(option.value)].dataset !== state.dataset;
  }
  byId("filters").elements.show.closest("label").hidden = shownPairs().length === 1;
  byId("filters").elements.dataset.closest("label").hidden = !severalDatasets;
  byId("filters").elements.pair.closest("label").hidden = columns.length === 1;
}

function filtersChanged(event) {
  const { name, type, checked, value } = event.target;
  const changes = { [name]: type === "checkbox" ? (checked ? "1" : "") : value };
  if (name === "dataset") changes.pair = "";
  updateState(changes);
  fillFilters();
  drawTable();
}

function drawFacts() {
  const all = rows.flatMap((row) => row.cells.flatMap(runsOf));
  const applicable = new Set(all.filter((run) => run.state !== "not applicable"));
  const done = [...applicable].filter((run) => run.state === "done");
  const newest = done
    .map((run) => run.times[1] ?? "")
    .sort()
    .at(-1);
  const facts = [
    `${done.length.toLocaleString("en")} of ${formatCount(applicable.size, "run")} done`,
    formatCount(students.length, "method"),
    formatCount(columns.length, "pair"),
    formatCount(seeds.length, "seed"),
    newest && `newest result ${newest.slice(0, 16).replace("T", " ")}`,
  ];
  byId("facts").textContent = facts.filter(Boolean).join(" \u00b7 ");
  const paragraphs = [
    h("p", {}, isolate(content.caption)),
    content.notes.map((note, i) =>
      h("p", { class: "note" }, h("sup", {}, footnoteLetter(i)), " ", isolate(note)),
    ),
  ];
  byId("caption").replaceChildren(...paragraphs.flat());
  const file = (kind) => [
    h("a", { href: `${encodeURIComponent(content.suite)}.${kind}` }, kind),
    " ",
  ];
  document
    .querySelector("footer")
    .replaceChildren(
      "The same tables as files: ",
      ...["md", "tex", "csv"].flatMap(file),
      " \u00b7 Enter opens a cell, Esc closes it, arrow keys move between cells",
    );
}

// ---------------------------------------------------------------- the card with a cell's curves

// Shows the curves of the cell that has the pointer or the keyboard focus.
function showCard(target) {
  const position = target?.closest?.("[data-cell]")?.dataset.cell;
  if (!position || dialog.open) return hideCard();
  const [line, column] = position.split(".").map(Number);
  const drawing = accuracyCurve(rows[line], column, 400, 150);
  if (!drawing) return hideCard();
  const { mean: value, std, n } = rows[line].cells[column];
  const result = `${formatPercent(value)}${formatStd(std)}, ${formatCount(n, "run")}`;
  card.replaceChildren(
    h(
      "p",
      {},
      marker(styleOf(rows[line])),
      isolate(rows[line].shown),
      h("span", { class: "muted" }, ` ${result}`),
    ),
    drawing,
  );
  hideCard();
  card.hidden = false;
  const cell = target.closest("[data-cell]");
  cell.firstElementChild.setAttribute("aria-describedby", "card");
  const box = cell.getBoundingClientRect();
  const below = box.bottom + card.offsetHeight + 12 < innerHeight;
  card.style.left = `${Math.max(8, Math.min(box.left, innerWidth - card.offsetWidth - 12))}px`;
  card.style.top = `${Math.max(8, below ? box.bottom + 6 : box.top - card.offsetHeight - 6)}px`;
}

function hideCard() {
  card.hidden = true;
  byId("results").querySelector("[aria-describedby]")?.removeAttribute("aria-describedby");
}

// ---------------------------------------------------------------- light and dark

const THEMES = ["auto", "light", "dark"];

// Stores the theme, if one is given, and returns the stored one. A browser may refuse to store
// anything for a page that is opened from a file.
function storedTheme(value) {
  try {
    if (value !== undefined) localStorage.setItem("kd-theme", value);
    return localStorage.getItem("kd-theme") ?? "auto";
  } catch {
    return value ?? "auto";
  }
}

const nextTheme = () =>
  THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];

function applyTheme(theme) {
  document.documentElement.dataset.theme = THEMES.includes(theme) ? theme : "auto";
  byId("theme").textContent =
    { light: "\u2600 light", dark: "\u263e dark" }[theme] ?? "\u25d0 auto";
  byId("theme").setAttribute("aria-label", `Colours: ${theme}. Change`);
}

// ---------------------------------------------------------------- while a grid runs

// Reloads the page at intervals, but not while the reader uses the dialog or the method filter.
function startReloading() {
  if (!content.refresh) return;
  const pause = h("input", { type: "checkbox" });
  byId("reloading").append(
    h("span", { class: "pulse" }),
    `The grid is running; this page reloads every ${content.refresh} seconds. `,
    h("label", {}, pause, " Pause"),
  );
  setInterval(() => {
    const busy = dialog.open || pause.checked || document.activeElement?.name === "method";
    if (!busy && !document.hidden) location.reload();
  }, content.refresh * 1000);
}

// ---------------------------------------------------------------- start

readAddress();
drawFilters();
fillFilters();
drawFacts();
drawTable();
drawOverall();
drawUnfinished();
applyTheme(storedTheme());
startReloading();
if (state.open) openDetail(state.open);

byId("filters").addEventListener("input", filtersChanged);
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("filters").addEventListener("reset", (event) => {
  event.preventDefault();
  updateState(DEFAULT_STATE);
  fillFilters();
  drawTable();
});
byId("theme").addEventListener("click", () =>
  applyTheme(storedTheme(nextTheme())),
);
byId("results").addEventListener("keydown", moveFocus);
byId("results").addEventListener("pointerover", (event) => showCard(event.target));
byId("results").addEventListener("pointerleave", hideCard);
byId("results").addEventListener(
  "focusin",
  (event) => event.target.matches(":focus-visible") && showCard(event.target),
);
byId("results").addEventListener("focusout", hideCard);
document.addEventListener("keydown", (event) => event.key === "Escape" && hideCard());
document.addEventListener("click", (event) => {
  const sort = event.target.closest("[data-sort]");
  const open =
    event.target.closest("[data-open]") ?? event.target.closest("[data-cell]")?.firstElementChild;
  if (sort) sortBy(sort);
  else if (open) openDetail(open.dataset.open);
  else if (event.target === dialog) dialog.close(); // its backdrop
});
addEventListener("scroll", hideCard, { passive: true });
dialog.addEventListener("close", () => {
  const position = state.open;
  updateState({ open: "" });
  byId("results")
    .querySelector(`[data-open="${CSS.escape(position)}"]`)
    ?.focus({ preventScroll: true });
});
addEventListener("beforeprint", () => {
  document.querySelectorAll("details").forEach((details) => details.setAttribute("open", ""));
  // A dialog prints only the part that fits the screen, so its content is copied into the page.
  if (dialog.open) byId("printed").append(...dialog.cloneNode(true).children);
});
addEventListener("afterprint", () => byId("printed").replaceChildren());
