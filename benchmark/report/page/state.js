// What the reader has chosen. It is kept in the address, so that a reload or a link finds it again.

const CHOICES = {
  dataset: "",
  pair: "",
  method: "",
  show: "top1",
  sort: "",
  down: "",
  published: "",
  open: "",
};
const state = { ...CHOICES };

function readAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  for (const key of Object.keys(CHOICES)) state[key] = asked.get(key) ?? CHOICES[key];
}

function choose(changes) {
  Object.assign(state, changes);
  const asked = Object.entries(state).filter(([key, value]) => value !== CHOICES[key]);
  history.replaceState(null, "", `#${new URLSearchParams(asked)}`);
}

// Places of the pairs that are shown.
const pairsShown = () =>
  columns
    .map((column, place) => [column, place])
    .filter(([column]) => !state.dataset || column.dataset === state.dataset)
    .map(([, place]) => place)
    .filter((place) => !state.pair || place === Number(state.pair));

function rowsShown() {
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

// The teacher is the ruler, not a competitor: it stays above. What has no value comes last.
function sorted(list, field) {
  if (!field) return list;
  const way = state.down ? -1 : 1;
  const compare = (a, b) => {
    if (a.role !== b.role) return a.role === "teacher" ? -1 : 1;
    const [x, y] = [field.value(a), field.value(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    return way * (typeof x === "string" ? x.localeCompare(y, "en") : x - y);
  };
  return [...list].sort(compare);
}
