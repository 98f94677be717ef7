// Draws the figures and explorers of a page of the book, each in its turn.
(() => {
  const { draw, explorer, fault, inBook, part, place, plotly } = globalThis.sgdnoise;
  const waiting = new Map(); // box -> what draws it, in the page's order
  const pause = () => new Promise((go) => setTimeout(go));
  let turn = Promise.resolve();

  // Each drawing waits for the one before, and lets the page breathe in between.
  function start(box) {
    const work = waiting.get(box);
    if (!waiting.delete(box)) return turn;
    near.unobserve(box);
    return (turn = turn.then(work).catch(reportError).then(pause));
  }

  const near = new IntersectionObserver(
    (seen) => seen.forEach(({ isIntersecting, target }) => isIntersecting && start(target)),
    { rootMargin: "50% 0px" },
  );

  // What draws a box, once its words and its room stand; nothing if its data are broken.
  function prepare(box) {
    const moves = box.matches(".sgdnoise-explorer");
    let data, wrong;
    try {
      data = JSON.parse(box.querySelector(":scope > script").textContent);
      wrong = moves && fault(data);
    } catch {
      wrong = "its data are cut short";
    }
    if (wrong) {
      const line = part(box, "p", "sgdnoise-wait");
      line.textContent = `This figure cannot be drawn: ${wrong}. Build the book again.`;
      return null;
    }
    if (moves) return explorer(box, data);
    place(box, data);
    return () => draw(box, data);
  }

  // What is in sight is drawn at once, the rest while the page rests: so the first figure waits for
  // no other, and a search, a jump or a printer finds them all.
  async function drawPage() {
    for (const box of document.querySelectorAll(".sgdnoise-figure, .sgdnoise-explorer")) {
      const work = prepare(box);
      if (work) waiting.set(box, work);
    }
    if (!waiting.size) return;
    plotly();
    for (const box of [...waiting.keys()]) {
      const { top, height } = box.getBoundingClientRect();
      height && top < innerHeight ? start(box) : near.observe(box);
    }
    letFirst(turn);
    const idle = globalThis.requestIdleCallback ?? setTimeout; // Safari has none
    while (waiting.size) {
      await new Promise((go) => idle(go));
      await start(waiting.keys().next().value);
    }
  }

  // MathJax needs the same thread for as long. Its script comes after this one, and reads this.
  function letFirst(drawn) {
    if (!globalThis.MathJax || MathJax.startup) return;
    MathJax.startup = { pageReady: () => drawn.then(() => MathJax.startup.defaultPageReady()) };
  }

  addEventListener("beforeprint", () => {
    for (const [box, work] of waiting) waiting.delete(box) && work();
  });

  if (!inBook()) return;
  document.readyState === "loading" ? addEventListener("DOMContentLoaded", drawPage) : drawPage();
})();
