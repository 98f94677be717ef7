// Filters the scorecard's rows. What is chosen stands in the address's fragment, as in
// #show.paper-S20.word-undecided, so that a link can name it; any other fragment names a row.
// Without this script the form stays hidden and every row is shown.
(() => {
  const NAMES = ["paper", "scale", "word", "text"];

  function start() {
    const card = document.querySelector(".sgdnoise-scorecard");
    if (!card) return;
    const form = card.querySelector("form");
    const said = form.querySelector("output");
    const rows = [...card.querySelectorAll("tr[data-paper]")];
    // What a text is looked for in: a row's words and the ids of its claims.
    const words = new Map(
      rows.map((row) => {
        const named = [row, ...row.querySelectorAll("[id]")].map((node) => node.id);
        return [row, [row.textContent, ...named].join(" ").toLowerCase()];
      }),
    );
    const number = (some) => some.reduce((sum, row) => sum + Number(row.dataset.claims), 0);

    function filter() {
      const { paper, scale, word, text } = Object.fromEntries(new FormData(form));
      const terms = text.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of rows) {
        const { dataset } = row;
        row.hidden = !(
          (!paper || dataset.paper === paper) &&
          (!scale || dataset.scale === scale) &&
          (!word || dataset.word === word) &&
          terms.every((term) => words.get(row).includes(term))
        );
      }
      for (const group of card.querySelectorAll("tbody")) {
        group.hidden = !group.querySelector("tr[data-paper]:not([hidden])");
      }
      const shown = rows.filter((row) => !row.hidden);
      said.textContent = `${number(shown)} of ${number(rows)} claims, each at its scale, are shown.`;
    }

    function write() {
      const parts = NAMES.map((name) => [name, form.elements[name].value.trim()])
        .filter(([, value]) => value)
        .map(([name, value]) => `.${name}-${encoded(name, value)}`);
      const fragment = parts.length ? `#show${parts.join("")}` : "";
      history.replaceState(null, "", location.pathname + location.search + fragment);
    }

    function set(state) {
      for (const name of NAMES) {
        const field = form.elements[name];
        const value = state[name] ?? "";
        field.value = field.options ? chosen(field, value) : value;
      }
      filter();
    }

    // Follows the fragment, on loading and whenever a link changes it.
    function read() {
      const fragment = location.hash.slice(1);
      if (/^show(\.|$)/.test(fragment)) {
        const parts = fragment.split(".").slice(1).map((part) => part.match(/^(\w+)-(.*)$/));
        set(Object.fromEntries(parts.filter(Boolean).map(([, key, value]) => [key, decoded(value)])));
        form.scrollIntoView();
        return;
      }
      const named = document.getElementById(decoded(fragment));
      if (!named || !card.contains(named)) return;
      const row = named.closest("tr[data-paper]");
      if (row?.hidden) set({});
      const folded = named.closest("details");
      if (folded) folded.open = true;
      named.scrollIntoView({ block: "center" });
    }

    form.hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => (filter(), write()));
    form.addEventListener("reset", () => setTimeout(() => (filter(), write())));
    addEventListener("hashchange", read);
    set({}); // also forgets what the browser kept of an earlier visit
    read();
  }

  // An option's value has hyphens for spaces, text its own signs, but no dot.
  const encoded = (name, value) =>
    name === "text"
      ? encodeURIComponent(value).replaceAll(".", "%2E")
      : value.replaceAll(" ", "-");

  const chosen = (field, value) =>
    [...field.options].find((option) => encoded(field.name, option.value) === value)?.value ?? "";

  function decoded(fragment) {
    try {
      return decodeURIComponent(fragment);
    } catch {
      return fragment; // a stray percent sign
    }
  }

  document.readyState === "loading" ? addEventListener("DOMContentLoaded", start) : start();
})();
