// A table. columns: {label, align, how}; rows: lists of cells, a text or {v, tone, at, how, href, title, part, pick}.
// Vue writes all of it as text, so nothing that comes from data is ever read as markup.
import { written, lasting, now } from "escapement-shared";

export default {
  props: { label: String, columns: Array, rows: Array, empty: String, more: String, chosen: String },
  emits: ["pick"],
  template: `
    <div class="sheet" role="region" :aria-label="label" tabindex="0">
      <table v-if="rows.length">
        <caption class="unseen">{{ label }}</caption>
        <thead><tr>
          <th v-for="column in columns" scope="col" :class="column.align">{{ column.label }}</th>
        </tr></thead>
        <tbody>
          <tr v-for="row in rows" :key="row.key" :class="{ chosen: row.key === chosen }">
            <td v-for="(cell, place) in row.cells" :data-label="columns[place].label"
                :class="[columns[place].align, tone(cell)]" :title="cell?.title">
              <a v-if="cell?.href" :href="cell.href" :target="cell.target">{{ text(cell) }}</a>
              <button v-else-if="cell?.pick" type="button" class="link"
                      @click="$emit('pick', cell.pick)">{{ text(cell) }}</button>
              <template v-else>{{ text(cell) }}</template>
              <progress v-if="cell?.part !== undefined" :value="cell.part" max="1" :aria-label="text(cell)"></progress>
            </td>
          </tr>
        </tbody>
      </table>
      <p v-if="!rows.length" class="empty">{{ empty }}</p>
      <p v-if="more" class="soft">{{ more }}</p>
    </div>`,
  methods: {
    tone(cell) {
      return cell?.tone;
    },
    text(cell) {
      if (cell === null || cell === undefined) return "";
      if (typeof cell !== "object") return cell;
      if (cell.since !== undefined) return lasting(Math.max(0, now.ms - cell.since));
      return cell.at === undefined ? cell.v : written(cell.at, cell.how);
    },
  },
};
