// The map of learning rate and batch size: the noisy quadratic model calculated in the page
// (quadratic.js), and under the same axes the cells that were really run. Needs no kernel and no
// network. What is shown stands in the address's fragment: #map.layer-theory.m-0p9.cell-6_n3.
(() => {
  const NS = "http://www.w3.org/2000/svg";
  const MOMENTA = [0, 0.5, 0.8, 0.9, 0.95, 0.99];
  const THEORY = "theory";
  const { PALETTE, shade, grading, ownTemperature, range, runsView, theoryView } =
    globalThis.sgdnoiseViews;
  const yours = globalThis.sgdnoiseYours;

  function make(parent, tag, attributes = {}, text = "") {
    const node = attributes.svg
      ? document.createElementNS(NS, tag)
      : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name !== "svg") node.setAttribute(name, value);
    }
    if (text) node.textContent = text;
    parent?.append(node);
    return node;
  }
  const draw = (parent, tag, attributes, text) => make(parent, tag, { ...attributes, svg: 1 }, text);
  // A text that stays is left alone: the browser lays out again whatever is set.
  const say = (node, text) => {
    if (node.textContent !== text) node.textContent = text;
  };

  const SUPER = { "-": "⁻", ".": "·" };
  const raised = (value) =>
    [...String(value)].map((c) => SUPER[c] ?? "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]).join("");
  const power = (exponent) => `2${raised(Math.round(exponent * 100) / 100)}`;
  const colour = (grade) => `rgb(${shade(grade)})`;
  const digits = (value) =>
    value === 0 || (Math.abs(value) >= 0.001 && Math.abs(value) < 1e5)
      ? String(Number(value.toPrecision(3)))
      : value.toExponential(2);
  const { whole } = globalThis.sgdnoiseViews;
  const sizeName = (b) => whole(Math.round(2 ** b));
  const batchName = (b) => `B = ${sizeName(b)}`;

  // --- The address ---------------------------------------------------------------------------

  const written = (value) =>
    String(value).replaceAll("-", "n").replaceAll(".", "p").replaceAll("+", "");
  const unwritten = (text) => Number(text.replaceAll("n", "-").replaceAll("p", "."));
  const number = (text) => (/^n?\d+(p\d+)?(en?\d+)?$/.test(text) ? unwritten(text) : NaN);

  // What each part of the address may say. `read` gives undefined for what is not legal.
  function fields(layers) {
    const among = (values) => (text) => {
      const value = number(text);
      return values.includes(value) ? value : undefined;
    };
    return {
      layer: {
        read: (text) => layers.find((layer) => layer.id === text)?.id,
        legal: layers.map((layer) => layer.id).join(", "),
      },
      show: {
        read: (text) => (["accuracy", "loss"].includes(text) ? text : undefined),
        legal: "accuracy or loss",
      },
      budget: {
        read: (text) => (["epochs", "updates"].includes(text) ? text : undefined),
        legal: "epochs or updates",
      },
      m: { read: among(MOMENTA), legal: MOMENTA.join(", ") },
      size: { read: among(range(4, 20, 1)), legal: "4 to 20" },
      temperature: { read: among(range(-18, 6, 1)), legal: "-18 to 6" },
      cell: {
        read: (text) => {
          const at = text.split("_").map(number);
          return at.length === 2 && at.every(Number.isFinite) ? at : undefined;
        },
        legal: "two numbers, as in 6_n3",
      },
      yours: {
        read: (text) => {
          const given = text.split("_").map((one) => (one ? number(one) : null));
          return yours.check(given).values && given;
        },
        legal: "N, B, ε, m and epochs, as in 50000_128_0p1_0p9_90",
      },
    };
  }

  // --- One map -------------------------------------------------------------------------------

  function start(root) {
    if (root.dataset.started) return;
    root.dataset.started = "";
    const payload = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    const layers = [
      ...payload.layers,
      { id: THEORY, name: "The noisy quadratic model, calculated here" },
    ];
    const legal = fields(layers);
    const first = {
      layer: payload.first ?? layers[0].id, show: "accuracy", budget: "epochs", m: 0.9, size: 14,
      temperature: null, cell: null, yours: null,
    };
    const state = { ...first };
    const inBook = document.documentElement.dataset.content_root !== undefined;
    const up = document.documentElement.dataset.content_root ?? "";
    const id = root.id;

    root.querySelector(".without").remove();
    const form = make(root, "form", { "aria-label": "What the map shows" });
    form.addEventListener("submit", (event) => event.preventDefault());
    const controls = {};
    const chooser = (name, label, options) => {
      const holder = make(form, "label", { class: name }, `${label} `);
      const select = make(holder, "select", { name });
      for (const [value, text] of options) make(select, "option", { value }, text);
      controls[name] = { holder, field: select, put: (v) => (select.value = v), get: () => select.value };
    };
    const slider = (name, label, values, said) => {
      const holder = make(form, "label", { class: name }, `${label} `);
      const field = make(holder, "input", {
        type: "range", name, min: 0, max: values.length - 1, step: 1,
      });
      const output = make(holder, "output");
      controls[name] = {
        holder, field,
        put: (v) => {
          field.value = values.indexOf(v);
          say(output, said(v));
          field.setAttribute("aria-valuetext", said(v));
        },
        get: () => values[Number(field.value)],
      };
    };
    chooser("layer", "Shown", layers.map((layer) => [layer.id, layer.name]));
    chooser("show", "Colour", [["accuracy", "test accuracy"], ["loss", "training loss"]]);
    chooser("budget", "The same for all batch sizes", [["epochs", "examples seen"], ["updates", "updates"]]);
    slider("size", "Budget", range(4, 20, 1), (size) =>
      `${sizeName(size)} ${state.budget === "updates" ? "updates" : "examples"}`);
    slider("m", "Momentum m", MOMENTA, String);
    slider("temperature", "Temperature ε/((1−m)B)", range(-18, 6, 1), power);

    const heading = make(root, "p", { class: "title", "aria-live": "polite" });
    const svg = draw(root, "svg", {
      viewBox: "0 0 640 440", tabindex: 0, role: "application",
      "aria-roledescription": "map", "aria-describedby": `${id}-keys`,
    });
    const hatch = draw(draw(svg, "defs"), "pattern", {
      id: `${id}-lost`, width: 6, height: 6, patternUnits: "userSpaceOnUse",
      patternTransform: "rotate(45)",
    });
    draw(hatch, "rect", { width: 6, height: 6, class: "lost" });
    draw(hatch, "line", { x1: 0, y1: 0, x2: 0, y2: 6, class: "hatch" });
    const ground = draw(svg, "g");
    const over = draw(svg, "g");
    const axes = draw(svg, "g");
    make(root, "p", { class: "keys", id: `${id}-keys` },
      "Yellow is best. A click, or the arrow keys, choose a cell.");
    const legend = make(root, "p", { class: "legend" });
    const trouble = make(root, "p", { class: "trouble", role: "alert", hidden: "" });
    const along = make(root, "div", { class: "along" });
    const where = make(along, "p");
    const bars = make(along, "ul");
    const detail = make(root, "div", { class: "detail", "aria-live": "polite" });
    const about = make(root, "p", { class: "about" });

    let view, frame, seen = null, place = null;

    function look() {
      const theory = state.layer === THEORY;
      const layer = layers.find((one) => one.id === state.layer);
      view = theory ? theoryView(payload.model, state) : runsView(layer, state);
      if (state.temperature === null) state.temperature = ownTemperature(view);
      for (const name of ["budget", "size", "m"]) controls[name].holder.hidden = !theory;
      controls.show.holder.hidden = theory;
      for (const [name, control] of Object.entries(controls)) control.put(state[name]);
      paint();
      if (theory) ahead();
    }

    // What the next moves of a slider would show is calculated while the page rests.
    let waiting = false;
    function ahead() {
      if (waiting) return;
      waiting = true;
      const sizes = [state.size - 1, state.size + 1].filter((size) => size >= 4 && size <= 20);
      const next = [
        ...MOMENTA.map((m) => ({ ...state, m })), ...sizes.map((size) => ({ ...state, size })),
      ];
      const work = (rest) => {
        while (next.length && rest.timeRemaining() > 8) theoryView(payload.model, next.shift());
        waiting = next.length > 0;
        if (waiting) requestIdleCallback(work);
      };
      globalThis.requestIdleCallback ? requestIdleCallback(work) : (waiting = false);
    }

    function paint() {
      const bs = view.cells.map((c) => c.b);
      const es = view.cells.map((c) => c.e);
      const box = { left: 62, right: 626, top: 8, bottom: 388 };
      const columns = [...new Set(bs)].sort((a, b) => a - b);
      const gap = Math.min(...columns.slice(1).map((b, i) => b - columns[i]), 2);
      // The outermost columns stand whole inside the frame.
      const beside = gap / 2 + 0.1;
      const lowB = columns[0] - beside, highB = columns[columns.length - 1] + beside;
      const lowE = Math.min(...es) - 0.6, highE = Math.max(...es) + 0.6;
      const x = (b) => box.left + ((b - lowB) / (highB - lowB)) * (box.right - box.left);
      const y = (e) => box.bottom - ((e - lowE) / (highE - lowE)) * (box.bottom - box.top);
      const { grade, ends } = grading(view);
      frame = { x, y, wide: x(gap) - x(0) };
      paintCells(grade);
      const parts = document.createDocumentFragment();
      const names = draw(parts, "defs", {});
      const clip = draw(names, "clipPath", { id: `${id}-frame` });
      draw(clip, "rect", {
        x: box.left, y: box.top, width: box.right - box.left, height: box.bottom - box.top,
      });
      const inside = draw(parts, "g", { "clip-path": `url(#${id}-frame)` });
      const line = (points, name) => {
        const path = points.map(([b, e]) => `${x(b)},${y(e)}`).join(" ");
        draw(inside, "polyline", { points: path, class: `halo ${name}` });
        draw(inside, "polyline", { points: path, class: `line ${name}` });
      };
      const diagonals = range(-18, 6, 2).map((t) =>
        `M${x(lowB)},${y(lowB + t)}L${x(highB)},${y(highB + t)}`);
      draw(inside, "path", { d: diagonals.join(""), class: "diagonal" });
      line([[lowB, lowB + state.temperature], [highB, highB + state.temperature]], "temperature");
      if (view.wall !== null) line([[lowB, view.wall], [highB, view.wall]], "wall");
      if (view.boundary) {
        const { value, low, high } = view.boundary;
        if (low !== undefined) {
          const [from, to] = [low ?? lowB, high ?? highB].map((v) => x(Math.min(highB, Math.max(lowB, v))));
          const foot = `M${from},${box.bottom - 12}v8M${from},${box.bottom - 8}H${to}m0,-4v8`;
          draw(inside, "path", { d: foot, class: "halo" });
          draw(inside, "path", { d: foot, class: "line foot" });
        }
        line([[value, lowE], [value, highE]], "boundary");
      }
      line(view.ridge.map((p) => [p.b, p.e]), "ridge");
      for (const p of view.ridge) {
        if (p.low !== undefined) line([[p.b, p.low ?? lowE], [p.b, p.high ?? highE]], "bar");
        draw(inside, "circle", { cx: x(p.b), cy: y(p.e), r: p.bound ? 3 : 4.5, class: p.bound ? "bound" : "peak" });
      }
      if (place) {
        const near = (v, low, high) => Math.min(high - 0.2, Math.max(low + 0.2, v));
        const [px, py] = [x(near(place.b, lowB, highB)), y(near(place.e, lowE, highE))];
        draw(inside, "path", { d: `M${px - 8},${py}h16M${px},${py - 8}v16`, class: "yours" });
        const left = px > (box.left + box.right) / 2;
        draw(inside, "text", { x: px + (left ? -12 : 12), y: py - 8, class: left ? "yours end" : "yours" },
          "yours");
      }
      draw(parts, "rect", { class: "chosen", fill: "none", visibility: "hidden" });
      over.replaceChildren(parts);
      paintAxes(box, columns, es);
      say(heading, view.title);
      svg.setAttribute("aria-label", `Learning rate against batch size. ${view.title}`);
      say(about, view.about);
      explain(ends);
      diagonal(grade);
      choose();
    }

    // The axes' numbers, which a move of a slider mostly leaves as they are.
    let numbered = "";
    function paintAxes(box, columns, es) {
      const { x, y } = frame;
      const now = [columns, Math.min(...es), Math.max(...es), x(0), y(0)].join();
      if (now === numbered) return;
      numbered = now;
      const parts = document.createDocumentFragment();
      const everyB = columns.length > 9 ? 2 : 1;
      columns.forEach((b, i) => {
        if (i % everyB) return;
        draw(parts, "text", { x: x(b), y: box.bottom + 18, class: "tick middle" }, sizeName(b));
      });
      const tall = Math.max(...es) - Math.min(...es);
      for (const e of range(Math.ceil(Math.min(...es)), Math.max(...es), tall > 9 ? 2 : 1)) {
        draw(parts, "text", { x: box.left - 8, y: y(e) + 4, class: "tick end" }, power(e));
      }
      draw(parts, "text", { x: (box.left + box.right) / 2, y: 428, class: "name middle" },
        "batch size B (examples)");
      draw(parts, "text", {
        transform: `translate(14 ${(box.top + box.bottom) / 2}) rotate(-90)`, class: "name middle",
      }, "effective learning rate ε/(1−m)");
      axes.replaceChildren(parts);
    }

    // What the colours and the lines mean.
    let explained = "";
    function explain(ends) {
      const marks = [
        ["ridge", view.layer ? "tuned rate, with its 95 % interval" : "tuned rate"],
        ["temperature", "equal temperature"],
      ];
      if (view.wall !== null) marks.push(["wall", `critical effective rate ${digits(2 ** view.wall)}`]);
      if (view.boundary) {
        const size = sizeName(view.boundary.value);
        const known = view.boundary.low === undefined ? "" : ", its 95 % interval at the foot";
        marks.push(["boundary", `boundary B = ${size}${known}`]);
      }
      const lost = view.cells.some((cell) => cell.value === null);
      const worst = `${view.unit}: ${digits(ends[0])}${view.span ? " and worse" : ""} `;
      const now = JSON.stringify([marks, lost, worst, ends]);
      if (now === explained) return;
      explained = now;
      legend.replaceChildren(worst);
      const bar = make(legend, "span", { class: "scale", "aria-hidden": "true" });
      bar.style.background = `linear-gradient(90deg, ${PALETTE.join(", ")})`;
      legend.append(` ${digits(ends[1])}.`);
      for (const [name, text] of marks) {
        const item = make(legend, "span", { class: "item" });
        const mark = draw(item, "svg", { viewBox: "0 0 26 10", class: "key", "aria-hidden": "true" });
        draw(mark, "path", { d: "M1,5h24", class: `halo ${name}` });
        draw(mark, "path", { d: "M1,5h24", class: `line ${name}` });
        item.append(text);
      }
      if (lost) make(legend, "span", { class: "item" }, view.layer ? "hatched: diverged" : "hatched: the loss ends above four times that at the start");
      if (view.ridge.some((p) => p.bound)) {
        const item = make(legend, "span", { class: "item" });
        const mark = draw(item, "svg", { viewBox: "0 0 10 10", class: "key dot", "aria-hidden": "true" });
        draw(mark, "circle", { cx: 5, cy: 5, r: 3, class: "bound" });
        item.append("a bound: the best rate is on the edge of its grid");
      }
    }

    // Where a cell lies in the figure.
    function boxOf({ b, e }) {
      const { x, y, wide } = frame;
      // Real runs stand at whole steps, about a tuned rate also at halves and quarters.
      const tall = view.layer ? [1, 0.5, 0.25].find((s) => e % s === 0) ?? 0.25 : 0.5;
      const height = y(0) - y(tall) - (view.layer ? 1 : 0);
      const width = wide - (view.layer ? 1 : 0);
      return { x: x(b) - width / 2, y: y(e) - height / 2, width, height };
    }

    let painted = null;
    function paintCells(grade) {
      if (painted === view) return;
      painted = view;
      ground.replaceChildren();
      const lost = `url(#${id}-lost)`;
      if (!view.layer) {
        ground.append(raster(grade, lost));
        return;
      }
      const boxes = view.cells.map((cell) => [cell, boxOf(cell)]);
      // Whole steps first, so that the others lie on top of them.
      for (const [cell, box] of boxes.sort((a, b) => b[1].height - a[1].height)) {
        draw(ground, "rect", {
          ...box, fill: cell.value === null ? lost : colour(grade(cell.value)),
          "data-cell": `${written(cell.b)}_${written(cell.e)}`,
        });
      }
    }

    // The model's cells as one picture of a pixel each, which a slider redraws at once.
    const canvas = document.createElement("canvas");
    function raster(grade, lost) {
      const { cells } = view;
      canvas.width = new Set(cells.map((cell) => cell.b)).size;
      canvas.height = cells.length / canvas.width;
      const pen = canvas.getContext("2d");
      const pixels = pen.createImageData(canvas.width, canvas.height);
      cells.forEach(({ value }, i) => {
        // Rows of cells go up, rows of pixels down.
        const row = canvas.height - 1 - Math.floor(i / canvas.width);
        const at = 4 * (row * canvas.width + (i % canvas.width));
        if (value !== null) pixels.data.set([...shade(grade(value)), 255], at);
      });
      pen.putImageData(pixels, 0, 0);
      const [low, high] = [boxOf(cells[0]), boxOf(cells.at(-1))];
      const place = {
        x: low.x, y: high.y, width: high.x + high.width - low.x, height: low.y + low.height - high.y,
      };
      const picture = document.createDocumentFragment();
      draw(picture, "rect", { ...place, fill: lost });
      draw(picture, "image", { ...place, href: canvas.toDataURL(), preserveAspectRatio: "none" });
      return picture;
    }

    // What is reached along the chosen temperature: level where only the temperature matters.
    function diagonal(grade) {
      const on = view.cells
        .filter((c) => Math.abs(c.e - c.b - state.temperature) < 0.01)
        .sort((a, b) => a.b - b.b);
      const temperature = `Along the temperature ${power(state.temperature)}`;
      bars.hidden = on.length < 2;
      if (bars.hidden) {
        say(where, `${temperature} there are no two cells.`);
        return;
      }
      say(where, `${temperature}, ${view.unit} by batch size:`);
      while (bars.children.length > on.length) bars.lastChild.remove();
      while (bars.children.length < on.length) {
        const item = make(bars, "li");
        make(item, "span", { class: "bar", "aria-hidden": "true" });
        make(item, "span");
        make(item, "span", { class: "size" });
      }
      on.forEach((cell, i) => {
        const [bar, value, size] = bars.children[i].children;
        const lost = cell.value === null;
        bar.style.cssText = lost ? "" :
          `block-size: ${0.2 + 2.6 * grade(cell.value)}rem; background: ${colour(grade(cell.value))}`;
        say(value, lost ? "lost" : digits(cell.value));
        say(size, sizeName(cell.b));
      });
    }

    function choose() {
      const mark = svg.querySelector(".chosen");
      detail.replaceChildren();
      const cell = state.cell && view.cells.find((c) => c.b === state.cell[0] && c.e === state.cell[1]);
      if (!cell) {
        mark.setAttribute("visibility", "hidden");
        return;
      }
      for (const [name, value] of Object.entries(boxOf(cell))) mark.setAttribute(name, value);
      mark.setAttribute("visibility", "visible");
      const place = `${batchName(cell.b)}, ε/(1−m) = ${power(cell.e)}, temperature ${power(cell.e - cell.b)}`;
      if (!view.layer) {
        const value = cell.value === null ? "it diverges" : `expected loss ${digits(cell.value)}`;
        make(detail, "p", {}, `${place}: ${value} after ${whole(cell.steps)} updates.`);
        return;
      }
      const { layer } = view;
      const spread = (v, s) => `${digits(v)}${s === null ? "" : ` ± ${digits(s)}`}`;
      const lost = cell.lost ? `${cell.lost} of ${cell.runs.length} diverged` : "";
      const reached = cell.accuracy === null ? "" :
        `test accuracy ${spread(cell.accuracy, cell.accuracy_std)} %, training loss ${digits(cell.loss)}`;
      make(detail, "p", {}, `${place}: ${[reached, lost].filter(Boolean).join("; ")}.`);
      if (cell.curve) curves(detail, cell.curve);
      const list = make(detail, "p", { class: "runs" }, "Its runs: ");
      cell.runs.forEach(([run, seed, accuracy], i) => {
        if (i) list.append(", ");
        const text = `seed ${seed}${accuracy === null ? " diverged" : ` ${accuracy} %`}`;
        inBook
          ? make(list, "a", { href: `${up}${layer.records}#${run}` }, text)
          : list.append(`${text} (${run})`);
      });
      list.append(".");
      const more = make(detail, "p");
      if (inBook && layer.page) make(more, "a", { href: `${up}${layer.page}` }, "The experiment's page");
      more.append(`${inBook && layer.page ? ". " : ""}All of it is made by `);
      make(more, "code", {}, layer.command);
      more.append(".");
    }

    // Mean training loss and test accuracy against the update, both on their own scale.
    function curves(parent, { step, accuracy, loss: losses }) {
      const plot = draw(parent, "svg", { viewBox: "0 0 320 110", class: "curves", role: "img",
        "aria-label": `Mean curves of its runs: test accuracy from ${digits(accuracy[0])} to ` +
          `${digits(accuracy.at(-1))} %, training loss from ${digits(losses[0])} to ${digits(losses.at(-1))}` });
      const across = (s) => 8 + (Math.log(s) / Math.log(step.at(-1))) * 304;
      const one = (values, log, name) => {
        const at = values.map((v) => (log ? Math.log(v) : v));
        const low = Math.min(...at), high = Math.max(...at);
        const points = at.map((v, i) => `${across(step[i])},${88 - ((v - low) / (high - low || 1)) * 76}`);
        draw(plot, "polyline", { points: points.join(" "), class: name });
      };
      one(accuracy, false, "accuracy");
      one(losses, true, "loss");
      draw(plot, "text", { x: 8, y: 106, class: "tick" }, "update 1");
      draw(plot, "text", { x: 312, y: 106, class: "tick end" }, whole(step.at(-1)));
      const names = make(parent, "p", { class: "keys" });
      make(names, "span", { class: "accuracy" }, "— test accuracy ");
      make(names, "span", { class: "loss" }, "— training loss (log scale)");
    }

    // --- The address and the reader's hands --------------------------------------------------

    const fragment = () => {
      const parts = [`layer-${state.layer}`];
      const theory = state.layer === THEORY;
      if (!theory) parts.push(`show-${state.show}`);
      else parts.push(`budget-${state.budget}`, `size-${state.size}`, `m-${written(state.m)}`);
      parts.push(`temperature-${written(state.temperature)}`);
      if (state.yours) parts.push(`yours-${state.yours.map((v) => (v === null ? "" : written(v))).join("_")}`);
      if (state.cell) parts.push(`cell-${state.cell.map(written).join("_")}`);
      return `#${[id, ...parts].join(".")}`;
    };
    function keep() {
      if (inBook && location.hash !== fragment()) {
        history.pushState(null, "", location.pathname + location.search + fragment());
      }
    }

    function read() {
      const [name, ...parts] = location.hash.slice(1).split(".");
      trouble.hidden = true;
      if (name !== id) {
        if (seen !== null && !location.hash) Object.assign(state, first), put(), look();
        return;
      }
      const asked = {}, wrong = [];
      for (const part of parts) {
        const [, field, text] = part.match(/^([a-z]+)-(.*)$/) ?? [];
        const value = field && Object.hasOwn(legal, field) ? legal[field].read(text) : undefined;
        if (value === undefined) {
          const choice = field && Object.hasOwn(legal, field) ? `: choose ${legal[field].legal}` : "";
          wrong.push(`"${readable(part)}" in the address is nothing that this map knows${choice}`);
        } else asked[field] = value;
      }
      Object.assign(state, { temperature: null, cell: null, yours: null }, asked);
      seen = location.hash;
      put();
      look();
      root.scrollIntoView();
      if (wrong.length) {
        trouble.textContent = `${wrong[0]}. The rest is shown.`;
        trouble.hidden = false;
      }
    }
    function readable(text) {
      let said = text;
      try {
        said = decodeURIComponent(text);
      } catch {
        // a stray percent sign
      }
      return said.length > 60 ? `${said.slice(0, 60)}…` : said;
    }

    form.addEventListener("input", (event) => {
      const name = event.target.name;
      const value = controls[name].get();
      if (name === "layer") Object.assign(state, { temperature: null, cell: null });
      state[name] = value;
      trouble.hidden = true;
      look();
    });
    form.addEventListener("change", keep);
    svg.addEventListener("click", (event) => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      const hit = view.cells
        .filter((cell) => {
          const box = boxOf(cell);
          return at.x >= box.x && at.x <= box.x + box.width && at.y >= box.y && at.y <= box.y + box.height;
        })
        .sort((a, b) => boxOf(a).height - boxOf(b).height)[0];
      if (!hit) return;
      state.cell = [hit.b, hit.e];
      choose();
      keep();
    });
    const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    svg.addEventListener("keydown", (event) => {
      const move = MOVES[event.key];
      if (!move) return;
      event.preventDefault();
      const from = state.cell ?? [view.ridge[0]?.b ?? view.cells[0].b, Math.round(view.ridge[0]?.e ?? 0)];
      // The nearest cell in that direction, the other coordinate staying as near as it can.
      const [axis, other] = move[0] ? [0, 1] : [1, 0];
      const sign = move[axis];
      const beyond = view.cells
        .map((c) => [c.b, c.e])
        .filter((at) => (state.cell ? sign * (at[axis] - from[axis]) > 0 : true))
        .sort((p, q) =>
          Math.abs(p[other] - from[other]) - Math.abs(q[other] - from[other]) ||
          Math.abs(p[axis] - from[axis]) - Math.abs(q[axis] - from[axis]));
      if (!beyond.length) return;
      state.cell = beyond[0];
      choose();
      keep();
    });

    // --- Their own numbers -------------------------------------------------------------------

    const own = make(root, "details", { class: "own" });
    make(own, "summary", {}, "Your numbers: where is your own training?");
    const asks = make(own, "form", { "aria-label": "Your numbers" });
    asks.addEventListener("submit", (event) => event.preventDefault());
    const inputs = yours.FIELDS.map(({ name, label }) => {
      const holder = make(asks, "label", {}, `${label} `);
      return make(holder, "input", {
        name, inputmode: "decimal", autocomplete: "off", size: 9, "aria-describedby": `${id}-wrong-${name}`,
      });
    });
    const complaints = new Map(yours.FIELDS.map(({ name }, i) =>
      [name, make(inputs[i].parentNode, "span", { class: "wrong", id: `${id}-wrong-${name}` })]));
    const picker = make(make(asks, "label", {}, "or a JSON file of measurements "), "input", {
      type: "file", accept: ".json,application/json", "aria-describedby": `${id}-wrong-file`,
    });
    complaints.set("file", make(picker.parentNode, "span", { class: "wrong", id: `${id}-wrong-file` }));
    const told = make(own, "div", { class: "told", "aria-live": "polite" });

    function complain(name, why) {
      for (const [field, node] of complaints) node.textContent = field === name ? why : "";
      inputs.forEach((input) => input.toggleAttribute("aria-invalid", input.name === name));
    }

    // What the state's numbers mean; with none, nothing.
    function tell() {
      told.replaceChildren();
      place = null;
      if (!state.yours) return;
      const { values } = yours.check(state.yours);
      const { lines, advice, place: at } = yours.report(values, payload);
      place = at;
      const list = make(told, "ul");
      for (const text of lines) make(list, "li", {}, text);
      for (const { lead, text, word, link } of advice) {
        const item = make(list, "li", {}, `${lead}${text} The claim behind it is `);
        inBook ? make(item, "a", { href: `${up}${link}` }, word) : item.append(word);
        item.append(".");
      }
      make(told, "p", {},
        "The cross marks these numbers as they are. Another net has its own boundary and its own " +
        "wall: only slopes carry over.");
    }

    function typed() {
      const given = inputs.map(({ value }) => {
        const text = value.trim();
        // Commas between thousands only: 0,1 is no 1.
        return text === "" ? null : Number(/^\d{1,3}(,\d{3})+$/.test(text) ? text.replaceAll(",", "") : text);
      });
      // Nothing is said of what has not been filled in yet.
      if (given.slice(0, 5).some((v) => v === null)) {
        complain(null, "");
        const filled = given.findIndex((v, i) => v !== null && !yours.FIELDS[i].legal(v));
        if (filled >= 0) complain(yours.FIELDS[filled].name, `must be ${yours.FIELDS[filled].rule}`);
        return;
      }
      const { values, field, why } = yours.check(given);
      complain(field, why);
      if (!values) return; // the last good state stays
      state.yours = given;
      tell();
      paint();
      keep();
    }
    asks.addEventListener("input", (event) => {
      if (event.target !== picker) typed();
    });
    picker.addEventListener("change", async () => {
      const [file] = picker.files;
      if (!file) return;
      const { numbers, why } = yours.parse(file.size > 1e6 ? " ".repeat(2e5) : await file.text());
      complain("file", why ?? "");
      if (!numbers) return;
      inputs.forEach((input) => {
        if (Object.hasOwn(numbers, input.name)) input.value = numbers[input.name];
      });
      typed();
    });
    function put() {
      inputs.forEach((input, i) => (input.value = state.yours?.[i] ?? ""));
      if (state.yours) own.open = true;
      complain(null, "");
      tell();
    }
    if (inBook) addEventListener("hashchange", read);
    if (inBook) addEventListener("popstate", read);
    look();
    if (inBook) read();
  }

  const all = () => document.querySelectorAll(".sgdnoise-map").forEach(start);
  document.readyState === "loading" ? addEventListener("DOMContentLoaded", all) : all();
})();
