// Figures that controls move: from the table of frames that explorer.py made. A page of the book
// has the browser's own controls, made here; in JupyterLab and Colab widget.js takes their place.
(() => {
  const { draw, place, sketch } = globalThis.sgdnoise;

  const rowAt = ({ shape }, position) =>
    position.reduce((index, i, axis) => index * shape[axis] + i, 0);

  // A copy of a node in which one place, however deep, holds another value.
  const having = (node, [key, ...rest], value) => {
    const copy = Array.isArray(node) ? [...node] : { ...node };
    copy[key] = rest.length ? having(node[key], rest, value) : value;
    return copy;
  };

  // The figure at a position of the controls. It shares with the others what does not vary.
  function figureAt(table, position) {
    const { base, paths, pool, frames } = table;
    const row = frames[rowAt(table, position)];
    return paths.reduce((figure, path, column) => having(figure, path, pool[row[column]]), base);
  }

  // What is wrong with a table, or nothing.
  function fault({ sliders, table, position }) {
    const { base, paths, pool, frames, shape } = table ?? {};
    if (!base || ![paths, pool, frames, shape, sliders, position].every(Array.isArray)) {
      return "a part of its data is missing";
    }
    if (String(sliders.map(({ options }) => options?.length)) !== String(shape)) {
      return `its controls have other positions than ${shape.join(" × ")}`;
    }
    const count = shape.reduce((product, n) => product * n, 1);
    if (frames.length !== count) return `it has ${frames.length} frames for ${count} positions`;
    const lost = paths.find(
      (path) => typeof path.slice(0, -1).reduce((node, key) => node?.[key], base) !== "object",
    );
    if (lost) return `its frames have no ${lost.join(".")}`;
    const row = frames.findIndex(
      (frame) => frame?.length !== paths.length || !frame.every((i) => i in pool),
    );
    if (row >= 0) return `its frame ${row + 1} is not whole`;
    if (!position.every((i, axis) => i in sliders[axis].options)) {
      return `it starts at ${position.join(", ")}, where it has no frame`;
    }
  }

  // Draws a frame; the plot then says where its controls stand.
  async function show(box, figure, sliders, position, ask) {
    whole.delete(box);
    leave(box); // what the kernel has sent is newer
    const plot = await draw(box, figure, ask);
    if (!plot) return null;
    // The title carries the numbers: read out when a control has changed them.
    box.querySelector(".sgdnoise-title").setAttribute("aria-live", "polite");
    say(plot, sliders, position);
    return plot;
  }

  function say(plot, sliders, position) {
    plot.dataset.sliderState = JSON.stringify(
      Object.fromEntries(sliders.map((s, axis) => [s.name, s.values[position[axis]]])),
    );
  }

  // What a frame may change for its marks alone to be moved. Colours wait for the whole; a name may
  // change the room, for a longer legend makes the plot smaller.
  const MARKS = new RegExp(
    String.raw`^(data\.\d+\.(x|y|customdata|line\.color|error_[xy]\.array(minus)?)` +
      String.raw`|layout\.(title\.text|meta\.alt))$`,
  );
  const REST = 150; // ms
  const whole = new WeakMap(); // box -> the row of its table that was last drawn whole
  const sketched = new Map(); // box -> what draws it whole, when its controls rest

  // Follows a hand on the controls: the marks move at once, the rest of the figure when the hand
  // rests, for a whole drawing takes longer than a frame of a film.
  async function follow(box, { sliders, table }, position, ask) {
    const row = rowAt(table, position);
    const [now, before] = [table.frames[row], table.frames[whole.get(box)]];
    const changed = table.paths
      .filter((_, column) => before && before[column] !== now[column])
      .map((path) => path.join("."));
    const moved = ["x", "y"].filter((axis) =>
      changed.some((path) => path.startsWith("data.") && RegExp(`[._]${axis}(\\.|$)`).test(path)),
    );
    const figure = figureAt(table, position);
    const there = [...position];
    leave(box);
    const work = async () => {
      const plot = await show(box, figure, sliders, there, ask);
      if (plot) whole.set(box, row);
      return plot;
    };
    const alone = before && changed.every((path) => MARKS.test(path));
    if (!alone || !sketch(box, figure, moved, ask)) return work();
    const plot = box.querySelector(":scope > .sgdnoise-plot");
    say(plot, sliders, there);
    sketched.set(box, { work, timer: setTimeout(() => settle(box), REST) });
    return plot;
  }

  // Forgets the whole drawing that was to follow a sketch.
  function leave(box) {
    clearTimeout(sketched.get(box)?.timer);
    sketched.delete(box);
  }

  // Draws whole, now, what is only sketched.
  function settle(box) {
    const work = sketched.get(box)?.work;
    leave(box);
    return work?.();
  }

  addEventListener("beforeprint", () => [...sketched.keys()].forEach(settle));

  function element(tag, attributes, ...content) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...content);
    return node;
  }

  let made = 0;
  const fresh = () => `sgdnoise-control-${made++}`;

  // Many positions in a row.
  function range({ label, options }, index, move) {
    const id = fresh();
    const name = element("label", { class: "sgdnoise-name", for: id }, label);
    const value = element("span", { class: "sgdnoise-value", "aria-hidden": true });
    const last = options.length - 1;
    const input = element("input", { id, type: "range", min: 0, max: last, value: index });
    const say = () => {
      value.textContent = options[input.value];
      input.setAttribute("aria-valuetext", options[input.value]);
    };
    input.addEventListener("input", () => (say(), move(Number(input.value))));
    say();
    return element("div", { class: "sgdnoise-control" }, name, input, value);
  }

  // Two positions: both are in sight.
  function pair({ label, options }, index, move) {
    const name = fresh();
    const choices = options.map((option, i) => {
      const input = element("input", { type: "radio", name });
      input.checked = i === index;
      input.addEventListener("change", () => move(i));
      return element("label", {}, input, " ", option);
    });
    const legend = element("legend", { class: "sgdnoise-name" }, label);
    return element("fieldset", { class: "sgdnoise-control", role: "radiogroup" }, legend, ...choices);
  }

  // Puts up an explorer of a page; what it returns draws the frame that its controls stand at.
  function explorer(holder, { sliders, table, caption, position }) {
    const box = element("div", { class: "sgdnoise-figure" });
    const move = () => follow(box, { sliders, table }, position);
    const controls = sliders.map((slider, axis) =>
      (slider.options.length === 2 ? pair : range)(slider, position[axis], (index) => {
        position[axis] = index;
        return move();
      }),
    );
    holder.append(...controls, box, element("p", { class: "sgdnoise-caption" }, caption));
    place(box, figureAt(table, position));
    return move;
  }

  Object.assign(globalThis.sgdnoise, { explorer, fault, follow, settle, show });
})();
