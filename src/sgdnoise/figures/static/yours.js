// A reader's own training on the map: what their numbers mean, and what the book's runs advise.
// The form is part of the map (map.js), and so is its place in the address: .yours-50000_128_0p1_0p9_90
globalThis.sgdnoiseYours ??= (() => {
  const positive = (v) => v > 0 && v < 1e15;
  const whole = (v) => Number.isInteger(v) && v >= 1 && v <= 2 ** 53;
  // name: as in a file of measurements; needed ones first.
  const FIELDS = [
    { name: "examples", label: "training examples N", legal: whole, rule: "a whole number from 1" },
    { name: "batch_size", label: "batch size B", legal: whole, rule: "a whole number from 1 to N" },
    { name: "learning_rate", label: "learning rate ε", legal: positive, rule: "a number above 0" },
    { name: "momentum", label: "momentum m", legal: (v) => v >= 0 && v < 1, rule: "a number from 0 to below 1" },
    { name: "epochs", label: "epochs", legal: positive, rule: "a number above 0" },
    { name: "lambda_max", label: "largest curvature λmax, if measured", legal: positive, rule: "a number above 0", free: true },
    { name: "noise_scale", label: "noise scale in examples, if measured", legal: positive, rule: "a number above 0", free: true },
  ];
  const MOST_BYTES = 100_000;

  // Numbers in the order of FIELDS, NaN for none, from what was typed, read or found in an address.
  // Gives { values } or { field, why }.
  function check(numbers) {
    const values = {};
    for (const [i, { name, legal, rule, free }] of FIELDS.entries()) {
      const value = numbers[i];
      if (value === null || value === undefined || value === "") {
        if (free) continue;
        return { field: name, why: `is missing: ${rule}` };
      }
      if (typeof value !== "number" || !legal(value)) return { field: name, why: `must be ${rule}` };
      values[name] = value;
    }
    if (values.batch_size > values.examples) {
      return { field: "batch_size", why: "is larger than the training set: choose at most N" };
    }
    return { values };
  }

  // The text of a file of measurements: a JSON object with some of the fields by name.
  function parse(text) {
    if (text.length > MOST_BYTES) return { why: "the file is larger than 100 kB: choose a smaller one" };
    let found;
    try {
      found = JSON.parse(text);
    } catch {
      return { why: "the file is no JSON: it should hold one object, as {\"lambda_max\": 40}" };
    }
    if (found === null || typeof found !== "object" || Array.isArray(found)) {
      return { why: "the file holds no JSON object: it should, as {\"lambda_max\": 40}" };
    }
    const names = FIELDS.map((field) => field.name);
    // What `sgdnoise diagnose --json` does not know is null.
    const known = names.filter((name) => Object.hasOwn(found, name) && found[name] !== null);
    if (!known.length) return { why: `the file names none of ${names.join(", ")}` };
    const bad = known.find((name) => typeof found[name] !== "number");
    if (bad) return { why: `${bad} in the file is no number` };
    return { numbers: Object.fromEntries(known.map((name) => [name, found[name]])) };
  }

  const digits = (value) =>
    value >= 0.01 && value < 1e6 ? Number(value.toPrecision(3)).toLocaleString("en", { maximumSignificantDigits: 3 })
      : value.toExponential(2);

  // What the numbers mean, a sentence each, with the slopes and rules that the book's runs gave.
  function report(values, { rules, slopes }) {
    const { examples, batch_size: b, learning_rate: rate, momentum: m, epochs } = values;
    const effective = rate / (1 - m);
    const updates = Math.max(1, Math.round((epochs * examples) / b));
    const lines = [
      `That is ${updates.toLocaleString("en")} updates at an effective learning rate ε/(1−m) of ` +
        `${digits(effective)} and a temperature ε/((1−m)B) of ${digits(effective / b)}.`,
    ];
    let room = true;
    if (values.lambda_max) {
      const limit = (2 * (1 + m)) / values.lambda_max;
      const share = rate / limit;
      room = share <= 0.5;
      lines.push(
        share >= 1
          ? `The learning rate is ${digits(share)} times the critical one, 2(1+m)/λmax = ${digits(limit)}: ` +
            "on a quadratic with this curvature it diverges."
          : `The learning rate is ${digits(100 * share)} % of the critical one, 2(1+m)/λmax = ${digits(limit)}. ` +
            (room
              ? "There is room for twice the rate before curvature limits it."
              : "Curvature limits it: twice the batch leaves no room for twice the rate."),
      );
    }
    if (values.noise_scale) {
      const share = b / values.noise_scale;
      lines.push(
        share < 0.5
          ? `The batch is ${digits(100 * share)} % of the noise scale: noise dominates, and twice the batch ` +
            "nearly halves the updates that are needed."
          : share > 2
            ? `The batch is ${digits(share)} times the noise scale: curvature dominates, and a larger batch saves little.`
            : "The batch is within a factor of two of the noise scale: between the regimes.",
      );
    }
    const advice = rules.map(({ fixed, text, word, link }) => ({ lead: `Twice the batch, ${fixed}: `, text, word, link }));
    for (const { where, fixed, slope, low, high } of room ? slopes : []) {
      const times = (s) => digits(rate * 2 ** s);
      const range = low === null || high === null ? "" : ` (from ${times(low)} to ${times(high)})`;
      lines.push(
        `In this book's runs on ${where}, ${fixed}, the tuned rate grew as B to the power ${digits(slope)}: ` +
          `at B = ${(2 * b).toLocaleString("en")} that would make ε = ${times(slope)}${range}.`,
      );
    }
    return { lines, advice, place: { b: Math.log2(b), e: Math.log2(effective) } };
  }

  return { FIELDS, check, parse, report };
})();
