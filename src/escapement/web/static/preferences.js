// The person's choices: colours, and the clock that moments are written by.
import { choices, choose, now, written, zoneName } from "escapement-shared";

const THEMES = { auto: "system", light: "light", dark: "dark" };

export default {
  props: { zone: String },
  data: () => ({ choices, themes: THEMES }),
  template: `
    <div class="preferences">
      <time :title="zoneTitle">{{ time }}</time>
      <button type="button" class="choice" :aria-label="'Times in ' + name + '; change'" @click="turnClock">
        {{ choices.clock === "utc" ? "UTC" : "EXCH" }}</button>
      <button type="button" class="choice" :aria-label="'Colours: ' + themes[choices.theme] + '; change'" @click="turnTheme">
        <span aria-hidden="true">{{ { auto: "◐", light: "☀", dark: "☾" }[choices.theme] }}</span></button>
    </div>`,
  created() {
    choices.zone = this.zone;
  },
  computed: {
    time: () => written(now.ms, "time"),
    name: () => zoneName(),
    zoneTitle() {
      return choices.clock === "utc" ? "UTC" : this.zone;
    },
  },
  methods: {
    turnClock() {
      choose("clock", choices.clock === "utc" ? "exchange" : "utc");
    },
    turnTheme() {
      const names = Object.keys(THEMES);
      choose("theme", names[(names.indexOf(choices.theme) + 1) % names.length]);
    },
  },
};
