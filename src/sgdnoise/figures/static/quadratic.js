// The noisy quadratic model in closed form, for figures that calculate in the page: expected loss
// of SGD and heavy ball after any number of steps. The forms are those of theory/moments.py, whose
// docstring derives them; the browser tests hold every cell of a grid to it.
globalThis.sgdnoiseQuadratic ??= (() => {
  const GONE = -700; // exponents below it make float64 subnormal

  // What one direction needs of a learning rate, whatever the steps and the batch size. Every
  // response has the same fields in the same order, for engines compile `second` for one shape.
  function response(q, m) {
    const root = Math.sqrt(m);
    const flipped = q > 1 + m;
    const f = flipped ? 2 - q + 2 * m : q;
    const below = (1 - m) ** 2 / (1 + root) ** 2 - f;
    const discriminant = below * ((1 + root) ** 2 - f);
    const width = Math.sqrt(Math.abs(discriminant));
    const real = discriminant >= 0;
    const slow = (2 * f) / (1 - m + f + width);
    const ratio = m === 0 ? -Infinity : -2 * Math.max(Math.asinh(width / (2 * root)), 1e-150);
    const p = real ? 1 : (1 + m - f) / (2 * root);
    const r = real ? (m === 0 ? 0 : m / (1 - slow)) : root;
    const a = real ? (1 - m + f + width) / 2 : (1 - m - f) / (2 * root);
    return {
      m, f, real, p, a,
      limit: (1 + m) / ((1 - m) * q * (2 - q + 2 * m)),
      delicate: flipped && Math.abs(f) < 1e-6,
      log: real ? Math.log1p(-slow) : Math.log(m) / 2,
      ratio: real ? ratio : 0,
      theta: real ? 0 : Math.atan2(width, 1 + m - f),
      unit: real ? -1 / Math.expm1(ratio) : (2 * root) / width, // or 1 / sin θ
      start: flipped ? p + r : a,
      rest: ((2 * f) / (1 + m)) * r,
    };
  }

  // Σ U_k² over the first t steps from the binary digits of t: where the closed form is ∞ · 0.
  function energyByDoubling(q, m, t) {
    const product = (a, b) => [
      a[0] * b[0] + a[1] * b[2], a[0] * b[1] + a[1] * b[3],
      a[2] * b[0] + a[3] * b[2], a[2] * b[1] + a[3] * b[3],
    ];
    const around = (a, s) => product(product(a, s), [a[0], a[2], a[1], a[3]]);
    const step = [1 - q, m, -q, m];
    let power = [1, 0, 0, 1];
    let total = [0, 0, 0, 0];
    for (const digit of t.toString(2)) {
      const doubled = around(power, total);
      total = total.map((x, i) => x + doubled[i]);
      power = product(power, power);
      if (digit === "1") {
        total = around(step, total).map((x) => x + 1);
        power = product(step, power);
      }
    }
    return total[0];
  }

  // E x² of one direction after t steps from x = 1 at rest; `kick` is the variance that a step adds.
  function second(r, kick, t) {
    const faded = t * r.log;
    if (faded < GONE && !r.delicate) return kick * r.limit; // nothing is left of the start
    const power = Math.exp(faded);
    let c, z;
    if (r.real) {
      const lost = t === 0 ? 0 : -Math.expm1(t * r.ratio);
      c = power * (1 - lost);
      z = power * lost * r.unit;
    } else {
      c = power * Math.cos(t * r.theta);
      z = power * Math.sin(t * r.theta) * r.unit;
    }
    const mean = c + r.start * z;
    if (r.delicate) return mean * mean + kick * energyByDoubling(r.f, r.m, t);
    const folded = c + r.a * z;
    const left = folded * folded + r.rest * (c + r.p * z) * z;
    return mean * mean + kick * r.limit * (1 - left);
  }

  // Directions prepared for a learning rate and a momentum.
  function prepare(model, rate, momentum) {
    return model.curvature.map((h) => response(rate * h, momentum));
  }

  // Expected loss ½ Σ w h E x² after t steps with batches of B; Infinity where it has blown up, or
  // is surely above a bound: the steepest directions, which come first, are those that blow up.
  function loss(model, prepared, rate, batch, t, bound = Infinity) {
    let total = 0;
    for (let i = 0; i < prepared.length; i++) {
      const h = model.curvature[i];
      const kick = (rate * rate * model.noise[i]) / batch;
      total += (model.weight[i] * h * second(prepared[i], kick, t)) / 2;
      if (!(total <= bound)) return Infinity;
    }
    return total;
  }

  const critical = (model, momentum) => (2 * (1 + momentum)) / model.curvature[0];

  // The broken line of theory/regimes.py: y = level + slope · min(x − knee, 0), by least squares.
  function hinge(x, y) {
    if (x.length < 4) return null;
    const count = 1 + Math.ceil((x.at(-1) - x[1]) / 0.05);
    let best = null;
    for (let k = 0; k < count; k++) {
      const knee = x[1] + ((x.at(-1) - x[1]) * k) / (count - 1);
      const ramp = x.map((v) => Math.min(v - knee, 0));
      const [mr, my] = [ramp, y].map((v) => v.reduce((s, e) => s + e, 0) / v.length);
      const spread = ramp.reduce((s, e) => s + (e - mr) ** 2, 0);
      const slope = ramp.reduce((s, e, i) => s + (e - mr) * (y[i] - my), 0) / spread;
      const level = my - slope * mr;
      const off = ramp.reduce((s, e, i) => s + (y[i] - level - slope * e) ** 2, 0);
      if (!best || off < best.off - 1e-12) best = { knee, slope, level, off };
    }
    return { ...best, flat: best.knee < x.at(-1) - 0.01 };
  }

  return { prepare, loss, critical, hinge };
})();
