// The state of the controls. It is kept in the fragment of the address, so that a reload or a link
// restores it.

const DEFAULT_STATE = {
  dataset: "",
  pair: "",
  method: "",
  show: "top1",
  sort: "",
  down: "",
  published: "",
  open: "",
};
const state = { ...DEFAULT_STATE };

function readAddress() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  for (const key of Object.keys(DEFAULT_STATE)) {
    state[key] = parameters.get(key) ?? DEFAULT_STATE[key];
  }
}

function updateState(changes) {
  Object.assign(state, changes);
  const parameters = Object.entries(state).filter(([key, value]) => value !== DEFAULT_STATE[key]);
  history.replaceState(null, "", `#${new URLSearchParams(parameters)}`);
}

// The indices of the columns that the filters select.
const shownPairs = () =>
  columns
    .map((column, index) => [column, index])
    .filter(([column]) => !state.dataset || column.dataset === state.dataset)
    .map(([, index]) => index)
    .filter((index) => !state.pair || index === Number(state.pair));

// The rows that the filters select. The teacher is always one of them.
function filteredRows() {
  const words = state.method
    .toLowerCase()
    .split(/[\s,]+/)
    .filter(Boolean);
  const name = (row) => `${row.name} ${row.shown}`.toLowerCase();
  return rows.filter(
    (row) =>
      row.role === "teacher" || !words.length || words.some((word) => name(row).includes(word)),
  );
}

// Rows sorted by a field. The teacher stays first, rows without a value come last.
function sortRows(list, field) {
  if (!field) return list;
  const direction = state.down ? -1 : 1;
  const compare = (a, b) => {
    if (a.role !== b.role) return a.role === "teacher" ? -1 : 1;
    const [x, y] = [field.value(a), field.value(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    return direction * (typeof x === "string" ? x.localeCompare(y, "en") : x - y);
  };
  return [...list].sort(compare);
}
