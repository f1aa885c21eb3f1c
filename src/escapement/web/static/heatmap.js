// A figure by two settings, as a table whose cells are coloured from the worst to the best; losses are warm, gains cool.
import { figure } from "escapement-shared";

export default {
  props: { label: String, map: Object },
  template: `
    <div v-if="map" class="heatmap" role="region" :aria-label="label" tabindex="0">
      <table>
        <caption>{{ map.figure }} by {{ map.y }} (down) and {{ map.x }} (across)</caption>
        <thead><tr><td></td><th v-for="x in map.xs" scope="col">{{ x }}</th></tr></thead>
        <tbody>
          <tr v-for="(cells, place) in map.cells">
            <th scope="row">{{ map.ys[place] }}</th>
            <td v-for="value in cells" :style="paint(value)" :class="{ best: value !== null && value === most }">
              {{ value === null ? "" : figure(value, digits) }}</td>
          </tr>
        </tbody>
      </table>
    </div>`,
  computed: {
    values() { return this.map.cells.flat().filter((value) => value !== null); },
    most() { return Math.max(...this.values); },
    reach() { return Math.max(...this.values.map(Math.abs), 1e-9); },
    digits() { return this.reach >= 100 ? 0 : 2; },
  },
  methods: {
    figure,
    paint(value) {
      if (value === null) return {};
      const part = Math.round(75 * Math.abs(value) / this.reach);
      return { background: `color-mix(in srgb, var(--${value >= 0 ? "up" : "down"}) ${part}%, transparent)` };
    },
  },
};
