// What is drawn over candles: gaps, signals, decisions, orders and fills, as custom series of ECharts.
import { written } from "./index.js";

const toneOf = (direction) => (direction > 0 ? "up" : direction < 0 ? "down" : "soft");
const sideTone = (side) => (side === "buy" ? "up" : "down");

/** The x of a moment: the middle of its candle, and for stretches the candle's edge. */
function series(id, z, data, renderItem, encode) {
  return { id, type: "custom", z, silent: true, clip: true, animation: false, renderItem, encode, data };
}

function triangle(x, y, size, up, style) {
  const tip = up ? -size : size;
  return { type: "polygon", shape: { points: [[x, y + tip], [x - size * 0.8, y - tip * 0.6], [x + size * 0.8, y - tip * 0.6]] }, style };
}

/** Return the series of every kind of mark; those not shown are empty. */
export function layers(held, shown, placeOf, colour, price) {
  const { times, bars } = held, ends = times.length - 1;
  const place = (ms) => placeOf(times, ms);
  const inside = (ms) => times.length > 0 && ms >= times[0] && place(ms) <= ends;
  const only = (kind) => (shown[kind] ? held[kind] : []);

  const gaps = only("gaps").filter((each) => ends >= 0 && (each.u ?? Infinity) >= times[0] && each.t <= times[ends] + held.step)
    .map((each) => [Math.max(0, place(each.t)), each.u === null ? ends : Math.max(0, place(each.u)), each.open ? 1 : 0])
    .map((each) => [...each, bars[each[0]][4]]); // a price, for every series widens the axis
  const signals = only("signals").filter((each) => inside(each.t))
    .map((each) => [place(each.t), Math.max(place(each.t), place(each.u)), each.p, each.d]);
  const decisions = only("decisions").filter((each) => inside(each.t) && each.d !== null)
    .map((each) => [place(each.t - 1), each.p, each.d]);
  const orders = only("orders").filter((each) => ends >= 0 && each.p !== null && (each.u ?? Infinity) >= times[0] && each.t <= times[ends] + held.step)
    .map((each) => [Math.max(0, place(each.t)), each.u === null ? ends : Math.max(0, place(each.u)), each.p, each.role === "stop" ? 1 : each.role === "target" ? 2 : 0,
      `${each.role} ${each.n} @ ${price(each.p)}`, each.u === null ? 1 : 0]);
  const fills = only("fills").filter((each) => inside(each.t)).map((each) => [place(each.t), each.p, each.side === "buy" ? 1 : -1]);

  return [
    series("gaps", 1, gaps, (params, api) => {
      const half = api.size([1, 0])[0] / 2, { y, height } = params.coordSys;
      const from = api.coord([api.value(0), 0])[0] - half, to = api.coord([api.value(1), 0])[0] + half;
      return { type: "rect", shape: { x: from, y, width: Math.max(2, to - from), height },
        style: { fill: colour(api.value(2) ? "gap-open" : "gap") } };
    }, { x: [0, 1], y: 3 }),
    series("signals", 5, signals, (params, api) => {
      const [x, y] = api.coord([api.value(0), api.value(2)]), direction = api.value(3), up = direction >= 0;
      const wide = api.size([1, 0])[0] >= 8; // else the ways from marked to trigger bars would hide the candles
      const [, , high, low] = bars[api.value(0)], away = up ? 12 : -12;
      const mark = api.coord([api.value(0), up ? low : high])[1] + away;
      const [tx, ty] = api.coord([api.value(1), bars[api.value(1)][4]]);
      const tone = colour(toneOf(direction)), head = triangle(x, mark, wide ? 5 : 3.5, up, { fill: tone });
      if (!wide) return head;
      return { type: "group", children: [
        { type: "line", shape: { x1: x, y1: y, x2: tx, y2: ty }, style: { stroke: tone, lineDash: [2, 4], opacity: 0.55 } },
        head,
        { type: "circle", shape: { cx: tx, cy: ty, r: 2 }, style: { fill: "none", stroke: tone, lineWidth: 1.2, opacity: 0.8 } },
      ] };
    }, { x: [0, 1], y: 2 }),
    series("decisions", 6, decisions, (params, api) => {
      const [x] = api.coord([api.value(0), api.value(1)]), { y, height } = params.coordSys;
      const direction = api.value(2), tone = colour(toneOf(direction));
      return { type: "group", children: [
        { type: "line", shape: { x1: x, y1: y + 16, x2: x, y2: y + height }, style: { stroke: tone, lineDash: [1, 4], opacity: 0.55 } },
        { type: "rect", shape: { x: x - 7, y: y + 2, width: 14, height: 14, r: 3 }, style: { fill: tone } },
        { type: "text", style: { x, y: y + 9, text: direction > 0 ? "L" : direction < 0 ? "S" : "0", align: "center", verticalAlign: "middle",
          fill: colour("paper"), fontSize: 10, fontWeight: 700 } },
      ] };
    }, { x: 0, y: 1 }),
    series("orders", 4, orders, (params, api) => {
      const half = api.size([1, 0])[0] / 2;
      const [from, y] = api.coord([api.value(0), api.value(2)]), [to] = api.coord([api.value(1), api.value(2)]);
      const tone = colour(["accent", "stop", "target"][api.value(3)]), working = api.value(5) === 1;
      const children = [{ type: "line", shape: { x1: from - half, y1: y, x2: to + half, y2: y },
        style: { stroke: tone, lineWidth: working ? 1.6 : 1, lineDash: api.value(3) === 1 ? null : [5, 3], opacity: working ? 1 : 0.6 } }];
      if (working) children.push({ type: "text", style: { x: Math.max(from, params.coordSys.x) + 4, y: y - 3, text: api.value(4), fill: tone, fontSize: 10, verticalAlign: "bottom" } });
      return { type: "group", children };
    }, { x: [0, 1], y: 2 }),
    series("fills", 7, fills, (params, api) => {
      const [x, y] = api.coord([api.value(0), api.value(1)]), up = api.value(2) > 0, tone = colour(sideTone(up ? "buy" : "sell"));
      return { type: "group", children: [
        triangle(x, y + (up ? 7 : -7), 7, up, { fill: tone, stroke: colour("ink"), lineWidth: 1 }),
        { type: "line", shape: { x1: x - 6, y1: y, x2: x + 6, y2: y }, style: { stroke: colour("ink"), lineWidth: 1.5 } },
      ] };
    }, { x: 0, y: 1 }),
  ];
}

/** Say what happened at the candle at a place, newest kinds first. */
export function markTexts(held, place, shown, price) {
  const from = held.times[place], to = held.times[place + 1] ?? Infinity;
  const here = (ms) => ms >= from && ms < to;
  const said = [];
  const say = (kind, moment, write) => {
    if (shown[kind]) for (const each of held[kind]) if (here(moment(each))) said.push(write(each));
  };
  say("fills", (each) => each.t, (each) => ({ words: `${each.side} ${each.n} filled at ${price(each.p)}`, tone: sideTone(each.side) }));
  say("decisions", (each) => each.t - 1, (each) => ({ words: each.w, tone: toneOf(each.d) }));
  say("signals", (each) => each.t, (each) => ({
    words: `${each.name} at ${price(each.p)}, known ${written(each.k, "short")} (${each.by})`, tone: toneOf(each.d),
  }));
  if (shown.gaps) {
    for (const each of held.gaps) {
      if (each.t < to && (each.u ?? Infinity) >= from) said.push({ words: `gap: ${each.w}`, tone: "warn" });
    }
  }
  return said;
}
