// Candles with volume and all that was found, decided, ordered and filled, drawn by ECharts.
//
// The browser holds about three screens of candles. Whoever pans or zooms beyond them, or so far that candles would be
// too thin or too coarse, makes it ask the server ("range") for what is seen now; the server merges bars to as many
// candles as were asked for. Nothing from data is ever written as markup.
import { echarts } from "nicegui-echart";
import { choices, written, zoneName, figure, colour } from "escapement-shared";
import { layers, markTexts } from "escapement-shared/layers.js";

const DAY = 86_400_000;
const SPANS = [["1D", DAY], ["1W", 7 * DAY], ["1M", 30 * DAY], ["3M", 91 * DAY], ["1Y", 365 * DAY], ["All", Infinity]];
const SCREENS = 3; // loaded
const PIXELS = 6; // a candle, at the least that is pleasant
const SETTLE_MS = 90;
const RENEW_MS = 5_000;
const PATIENCE_MS = 3_000;
const KINDS = { signals: "signals", decisions: "decisions", orders: "orders and stops", fills: "fills", gaps: "gaps" };

/** The place of the last time that is not after ms; -1 when all are. */
function placeOf(times, ms) {
  let low = 0, high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= ms) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

export default {
  props: { opening: Object, label: String },
  emits: ["range"],
  template: `
    <div class="candles">
      <div class="chartbar">
        <div class="spans" role="group" aria-label="Stretch of time shown">
          <button v-for="[name, ms] in spans" type="button" class="choice" @click="goBack(ms)">{{ name }}</button>
          <button type="button" class="choice" :aria-pressed="following" @click="follow" title="Follow the newest bar">live</button>
        </div>
        <div class="spans" role="group" aria-label="What is drawn">
          <button v-for="(words, kind) in kinds" type="button" class="choice" :class="'kind-' + kind"
                  :aria-pressed="shown[kind]" @click="toggle(kind)">{{ words }} <b>{{ counts[kind] }}</b></button>
        </div>
      </div>
      <p class="reading" aria-live="off">
        <template v-if="at">
          <b>{{ at.moment }}</b>
          <span>O <b>{{ at.open }}</b></span><span>H <b>{{ at.high }}</b></span><span>L <b>{{ at.low }}</b></span>
          <span>C <b :class="at.tone">{{ at.close }}</b></span><span>V <b>{{ at.volume }}</b></span>
          <span v-if="merged > 1" class="soft">a candle is {{ merged }} bars</span>
          <span v-for="each in at.marks" class="mark" :class="each.tone">{{ each.words }}</span>
        </template>
      </p>
      <div ref="chart" class="chart" role="group" tabindex="0" @keydown="key" @wheel.capture.prevent="wheel"
           :aria-label="label + '. Left and right arrow pan, plus and minus zoom, End follows the newest bar.'"></div>
      <div ref="overview" class="overview" aria-hidden="true"></div>
    </div>`,
  data: () => ({
    spans: SPANS, kinds: KINDS, shown: Object.fromEntries(Object.keys(KINDS).map((kind) => [kind, true])),
    hovered: null, changes: 0, following: true, merged: 1,
  }),
  computed: {
    counts() {
      this.changes;
      return Object.fromEntries(Object.keys(KINDS).map((kind) => [kind, this.held?.[kind].length ?? 0]));
    },
    at() {
      this.changes; // what is read below is too large to be watched
      const held = this.held;
      if (!held?.bars.length) return null;
      const place = Math.min(this.hovered ?? held.bars.length - 1, held.bars.length - 1);
      const [ms, open, high, low, close, volume] = held.bars[place];
      const price = (value) => figure(value, held.decimals);
      return {
        moment: `${held.daily ? written(ms, "day") : written(ms, "minute")} ${held.daily ? "" : zoneName()}`,
        open: price(open), high: price(high), low: price(low), close: price(close), volume: figure(volume, 0),
        tone: close >= open ? "up" : "down",
        marks: markTexts(held, place, this.shown, price).slice(0, 6),
      };
    },
  },
  async mounted() {
    await new Promise((resolve) => setTimeout(resolve, 0)); // the style sheet gives the size
    this.chart = echarts.init(this.$refs.chart);
    this.lower = echarts.init(this.$refs.overview);
    this.chart.on("datazoom", this.zoomed);
    this.chart.on("updateAxisPointer", ({ axesInfo }) => {
      const found = axesInfo.find((each) => each.axisDim === "x");
      this.hovered = found ? found.value : null;
    });
    this.chart.on("globalout", () => { this.hovered = null; });
    this.lower.on("datazoom", this.dragged);
    this.observer = new ResizeObserver(() => { this.chart.resize(); this.lower.resize(); });
    this.observer.observe(this.$refs.chart);
    this.$watch(() => [choices.dark, choices.clock], () => this.dress());
    this.open(this.opening);
  },
  beforeUnmount() {
    clearTimeout(this.settling);
    clearTimeout(this.dragging);
    clearTimeout(this.renewing);
    this.observer?.disconnect();
    this.chart?.dispose();
    this.lower?.dispose();
  },
  methods: {
    /** Show another series, or the first. */
    open(opening) {
      if (!this.chart) return;
      this.overview = [];
      this.following = true;
      this.asked = undefined;
      this.waiting = 0;
      this.hovered = null;
      this.held = null;
      this.take(opening, null);
      this.dress();
    },
    /** Take the whole series in few points, to show below where one is. */
    outline({ series, line }) {
      if (!this.chart || series !== this.held?.series) return;
      this.overview = line;
      this.held.first = line[0][0];
      this.dress();
    },
    /** Take candles in place of those held. */
    window(found) {
      if (!this.chart || found.series !== this.held?.series) return;
      this.take(found, this.wish ?? this.seen());
      this.wish = null;
      this.waiting = 0;
      this.draw();
      this.settle();
    },
    take(found, seen) {
      this.held = { ...found, times: found.bars.map((bar) => bar[0]) };
      this.merged = found.merged;
      const last = this.held.bars.length - 1;
      if (seen === null || this.following) {
        this.wide = seen === null ? this.screen() : Math.max(8, this.placeFrom(seen.to) - this.placeFrom(seen.from));
        this.zoom = { from: Math.max(0, last - this.wide), to: last };
      } else {
        this.zoom = { from: Math.max(0, this.placeFrom(seen.from)), to: Math.max(8, this.placeFrom(seen.to)) };
      }
      this.changes += 1;
    },
    /** The bar that is growing, unless it was completed meanwhile. */
    grow({ series, bars }) {
      if (series === this.held?.series && !(bars[0][0] <= this.held.done)) this.move({ series, bars, done: this.held.done });
    },
    /** The newest bars, oldest first: the last may still grow. */
    move({ series, bars, done }) {
      const held = this.held;
      if (!this.chart || series !== held?.series || !bars.length) return;
      if (held.bars.length && held.until < held.last) { // the newest bar is not among those held
        held.last = bars.at(-1)[0];
        return;
      }
      let more = 0;
      for (const bar of bars) {
        const place = held.bars.length - 1, last = held.bars[place];
        if (last && bar[0] < last[0]) continue;
        const same = last && (held.merged === 1 ? bar[0] === last[0]
          : Math.floor(bar[0] / held.step) === Math.floor(last[0] / held.step));
        if (same) {
          held.bars[place] = held.merged === 1 ? bar
            : [last[0], last[1], Math.max(last[2], bar[2]), Math.min(last[3], bar[3]), bar[4], last[5]];
        } else {
          held.bars.push(bar);
          held.times.push(bar[0]);
          more += 1;
        }
      }
      held.last = held.until = Math.max(held.last, bars.at(-1)[0]);
      const end = held.bars.length - 1;
      if (more && this.following) this.zoom = { from: Math.max(0, end - this.wide), to: end };
      this.changes += 1;
      this.draw(true);
      const stale = held.merged > 1 && done !== held.done; // the volume of a merged candle is the server's to tell
      held.done = done;
      if (stale || held.bars.length > 4 * SCREENS * this.screen()) {
        this.renewing ??= setTimeout(() => { this.renewing = undefined; this.again(); }, RENEW_MS);
      }
    },
    /** All marks from a moment on, in place of those held from then on. */
    marks({ series, since, ...marks }) {
      const held = this.held;
      if (!this.chart || series !== held?.series) return;
      for (const kind of Object.keys(KINDS)) {
        const fresh = new Set(marks[kind].map((each) => each.id));
        held[kind] = [...held[kind].filter((each) => each.t < since && !fresh.has(each.id)), ...marks[kind]];
      }
      this.changes += 1;
      this.draw();
    },
    screen() {
      return Math.max(40, Math.floor((this.chart.getWidth() - 80) / PIXELS));
    },
    placeFrom(ms) {
      return Math.min(this.held.times.length - 1, placeOf(this.held.times, ms));
    },
    /** The moments between which candles are seen. */
    seen() {
      const { times } = this.held;
      if (!times.length) return null;
      const from = Math.max(0, Math.min(times.length - 1, this.zoom.from));
      return { from: times[from], to: times[Math.max(from, Math.min(times.length - 1, this.zoom.to))] };
    },
    zoomed(event) {
      const { start, end, startValue, endValue } = event.batch?.[0] ?? event;
      const last = this.held.bars.length - 1;
      this.zoom = start === undefined
        ? { from: startValue, to: endValue }
        : { from: Math.round(start * last / 100), to: Math.round(end * last / 100) };
      this.following = this.zoom.to >= last && this.held.until >= this.held.last;
      // Where all there is fits on the screen, more has room.
      this.wide = this.zoom.from === 0 && last < this.screen() ? this.screen() : this.zoom.to - this.zoom.from;
      this.settle();
    },
    /** Ask for other candles soon, if those held do not suit what is seen then. */
    settle() {
      this.settling ??= setTimeout(() => {
        this.settling = undefined;
        const { bars, first, last, until, merged } = this.held, seen = this.seen();
        if (!seen) return;
        const screen = this.screen(), wide = this.zoom.to - this.zoom.from + 1, margin = bars.length / 8;
        const tooFew = (this.zoom.from < margin && bars[0][0] > first)
          || (this.zoom.to > bars.length - margin && until < last);
        const unfit = wide > 1.5 * screen || (merged > 1 && wide < screen / 5) || bars.length > 4 * SCREENS * screen;
        this.mirror(seen);
        if (tooFew || unfit) this.ask(seen.from, seen.to);
      }, SETTLE_MS);
    },
    /** Ask for candles, unless hardly others were asked for last. */
    ask(from, to) {
      const span = Math.max(to - from, 20 * this.held.step / this.held.merged), old = this.asked;
      if (old && Math.abs(old.from - from) + Math.abs(old.to - to) < span / 10) return;
      if (this.waiting > Date.now()) return; // what comes is looked at again
      this.waiting = Date.now() + PATIENCE_MS;
      this.asked = { from, to };
      this.$emit("range", { from: Math.round(from - span), to: Math.round(to + span), points: SCREENS * this.screen() });
    },
    /** Ask anew for what is seen, for it may have changed. */
    again() {
      const seen = this.chart && this.held && this.seen();
      if (!seen) return;
      this.asked = null;
      if (this.following) this.ask(seen.from, this.held.last + 1);
      else this.ask(seen.from, seen.to);
    },
    goTo(from, to) {
      this.following = to >= this.held.last;
      this.wish = { from, to };
      this.waiting = 0;
      this.mirror(this.wish);
      this.ask(from, to);
    },
    goBack(ms) {
      const { first, last, step, merged } = this.held;
      if (last !== null) this.goTo(Math.max(first, last - Math.max(ms, 20 * step / merged)), last);
    },
    follow() {
      const seen = this.seen();
      if (seen) this.goTo(this.held.last - (seen.to - seen.from), this.held.last);
    },
    /** Show below which part of all is seen. */
    mirror({ from, to }) {
      this.mirrored = true;
      this.lower.dispatchAction({ type: "dataZoom", startValue: from, endValue: to });
      this.mirrored = false;
    },
    dragged(event) {
      if (this.mirrored) return;
      clearTimeout(this.dragging);
      this.dragging = setTimeout(() => {
        const { start, end } = event.batch?.[0] ?? event, { first, last } = this.held;
        if (start !== undefined) this.goTo(first + (last - first) * start / 100, first + (last - first) * end / 100);
      }, SETTLE_MS);
    },
    toggle(kind) {
      this.shown[kind] = !this.shown[kind];
      this.draw();
    },
    key(event) {
      const wide = this.zoom.to - this.zoom.from, step = Math.max(1, Math.round(wide / 10));
      const [from, to] = {
        ArrowLeft: [-step, -step], ArrowRight: [step, step], "+": [step, -step], "=": [step, -step], "-": [-step, step],
      }[event.key] ?? [0, 0];
      if (event.key === "End") this.follow();
      else if (from || to) this.see(this.zoom.from + from, this.zoom.to + to);
      else return;
      event.preventDefault();
    },
    /** Zoom about the pointer, or about the newest bar while it is followed. */
    wheel({ deltaY, clientX }) {
      const { left, width } = this.$refs.chart.getBoundingClientRect(), wide = this.zoom.to - this.zoom.from;
      const more = wide * (Math.exp(Math.max(-240, Math.min(240, deltaY)) / 700) - 1);
      const part = this.following ? 1 : Math.max(0, Math.min(1, (clientX - left) / (width - 70)));
      this.see(this.zoom.from - Math.max(Math.abs(more), 1) * Math.sign(more) * part,
        this.zoom.to + Math.max(Math.abs(more), 1) * Math.sign(more) * (1 - part));
    },
    /** Show the candles between two places, as far as there are any. */
    see(from, to) {
      const last = this.held.bars.length - 1, low = Math.max(0, Math.min(Math.round(from), last - 8));
      this.chart.dispatchAction({ type: "dataZoom", startValue: low, endValue: Math.min(last, Math.max(low + 8, Math.round(to))) });
    },
    axisLabel(text) {
      const ms = Number(text), seen = this.seen();
      if (!seen) return "";
      const span = seen.to - seen.from;
      return written(ms, this.held.daily || span > 60 * DAY ? "day" : span > DAY ? "short" : "clock");
    },
    /** Draw candles and marks; only candles when nothing else changed. */
    draw(onlyBars = false) {
      const { bars, times, decimals } = this.held;
      const up = colour("up"), down = colour("down");
      const series = [
        { id: "bars", data: bars.map(([, open, high, low, close]) => [open, close, low, high]), markLine: this.lastLine() },
        { id: "volume", data: bars.map(([, open, , , close, volume]) => ({
          value: volume, itemStyle: { color: close >= open ? up : down, opacity: 0.45 },
        })) },
        ...(onlyBars ? [] : layers(this.held, this.shown, placeOf, colour, (value) => figure(value, decimals))),
      ];
      this.chart.setOption({
        xAxis: [{ data: times.map(String) }, { data: times.map(String) }],
        dataZoom: [{ id: "zoom", startValue: this.zoom.from, endValue: this.zoom.to }],
        series,
      });
    },
    lastLine() {
      const last = this.held.bars.at(-1);
      if (!last || this.held.until < this.held.last) return { data: [] };
      const tone = colour(last[4] >= last[1] ? "up" : "down");
      return {
        symbol: "none", silent: true, animation: false, lineStyle: { color: tone, type: "dotted", width: 1 },
        label: { position: "end", formatter: figure(last[4], this.held.decimals), color: colour("paper"), backgroundColor: tone,
                 padding: [2, 4], borderRadius: 2, fontSize: 11 },
        data: [{ yAxis: last[4] }],
      };
    },
    /** Draw everything anew, in the colours and the clock of now. */
    dress() {
      const line = colour("line"), soft = colour("soft"), ink = colour("ink"), raised = colour("raised");
      const up = colour("up"), down = colour("down"), accent = colour("accent");
      const price = (value) => figure(value, this.held.decimals);
      const right = Math.max(56, 14 + 7 * price(this.held.bars.at(-1)?.[4] ?? 0).length);
      const axis = { type: "category", boundaryGap: true, axisLine: { lineStyle: { color: line } }, axisTick: { show: false } };
      this.chart.setOption({
        animation: false, backgroundColor: "transparent",
        textStyle: { fontFamily: getComputedStyle(document.body).fontFamily },
        grid: [{ left: 8, right, top: 8, bottom: "24%", outerBoundsMode: "none" }, { left: 8, right, top: "79%", bottom: 22, outerBoundsMode: "none" }],
        axisPointer: { link: [{ xAxisIndex: "all" }], lineStyle: { color: soft, type: "dashed" } },
        tooltip: { trigger: "axis", showContent: false, axisPointer: { type: "cross", crossStyle: { color: soft } } },
        xAxis: [
          { ...axis, axisLabel: { show: false }, axisPointer: { label: { show: false } } },
          { ...axis, gridIndex: 1, axisLabel: { color: soft, fontSize: 11, hideOverlap: true, formatter: this.axisLabel },
            axisPointer: { label: { backgroundColor: raised, color: ink, formatter: ({ value }) => written(Number(value), this.held.daily ? "day" : "short") } } },
        ],
        yAxis: [
          { scale: true, position: "right", splitNumber: 6, axisLabel: { color: soft, fontSize: 11, formatter: price },
            splitLine: { lineStyle: { color: line } },
            axisPointer: { label: { backgroundColor: raised, color: ink, formatter: ({ value }) => price(value) } } },
          { gridIndex: 1, position: "right", splitNumber: 2, axisLabel: { show: false }, splitLine: { show: false }, axisPointer: { show: false } },
        ],
        dataZoom: [{ id: "zoom", type: "inside", xAxisIndex: [0, 1], filterMode: "weakFilter", minValueSpan: 8, throttle: 16,
                     zoomOnMouseWheel: false }],
        series: [
          { id: "bars", type: "candlestick", barMaxWidth: 18, z: 3, itemStyle: {
            color: colour("up-fill"), color0: down, borderColor: up, borderColor0: down, borderWidth: 1 } },
          { id: "volume", type: "bar", xAxisIndex: 1, yAxisIndex: 1, barMaxWidth: 18, large: false },
        ],
      });
      this.lower.setOption({
        animation: false,
        grid: { left: 8, right, top: 4, bottom: 4, outerBoundsMode: "none" },
        xAxis: { type: "time", show: false, min: this.held.first, max: this.held.last },
        yAxis: { show: false, scale: true },
        dataZoom: [{ type: "slider", left: 8, right, top: 4, bottom: 4, height: "auto", filterMode: "none", showDetail: false, brushSelect: false,
          borderColor: line, fillerColor: colour("shade"), handleStyle: { color: accent, borderColor: accent }, moveHandleSize: 0,
          dataBackground: { lineStyle: { color: soft }, areaStyle: { color: line } },
          selectedDataBackground: { lineStyle: { color: accent }, areaStyle: { color: line } } }],
        series: [{ type: "line", data: this.overview, showSymbol: false, lineStyle: { width: 0 }, silent: true }],
      });
      this.draw();
      const seen = this.seen();
      if (seen) this.mirror(seen);
      this.changes += 1;
    },
  },
};
