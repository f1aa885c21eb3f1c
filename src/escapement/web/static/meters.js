// How near limits are: items of {label, value, part (0 to 1 used), tone, note, until}. until: a deadline in milliseconds.
import { written, lasting, now } from "escapement-shared";

export default {
  props: { label: String, items: Array, empty: String },
  template: `
    <div class="meters" role="group" :aria-label="label">
      <div v-for="item in items" :key="item.label" class="meter" :class="item.tone">
        <span class="name">{{ item.label }}</span>
        <span class="value">{{ text(item) }}</span>
        <div v-if="item.part !== null" class="track" role="meter" :aria-label="item.label" aria-valuemin="0"
             aria-valuemax="100" :aria-valuenow="Math.round(100 * item.part)" :aria-valuetext="text(item)">
          <div :style="{ width: 100 * Math.min(1, Math.max(0, item.part)) + '%' }"></div>
        </div>
        <small v-if="item.note">{{ item.note }}</small>
      </div>
      <p v-if="!items.length" class="empty">{{ empty }}</p>
    </div>`,
  methods: {
    text(item) {
      if (item.until === undefined) return item.value;
      const left = item.until - now.ms;
      return left > 0 ? `${lasting(left)}, at ${written(item.until, "short")}` : `passed at ${written(item.until, "short")}`;
    },
  },
};
