// What every component shares: the person's choices, and how moments and figures are written.
import { reactive } from "vue";

const MINUTE = 60_000;

function cookie(name) {
  return document.cookie.split("; ").find((each) => each.startsWith(`${name}=`))?.slice(name.length + 1) ?? "";
}

function keep(name, value) {
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `${name}=${value}; Path=/; Max-Age=31536000; SameSite=Strict${secure}`;
}

const system = matchMedia("(prefers-color-scheme: dark)");

// theme: auto, light or dark. clock: utc or exchange. zone: the exchange's time zone. dark: what is in force.
export const choices = reactive({
  theme: cookie("escapement_theme") || "auto",
  clock: cookie("escapement_clock") || "utc",
  zone: "America/Chicago",
  dark: false,
});

function apply() {
  choices.dark = choices.theme === "dark" || (choices.theme === "auto" && system.matches);
  document.documentElement.dataset.theme = choices.dark ? "dark" : "light";
}

export function choose(name, value) {
  choices[name] = value;
  keep(`escapement_${name}`, value);
  apply();
}

system.addEventListener("change", apply);
apply();

const formats = {};

function parts(ms, zone) {
  formats[zone] ??= new Intl.DateTimeFormat("en-GB", {
    timeZone: zone, hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit",
    hour: "2-digit", minute: "2-digit", second: "2-digit", weekday: "short",
  });
  const found = {};
  for (const { type, value } of formats[zone].formatToParts(ms)) found[type] = value;
  return found;
}

const zone = () => (choices.clock === "utc" ? "UTC" : choices.zone);

export const zoneName = () => (choices.clock === "utc" ? "UTC" : "exchange time");

/** Write a moment, milliseconds since 1970 UTC. how: moment, minute, time, day, weekday or short. */
export function written(ms, how = "moment") {
  if (ms === null || ms === undefined) return "";
  const { year, month, day, hour, minute, second, weekday } = parts(ms, zone());
  switch (how) {
    case "day": return `${year}-${month}-${day}`;
    case "weekday": return `${weekday} ${month}-${day}`;
    case "time": return `${hour}:${minute}:${second}`;
    case "minute": return `${year}-${month}-${day} ${hour}:${minute}`;
    case "short": return `${month}-${day} ${hour}:${minute}`;
    case "clock": return `${hour}:${minute}`;
    default: return `${year}-${month}-${day} ${hour}:${minute}:${second}`;
  }
}

/** Write a duration, milliseconds, in its two largest units. */
export function lasting(ms) {
  const s = Math.floor(ms / 1000);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export const figure = (value, decimals) =>
  value === null || value === undefined
    ? ""
    : value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });

/** Read a colour of the style sheet. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** A clock that beats once a second while something is shown that depends on it. */
export const now = reactive({ ms: Date.now() });
setInterval(() => { now.ms = Date.now(); }, 1000);

export { MINUTE };
