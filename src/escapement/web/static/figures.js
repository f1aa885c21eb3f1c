// Figures side by side: items of {label, value or at or since, how, tone, note}.
import { written, lasting, now } from "escapement-shared";

export default {
  props: { label: String, items: Array },
  template: `
    <dl class="figures" :aria-label="label">
      <div v-for="item in items" :key="item.label" :class="item.tone">
        <dt>{{ item.label }}</dt>
        <dd>{{ text(item) }}<small v-if="item.note">{{ item.note }}</small></dd>
      </div>
    </dl>`,
  methods: {
    text(item) {
      if (item.since !== undefined) return lasting(Math.max(0, now.ms - item.since));
      return item.at === undefined ? item.value : written(item.at, item.how);
    },
  },
};
