// Days as squares, a column a week, coloured by how much of each is known; days: {day, known, tone, words}.
export default {
  props: { label: String, days: Array, empty: String },
  emits: ["pick"],
  template: `
    <div class="calendar" role="group" :aria-label="label">
      <div v-if="days.length" class="weeks">
        <div v-for="week in weeks" :key="week.label" class="week">
          <span class="soft">{{ week.label }}</span>
          <template v-for="(each, place) in week.days">
            <button v-if="each" type="button" class="square" :class="each.tone" :title="each.words"
                    :aria-label="each.words" @click="$emit('pick', each.day)">{{ each.day.slice(8) }}</button>
            <span v-else class="square none"></span>
          </template>
        </div>
      </div>
      <p v-else class="empty">{{ empty }}</p>
    </div>`,
  computed: {
    weeks() {
      const weeks = new Map();
      for (const each of this.days) {
        const date = new Date(`${each.day}T00:00:00Z`), place = (date.getUTCDay() + 6) % 7;
        const monday = new Date(date - place * 86_400_000).toISOString().slice(0, 10);
        if (!weeks.has(monday)) weeks.set(monday, { label: monday.slice(5), days: Array(5).fill(null) });
        weeks.get(monday).days[Math.min(place, 4)] = each;
      }
      const rows = Math.max(...[...weeks.values()].map(({ days }) => days.findLastIndex(Boolean) + 1));
      return [...weeks.values()].map(({ label, days }) => ({ label, days: days.slice(0, rows) }));
    },
  },
};
