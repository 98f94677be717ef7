// What a page needs beside its theme: names for those who hear it, and keys and a sign for what is
// wider than the screen. Without it a page still reads.
(() => {
  const all = (query, below = document) => [...below.querySelectorAll(query)];

  // The chevron of a chapter with pages below it has no words of its own.
  for (const summary of all("details > summary:has(> .toctree-toggle)")) {
    const chapter = summary.closest("li").querySelector(":scope > a")?.textContent.trim();
    summary.setAttribute("aria-label", `Pages below ${chapter}`);
  }
  // "Toggle hidden content" hides the words that are seen: show, or hide, code cell source.
  for (const summary of all("details.hide > summary[aria-label]")) {
    summary.removeAttribute("aria-label");
  }
  // Names that leave out words or icons that are seen: the content itself says it.
  for (const button of all(".search-button-field[aria-label]")) button.removeAttribute("aria-label");
  for (const icon of all(".theme-switch-button [title]")) icon.removeAttribute("title");
  // The entries of a list of references are items of it.
  for (const entry of all("[role=list] > [role=doc-biblioentry]")) {
    entry.setAttribute("role", "listitem");
  }

  // What may be too wide for its place, and what it is called then.
  const WIDE = {
    ".cell_output > .output": "Table",
    ".pst-scrollable-table-container": "Table",
    ".rows": "Table",
    "div.math": "Equation",
    "div.highlight pre, .output pre": "Code",
  };

  // MathJax puts the box that scrolls into the one that stands in the page.
  const scroller = (host) =>
    host.matches("div.math") ? host.querySelector("mjx-container") : host;

  const kind = (host) => {
    const [, name] = Object.entries(WIDE).find(([query]) => host.matches(query));
    return name === "Table" && !host.querySelector("table") ? "Output" : name;
  };

  // A name for each, told apart by a number: "Table 2, The boundary".
  function label(host) {
    const name = kind(host);
    const nth = all(`[data-wide="${name}"]`).indexOf(host) + 1;
    const heading = host.closest("section")?.querySelector("h1, h2, h3, h4")?.cloneNode(true)
      ?? host.previousElementSibling?.cloneNode(true);
    heading?.querySelector(".headerlink")?.remove();
    const place = heading?.textContent.trim();
    return `${name} ${nth}${place ? `, ${place}` : ""}`;
  }

  // One pixel is rounding.
  const tooWide = (box) => box.scrollWidth > box.clientWidth + 1;
  const tooHigh = (box) =>
    box.scrollHeight > box.clientHeight + 1 && /auto|scroll/.test(getComputedStyle(box).overflowY);

  function mark(box) {
    const start = box.scrollLeft > 1;
    const end = box.scrollLeft + box.clientWidth < box.scrollWidth - 1;
    const cut = [start && "start", end && "end"].filter(Boolean).join(" ");
    if (cut) box.dataset.cut = cut;
    else delete box.dataset.cut;
  }

  function update(host) {
    const box = scroller(host);
    if (!box) return;
    if (tooWide(box) || tooHigh(box)) {
      box.tabIndex = 0;
      box.setAttribute("role", "region");
      box.setAttribute("aria-label", label(host));
    } else if (box.getAttribute("role") === "region") {
      box.removeAttribute("role");
      box.removeAttribute("aria-label");
      if (box === host) box.removeAttribute("tabindex"); // MathJax has a menu on its own
    }
    mark(box);
  }

  const hosts = all(Object.keys(WIDE).join(", "));
  const resized = new ResizeObserver((entries) => {
    for (const host of new Set(entries.map(({ target }) => target.closest("[data-wide]")))) {
      update(host);
    }
  });
  for (const host of hosts) {
    host.dataset.wide = kind(host);
    resized.observe(host);
    // A table may grow where its box cannot.
    if (host.firstElementChild) resized.observe(host.firstElementChild);
  }
  document.addEventListener(
    "scroll",
    ({ target }) => target.dataset?.cut !== undefined && mark(target),
    { capture: true, passive: true },
  );
})();
