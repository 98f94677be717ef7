// The widget of explorer.py in JupyterLab and Colab: the last part of a module that begins with
// plot.js and explorer.js.
function render({ model, el }) {
  const { follow, forget, part, show } = globalThis.sgdnoise;
  const sliders = model.get("sliders");
  const table = model.get("table");
  const names = sliders.map((_, axis) => `slider_${axis}`);
  const position = () => names.map((name) => model.get(name));
  const box = part(el, "div", "sgdnoise-figure");
  const caption = part(el, "p", "sgdnoise-caption");
  caption.textContent = model.get("caption");

  // JupyterLab and Colab have no plotly to lend: the kernel sends its own copy, once a page.
  const ask = () =>
    new Promise((resolve) => {
      const wait = part(box, "p", "sgdnoise-wait");
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

  const move = async () =>
    (await follow(box, { sliders, table }, position(), ask)) && nameHandles();
  const receive = async (message) => {
    if (message.kind !== "frame") return;
    if (String(message.position) !== String(position())) return;
    (await show(box, message.figure, sliders, position(), ask)) && nameHandles();
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
    forget(box);
  };
}

export default { render };
