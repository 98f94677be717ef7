// "Guess before you look": while its box is open and nothing is revealed, what follows on the page
// stays hidden; the reader sets one slider for each batch size, then sees what was measured.
(() => {
  const NS = "http://www.w3.org/2000/svg";

  function add(parent, tag, attributes = {}, text = "") {
    const node = tag === "svg" || parent?.namespaceURI === NS
      ? document.createElementNS(NS, tag)
      : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text) node.textContent = text;
    parent?.append(node);
    return node;
  }

  // What comes after a node on the page: its own later siblings, then those of what it is in.
  function after(node, end) {
    const found = [];
    for (let here = node; here && here !== end; here = here.parentElement) {
      for (let next = here.nextElementSibling; next; next = next.nextElementSibling) found.push(next);
    }
    return found;
  }

  function start(box) {
    const { x, y, low, high, step, name, unit, labels } = JSON.parse(
      box.querySelector("script").textContent,
    );
    const end = document.querySelector("article") ?? document.body;
    const later = after(box, end).filter((node) => !["script", "style"].includes(node.localName));
    const said = (value) => labels[Math.round((value - low) / step)] ?? String(value);
    const middle = low + step * Math.round((high - low) / 2 / step);
    const guess = x.map(() => middle);
    let revealed = false;

    const form = add(box, "form");
    form.addEventListener("submit", (event) => event.preventDefault());
    const sliders = x.map((at, i) => {
      const holder = add(form, "label", {}, `B = ${at.toLocaleString("en")} `);
      const slider = add(holder, "input", { type: "range", min: low, max: high, step, value: middle });
      const output = add(holder, "output");
      const put = () => {
        guess[i] = Number(slider.value);
        output.textContent = said(guess[i]);
        slider.setAttribute("aria-valuetext", said(guess[i]));
      };
      slider.addEventListener("input", () => (put(), draw()));
      put();
      return slider;
    });
    const plot = add(box, "svg", { viewBox: "0 0 420 190", role: "img" });
    const button = add(box, "button", { type: "button" }, "Show what was measured");
    const verdict = add(box, "p", { "aria-live": "polite" });

    const across = (i) => 30 + (i * 370) / Math.max(1, x.length - 1);
    const up = (value) => 160 - ((value - low) / (high - low)) * 145;
    function line(values, kind) {
      const points = values.map((value, i) => [across(i), up(value)]);
      add(plot, "polyline", { points: points.join(" "), class: kind });
      for (const [cx, cy] of points) add(plot, "circle", { cx, cy, r: 4, class: kind });
    }
    function draw() {
      plot.replaceChildren();
      line(guess, "guessed");
      if (revealed) line(y, "measured");
      x.forEach((at, i) =>
        add(plot, "text", { x: across(i), y: 182, "text-anchor": "middle" }, at.toLocaleString("en")));
      plot.setAttribute("aria-label", `${name} by batch size: your guess${revealed ? " and what was measured" : ""}`);
    }
    function hide() {
      for (const node of later) node.classList.toggle("sgdnoise-later", box.open && !revealed);
    }
    button.addEventListener("click", () => {
      revealed = true;
      for (const slider of sliders) slider.disabled = true;
      button.hidden = true;
      const off = y.map((value, i) => Math.abs(value - guess[i]));
      const mean = off.reduce((sum, one) => sum + one, 0) / off.length;
      const most = off.indexOf(Math.max(...off));
      verdict.textContent =
        `Your guess is off by ${mean.toFixed(1)} ${unit} on average, most at B = ` +
        `${x[most].toLocaleString("en")}. Solid: guessed. Dashed: measured.`;
      draw();
      hide();
      globalThis.dispatchEvent(new Event("resize")); // figures drawn while hidden take their width
    });
    box.addEventListener("toggle", hide);
    if (location.hash === `#${box.id}`) box.open = true;
    draw();
    hide();
    box.dataset.ready = "";
  }

  const all = () => document.querySelectorAll(".sgdnoise-guess:not([data-ready])").forEach(start);
  document.readyState === "loading" ? addEventListener("DOMContentLoaded", all) : all();
})();
