// The widget of widgets.py: shows the frame that its sliders point at. The second half of a
// module whose first half is plot.js.

// The figure at a position of the sliders, from the table that widgets.py made.
function figureAt({ base, paths, pool, frames, shape }, position) {
  const row = position.reduce((index, i, axis) => index * shape[axis] + i, 0);
  const figure = structuredClone(base);
  paths.forEach((path, column) => {
    let node = figure;
    for (const key of path.slice(0, -1)) node = node[key];
    node[path.at(-1)] = pool[frames[row][column]];
  });
  return figure;
}

function render({ model, el }) {
  const sliders = model.get("sliders");
  const table = model.get("table");
  const names = sliders.map((_, axis) => `slider_${axis}`);
  const position = () => names.map((name) => model.get(name));
  const box = document.createElement("div");
  box.className = "sgdnoise-figure";
  el.append(box);
  const caption = sgdnoise.part(el, "p", "sgdnoise-caption");
  caption.textContent = model.get("caption");

  // JupyterLab and Colab have no plotly to lend: the kernel sends its own copy, once a page.
  const ask = () =>
    new Promise((resolve) => {
      const wait = sgdnoise.part(box, "p", "sgdnoise-wait");
      wait.textContent = "Waiting for the kernel to send plotly…";
      const receive = (message, buffers) => {
        if (message.kind !== "plotly") return;
        model.off("msg:custom", receive);
        wait.remove();
        resolve(buffers[0]);
      };
      model.on("msg:custom", receive);
      model.send({ kind: "plotly" });
    });

  // noUiSlider's handles carry no name, and the index for a value, which it also writes when a key
  // moves nothing.
  const watched = new WeakSet();
  function nameHandles() {
    const handles = el.closest(".sgdnoise-explorer")?.querySelectorAll(".noUi-handle") ?? [];
    handles.forEach((handle, axis) => {
      if (!sliders[axis]) return;
      const text = sliders[axis].options[position()[axis]];
      handle.setAttribute("aria-label", sliders[axis].label);
      if (handle.getAttribute("aria-valuetext") !== text) {
        handle.setAttribute("aria-valuetext", text);
      }
      if (watched.has(handle)) return;
      watched.add(handle);
      new MutationObserver(nameHandles).observe(handle, { attributeFilter: ["aria-valuetext"] });
    });
    return handles.length >= sliders.length;
  }

  async function show(figure) {
    const plot = await sgdnoise.draw(box, figure, ask);
    if (!plot) return;
    // The title carries the numbers: read out when a slider has changed them.
    box.querySelector(".sgdnoise-title").setAttribute("aria-live", "polite");
    plot.dataset.sliderState = JSON.stringify(
      Object.fromEntries(sliders.map((s, axis) => [s.name, s.values[position()[axis]]])),
    );
    nameHandles();
  }

  const move = () => show(figureAt(table, position()));
  const receive = (message) => {
    if (message.kind !== "frame") return;
    if (String(message.position) === String(position())) show(message.figure);
  };
  names.forEach((name) => model.on(`change:${name}`, move));
  model.on("msg:custom", receive);
  move();
  // The sliders are other widgets, which may appear after this one.
  const timer = setInterval(() => nameHandles() && clearInterval(timer), 200);

  return () => {
    names.forEach((name) => model.off(`change:${name}`, move));
    model.off("msg:custom", receive);
    clearInterval(timer);
    sgdnoise.forget(box);
  };
}

export default { render };
