// Stops all trading, or lets it go on, after a question. Present on every page.
import { written, zoneName } from "escapement-shared";

export default {
  props: { state: Object, allowed: Boolean },
  emits: ["turn"],
  // resuming: what the question asks, whatever becomes of the state before it is answered.
  data: () => ({ why: "", sent: false, resuming: false }),
  template: `
    <div class="killswitch">
      <span class="state" :class="{ killed }" role="status">
        {{ !known ? "trading state unknown" : killed ? "trading is stopped" : "trading is on" }}</span>
      <button v-if="allowed" ref="opener" type="button" :class="killed ? 'resume' : 'kill'" @click="ask">
        {{ killed ? "Resume" : "Kill" }}</button>
      <dialog ref="dialog" class="question" aria-labelledby="kill-title" @close="sent = false">
        <form method="dialog" @submit.prevent="turn">
          <h2 id="kill-title">{{ resuming ? "Let trading go on?" : "Stop all trading?" }}</h2>
          <p v-if="resuming">Stopped by {{ by }} at {{ when }}: {{ reason }}. New decisions are traded again;
            what was decided meanwhile is not made up for.</p>
          <p v-else>Every order is cancelled, every position closed, and nothing is opened until someone resumes.</p>
          <label>Why, for the record
            <input v-model="why" maxlength="200" autocomplete="off" placeholder="by hand"></label>
          <div class="buttons">
            <button type="button" @click="$refs.dialog.close()">Cancel</button>
            <button type="submit" :class="resuming ? 'resume' : 'kill'" :disabled="sent">
              {{ resuming ? "Resume trading" : "Stop all trading" }}</button>
          </div>
        </form>
      </dialog>
    </div>`,
  computed: {
    known() { return this.state !== null; },
    killed() { return this.state?.killed ?? false; },
    reason() { return this.state?.reason ?? ""; },
    by() { return this.state?.by ?? ""; },
    when() { return `${written(this.state?.at)} ${zoneName()}`; },
  },
  methods: {
    ask() {
      this.why = "";
      this.resuming = this.killed;
      this.$refs.dialog.showModal();
    },
    turn() {
      this.sent = true;
      this.$emit("turn", { killed: !this.resuming, reason: this.why.trim() || "by hand" });
      this.$refs.dialog.close();
    },
  },
};
