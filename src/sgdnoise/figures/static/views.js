// What the map shows (map.js draws it): the noisy quadratic's cells, calculated here by
// quadratic.js, or those that were really run; its tuned ridge, its boundary, and its colours.
globalThis.sgdnoiseViews ??= (() => {
  const PALETTE = ["#440154", "#414487", "#2a788e", "#22a884", "#7ad151", "#fde725"];
  const { prepare, loss, critical, hinge } = globalThis.sgdnoiseQuadratic;

  function range(low, high, step) {
    return Array.from({ length: Math.floor((high - low) / step + 1e-9) + 1 }, (_, i) => low + i * step);
  }

  // One formatter for all: making one for each number is what takes time.
  const { format: whole } = new Intl.NumberFormat("en");

  const BATCHES = range(0, 14, 1);
  const RATES = range(-8, 9, 0.5);

  // The slope of a straight line by least squares.
  function steepness(x, y) {
    const [mx, my] = [x, y].map((v) => v.reduce((s, e) => s + e, 0) / v.length);
    const spread = x.reduce((s, e) => s + (e - mx) ** 2, 0);
    return x.reduce((s, e, i) => s + (e - mx) * (y[i] - my), 0) / spread;
  }

  // --- What a layer shows --------------------------------------------------------------------

  const kept = {}; // directions prepared for a rate and a momentum, whatever the budget

  // The model's cells, its tuned ridge and the boundary of it.
  const views = new Map(); // by what it is of: at most one for each setting of the controls
  function theoryView(model, state) {
    const of = `${state.m} ${state.size} ${state.budget}`;
    if (!views.has(of)) views.set(of, calculated(model, state));
    return views.get(of);
  }

  function calculated(model, state) {
    const { m } = state;
    const total = 2 ** state.size;
    const batches = BATCHES.filter((b) => state.budget === "updates" || 2 ** b <= total);
    const start = model.weight.reduce((sum, w, i) => sum + (w * model.curvature[i]) / 2, 0);
    const cells = [];
    for (const e of RATES) {
      const rate = 2 ** e * (1 - m);
      const ready = (kept[`${e} ${m}`] ??= prepare(model, rate, m));
      for (const b of batches) {
        const steps = state.budget === "updates" ? total : Math.round(total / 2 ** b);
        const value = loss(model, ready, rate, 2 ** b, steps, 4 * start);
        cells.push({ b, e, value: Number.isFinite(value) ? value : null, steps });
      }
    }
    const ridge = [];
    for (const b of batches) {
      const column = cells.filter((cell) => cell.b === b);
      const values = column.map((cell) => cell.value ?? Infinity);
      const k = values.indexOf(Math.min(...values));
      if (k < 1 || k > column.length - 2) continue;
      // The top of a parabola through three cells, in the logarithm of the loss.
      const [low, mid, high] = [k - 1, k, k + 1].map((i) => Math.log(values[i]));
      const bend = low - 2 * mid + high;
      const shift = Number.isFinite(bend) && bend > 0 ? (low - high) / (2 * bend) : 0;
      ridge.push({ b, e: column[k].e + 0.5 * shift });
    }
    const [sizes, rates] = [ridge.map((p) => p.b), ridge.map((p) => p.e)];
    const fit = hinge(sizes, rates);
    // The rule of chapters/noisy_quadratic.py: a boundary ends linear scaling, so that there is none
    // where the slope is not near one, nor where a line through two points is all there is.
    const carried = fit ? sizes.filter((b) => b <= fit.knee + 1e-9).length : 0;
    const ends = carried >= 3 && fit.flat && Math.abs(fit.slope - 1) <= model.linear;
    const wall = Math.log2(critical(model, m) / (1 - m));
    const under = state.budget === "updates"
      ? `${whole(total)} updates at every batch size`
      : `${whole(total)} examples at every batch size`;
    const average = fit && steepness(sizes, rates);
    const title = !fit
      ? `Noisy quadratic, ${under}`
      : ends
        ? `The tuned learning rate grows as B to the power ${fit.slope.toFixed(2)} up to ` +
          `B ≈ ${whole(Math.round(2 ** fit.knee))}, then stays below the wall`
        : Math.abs(average) <= 0.1
          ? "The tuned learning rate hardly moves with the batch size"
          : "Over these batch sizes the tuned learning rate grows on average as B to the power " +
            average.toFixed(2);
    return {
      cells, ridge, wall, title,
      boundary: ends ? { value: fit.knee } : null,
      about: `Noisy quadratic model, ${model.curvature.length} levels of curvature from 1 down, ` +
        `momentum ${m}, ${under}, constant learning rate. Calculated in this page.`,
      better: -1, unit: "expected loss", logarithm: true, span: null,
    };
  }

  // The cells of real runs.
  function runsView(layer, state) {
    const accuracy = state.show === "accuracy";
    const cells = layer.cells.map((cell) => ({ ...cell, value: accuracy ? cell.accuracy : cell.loss }));
    return {
      cells,
      ridge: accuracy ? layer.ridge : layer.ridge_loss,
      boundary: accuracy ? layer.boundary : null,
      wall: null,
      title: accuracy ? layer.finding : `${layer.name}: training loss`,
      about: layer.about,
      better: accuracy ? 1 : -1,
      unit: accuracy ? "test accuracy (%)" : "training loss (nats)",
      logarithm: !accuracy,
      span: accuracy ? 12 : 7,
      layer,
    };
  }

  // Where a value lies between worst and best, 0 to 1.
  function grading(view) {
    const of = (value) => (view.logarithm ? Math.log2(value) : value) * view.better;
    const values = view.cells.filter((c) => c.value !== null).map((c) => of(c.value));
    const best = Math.max(...values);
    const worst = Math.max(Math.min(...values), view.span ? best - view.span : -Infinity);
    return {
      grade: (value) => Math.min(1, Math.max(0, (of(value) - worst) / (best - worst || 1))),
      ends: [worst, best].map((v) => (view.logarithm ? 2 ** (v * view.better) : v * view.better)),
    };
  }

  const SHADES = range(0, 63, 1).map((step) => {
    const at = (step / 63) * (PALETTE.length - 1);
    const k = Math.min(Math.floor(at), PALETTE.length - 2);
    const channel = (hex, i) => parseInt(hex.slice(1 + 2 * i, 3 + 2 * i), 16);
    return [0, 1, 2].map((i) =>
      Math.round(channel(PALETTE[k], i) * (k + 1 - at) + channel(PALETTE[k + 1], i) * (at - k)),
    );
  });
  const shade = (grade) => SHADES[Math.round(grade * 63)];

  // Temperature ε/((1 − m) B) of most of the ridge's lower half, in log₂.
  function ownTemperature(view) {
    const low = view.ridge.slice(0, Math.ceil(view.ridge.length / 2)).map((p) => p.e - p.b);
    if (!low.length) return -8;
    const middle = low.sort((a, b) => a - b)[Math.floor(low.length / 2)];
    return Math.max(-18, Math.min(6, Math.round(middle)));
  }

  return { PALETTE, shade, grading, ownTemperature, range, runsView, theoryView, whole };
})();
