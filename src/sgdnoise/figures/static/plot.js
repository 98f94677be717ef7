// Draws every figure of the book with one copy of plotly, in the page's light or dark colours.
// Used twice: as a script of each page, and as the first part of the widget in explorer.py.
// A heading of that name, which a page may have, stands in for what is not set.
if (!globalThis.sgdnoise?.draw) globalThis.sgdnoise = (() => {
  // The light colours of figures.py and what stands for them on a dark page.
  const DARK = {
    "#ffffff": "#121212", "#222832": "#ced6dd", "#6b7280": "#9aa4b2", "#d8dde3": "#39424f",
    "#0072b2": "#4ba3db", "#d55e00": "#f0803c", "#009e73": "#2bbf94", "#cc79a7": "#db93bc",
    "#e69f00": "#f0b429", "#56b4e9": "#8fd0f5",
  };
  const CONFIG = {
    responsive: true,
    displaylogo: false,
    showSendToCloud: false,
    typesetMath: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d"],
  };
  const root = document.documentElement;

  // The book sets data-theme, JupyterLab data-jp-theme-light, Colab theme.
  const dark = () =>
    root.dataset.theme === "dark" ||
    root.getAttribute("theme") === "dark" ||
    document.body?.dataset.jpThemeLight === "false";

  const coloured = (figure) =>
    JSON.parse(
      dark()
        ? JSON.stringify(figure).replace(/#[0-9a-f]{6}/gi, (c) => DARK[c.toLowerCase()] ?? c)
        : JSON.stringify(figure),
    );

  const inBook = () => root.dataset.content_root !== undefined;

  function script(source) {
    return new Promise((resolve, reject) => {
      const tag = document.createElement("script");
      tag.src = source;
      tag.onload = resolve;
      tag.onerror = () => reject(new Error(`cannot load ${source}`));
      document.head.append(tag);
    });
  }

  let loading;
  // Plotly, once for the page: the script that stands in a page of the book, or what `ask` brings
  // from the kernel.
  async function plotly(ask) {
    if (!globalThis.Plotly) {
      loading ??= inBook()
        ? script(`${root.dataset.content_root}_static/vendor/plotly.min.js`)
        : ask().then((source) => {
            const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
            return script(address).finally(() => URL.revokeObjectURL(address));
          });
      await loading;
    }
    return globalThis.Plotly;
  }

  function part(box, tag, name, first) {
    let node = box.querySelector(`:scope > .${name}`);
    if (!node) {
      node = document.createElement(tag);
      node.className = name;
      first ? box.prepend(node) : box.append(node);
    }
    return node;
  }

  // Figures' texts: of all that they hold, plotly's plain tags alone are markup. The rest is text,
  // for it may come from a record.
  function write(node, text) {
    node.replaceChildren();
    let into = node;
    for (const piece of text.split(/(<br>|<\/?(?:sub|sup|b|i)>)/)) {
      const [, closing, tag] = piece.match(/^<(\/?)(br|sub|sup|b|i)>$/) ?? [];
      if (!tag) {
        if (piece) into.append(piece);
      } else if (!closing) {
        const child = document.createElement(tag);
        into.append(child);
        if (tag !== "br") into = child;
      } else if (into !== node && into.localName === tag) {
        into = into.parentNode;
      } else {
        into.append(piece);
      }
    }
  }

  // Writes a figure's title over its plot, and what stands for it where nobody sees it.
  function entitle(box, { title, meta }) {
    const heading = part(box, "p", "sgdnoise-title", true);
    write(heading, title?.text ?? "");
    heading.hidden = !title?.text;
    const plot = part(box, "div", "sgdnoise-plot");
    plot.setAttribute("aria-label", meta?.alt ?? heading.textContent);
    return plot;
  }

  // Puts up what needs no plotly, and keeps the room of what does, so that nothing moves when it
  // comes. Title and provenance are text of the page: there they wrap on a narrow screen, are read
  // out, and are found by a search.
  function place(box, figure) {
    const { data, layout } = coloured(figure);
    const notes = (layout.annotations ?? []).filter((note) => note.name === "provenance");
    if (notes.length) {
      layout.annotations = layout.annotations.filter((note) => note.name !== "provenance");
      delete layout.margin?.b;
    }
    const plot = entitle(box, layout);
    plot.setAttribute("role", "figure"); // no image: its toolbar has buttons
    delete layout.title;
    layout.uirevision ??= "keep"; // zoom and hidden curves outlive a move of a slider
    // An explicit height, or plotly collapses in a page; more where the legend stacks.
    layout.height ??= layout.template?.layout?.height ?? 420;
    const entries = data.filter(({ name, showlegend }) => name && showlegend !== false).length;
    const narrow = box.clientWidth && box.clientWidth < 500;
    layout.height += 20 * Math.min(Math.max(narrow ? entries : entries - 4, narrow ? 4 : 0), 8);
    if (narrow) layout.font = { ...layout.font, size: 12 }; // an axis' name fits beside its axis
    // A finger that goes down the page is not to be caught by a figure as a zoom.
    if (matchMedia("(hover: none)").matches) layout.dragmode = false;
    // Plotly forgets that height when the window changes, and takes the element's.
    plot.style.height = `${layout.height}px`;
    const line = part(box, "p", "sgdnoise-provenance");
    write(line, notes.map((note) => note.text).join("<br>"));
    line.hidden = !notes.length;
    if (layout.meta?.records && inBook()) nameRuns(plot, line, layout.meta.records);
    offerData(box, plot);
    return { plot, data, layout };
  }

  const shown = new Map(); // box -> [figure, ask], drawn again when the theme changes

  async function draw(box, figure, ask) {
    shown.set(box, [figure, ask]);
    const { plot, data, layout } = place(box, figure);
    const Plotly = await plotly(ask);
    if (shown.get(box)?.[0] !== figure) return null; // a newer one is on its way
    await Plotly.react(plot, data, layout, CONFIG);
    if (inBook()) linkPoints(plot, layout.meta ?? {});
    return plot;
  }

  const KINDS = {
    i1: Int8Array, u1: Uint8Array, i2: Int16Array, u2: Uint16Array, i4: Int32Array,
    u4: Uint32Array, f4: Float32Array, f8: Float64Array,
  };

  // The numbers of one row, however Python has packed them.
  const unpacked = (numbers) =>
    numbers?.bdata === undefined ? numbers
      : new KINDS[numbers.dtype](Uint8Array.from(atob(numbers.bdata), (c) => c.charCodeAt(0)).buffer);

  // Moves the marks of a drawn figure to other numbers: what a whole drawing does for them, without
  // axes, legend and labels, which cost twenty times as much. Says whether it could: not where one
  // of the axes of what moved ("x", "y") follows its data, or a trace is of another kind. Plotly has no call for this, so it uses
  // parts of its own that it promises nobody; a browser test compares the marks with those of `draw`.
  function sketch(box, figure, moved, ask) {
    const plot = part(box, "div", "sgdnoise-plot");
    const { data, layout } = figure;
    const { _fullData: traces, _fullLayout: whole } = plot;
    if (traces?.length !== data.length) return false;
    const marked = traces.map((trace, k) => {
      const { type = "scatter", error_x, error_y } = data[k];
      const [x, y] = [data[k].x, data[k].y].map(unpacked);
      const fits = type === trace.type && (type === "bar" || type === "scatter");
      const count = Math.min((x ?? trace.x)?.length, (y ?? trace.y)?.length);
      // A trace without points is none to plotly, and without a mode their number decides on it.
      const some = count > 0 && trace._length > 0 && (data[k].mode || count === trace._length);
      return fits && some && { trace, x, y, count, bars: { x: error_x, y: error_y } };
    });
    const plots = Object.values(whole._plots);
    const follows = plots.some((one) => moved.some((axis) => one[`${axis}axis`].autorange));
    if (follows || !marked.every(Boolean)) return false;
    shown.set(box, [figure, ask]);
    entitle(box, layout);
    marked.forEach(({ trace, x, y, count, bars }, k) => {
      if (trace.visible !== true) return; // its entry in the legend was clicked
      Object.assign(trace, x && { x }, y && { y }, { _length: count });
      const marks = trace._module.calc(plot, trace);
      Object.assign(marks[0], { trace, t: plot.calcdata[k][0].t });
      for (const axis of ["x", "y"]) {
        const { array, arrayminus = array } = bars[axis] ?? {};
        const [up, down] = [unpacked(array), unpacked(arrayminus)];
        if (!up || !trace[`error_${axis}`].visible) continue;
        for (const mark of marks) {
          mark[`${axis}h`] = mark[axis] + up[mark.i];
          mark[`${axis}s`] = mark[axis] - down[mark.i];
        }
      }
      plot.calcdata[k] = marks;
    });
    for (const module of new Set(traces.map(({ _module }) => _module))) {
      for (const one of plots) module.crossTraceCalc?.(plot, one);
    }
    for (const module of whole._basePlotModules) module.plot(plot);
    return true;
  }

  // The numbers of a figure as it stands, as rows of curve, x, y and what else a mark has.
  function numbers(plot) {
    const rows = [];
    for (const [k, trace] of plot._fullData.entries()) {
      const curve = trace.name ?? `curve ${k + 1}`;
      const { x = [], y = [], z, error_x: across, error_y: up } = trace;
      if (z) {
        z.forEach((line, i) => Array.from(line, (value, j) =>
          rows.push({ curve, x: x[j] ?? j, y: y[i] ?? i, z: value })));
        continue;
      }
      for (let i = 0; i < Math.max(x.length, y.length); i++) {
        const row = { curve, x: x[i] ?? i, y: y[i] ?? i };
        for (const [axis, bar] of [["x", across], ["y", up]]) {
          if (!bar?.visible || !bar.array) continue;
          row[`${axis}_up`] = bar.array[i];
          row[`${axis}_down`] = (bar.arrayminus ?? bar.array)[i];
        }
        rows.push(row);
      }
    }
    return rows;
  }

  function csv(rows) {
    const columns = [...new Set(rows.flatMap(Object.keys))];
    const cell = (value) => {
      if (value === null || value === undefined || Number.isNaN(value)) return "";
      // A spreadsheet takes a leading =, +, - or @ of a text for a formula.
      return typeof value === "number" ? value
        : `"${String(value).replace(/^(?=[=+\-@])/, "'").replaceAll('"', '""')}"`;
    };
    return [columns, ...rows.map((row) => columns.map((name) => row[name]))]
      .map((line) => line.map(cell).join(",")).join("\r\n") + "\r\n";
  }

  const FORMS = {
    CSV: ["text/csv", csv],
    JSON: ["application/json", (rows) => JSON.stringify(rows)],
  };

  function offerData(box, plot) {
    const line = part(box, "p", "sgdnoise-data");
    if (line.childNodes.length) return;
    line.append("The numbers of this figure: ");
    for (const [name, [type, text]] of Object.entries(FORMS)) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = name;
      button.addEventListener("click", () => {
        if (!plot._fullData) return; // not drawn yet
        const link = document.createElement("a");
        link.href = URL.createObjectURL(new Blob([text(numbers(plot))], { type }));
        link.download = `figure.${name.toLowerCase()}`;
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 1000);
      });
      line.append(button, " ");
    }
  }

  // The runs behind a figure: a link for all of them, and from a point, by a click, to its own.
  function nameRuns(plot, line, records) {
    plot.dataset.records = root.dataset.content_root + records;
    const link = document.createElement("a");
    link.href = plot.dataset.records;
    link.textContent = "Its runs";
    line.append(" ", link, "; a click on a point leads to that point's.");
  }

  // From a point, by a click, to its runs; from a mark or a label, to what this page says of it.
  function linkPoints(plot, { records, anchors }) {
    if (plot.dataset.linked !== undefined || !(records || anchors)) return;
    plot.dataset.linked = "";
    const go = (anchor) => {
      if (!anchor) return;
      if (records) location.href = `${plot.dataset.records}#${anchor}`;
      // The same address once more moves nothing by itself.
      else if (location.hash === `#${anchor}`) document.getElementById(anchor)?.scrollIntoView();
      else location.hash = anchor;
    };
    plot.on("plotly_click", ({ points }) => {
      go(points.find((point) => point.customdata)?.customdata);
    });
    if (anchors) plot.on("plotly_clickannotation", ({ annotation }) => go(annotation.name));
  }

  const observer = new MutationObserver(() => {
    for (const [box, [figure, ask]] of shown) {
      if (box.isConnected) draw(box, figure, ask);
    }
  });
  const attributes = ["data-theme", "theme", "data-jp-theme-light"];
  const observe = () =>
    [root, document.body].forEach((node) =>
      observer.observe(node, { attributes: true, attributeFilter: attributes }),
    );
  document.body ? observe() : addEventListener("DOMContentLoaded", observe);

  const forget = (box) => shown.delete(box);

  return { draw, forget, inBook, part, place, plotly, sketch };
})();
