// The page follows its experiment: when something happens, the server makes the page once more, and the parts of it
// that are marked `data-live` take the place of the old ones. So there is one way a thing looks, first and later.
const KINDS = [
  "trial_started", "trial_ended", "trial_retried", "trial_imported", "trial_enqueued", "intermediate_result", "progress",
  "experiment_started", "experiment_resumed", "experiment_updated", "experiment_ended", "study_started", "model_made", "warning",
];
const REST_MS = 500;
const RETRY_MS = 3000;
const SAID = {
  live: "Live",
  away: "Not connected; trying again",
  401: "Not connected; log in again with the link that the server printed",
  404: "This experiment was deleted",
};
let waiting = null;
let busy = false;
let again = false;
let last = 0;
let took = 0;

export function followExperiment(changed) {
  setInterval(tick, 1000);
  const experiment = document.getElementById("experiment")?.dataset.experiment;
  const regions = document.querySelectorAll("[data-live]");
  const every = Math.max(0, ...[...regions].map((region) => Number(region.dataset.every || 0)));
  if (!experiment) {
    if (regions.length && every) setInterval(() => refresh(() => {}), every * 1000);
    return;
  }
  const stay = listen(experiment, () => soon(changed));
  document.addEventListener("visibilitychange", stay);
  stay();
}

// A browser has few connections to one server, so only a tab that is seen keeps one open. EventSource comes back by
// itself where the connection broke, but gives up where the server refused it; then a timer makes another.
function listen(experiment, heard) {
  const address = `/api/v1/experiments/${encodeURIComponent(experiment)}`;
  let source = null;
  let retry = null;
  const connect = () => {
    clearTimeout(retry);
    source?.close();
    if (document.hidden) return;
    const opened = new EventSource(`${address}/events`);
    source = opened;
    for (const kind of KINDS) opened.addEventListener(kind, heard);
    opened.addEventListener("open", () => { say("live"); heard(); });
    opened.addEventListener("error", async () => {
      if (opened.readyState !== EventSource.CLOSED) return say("away");
      retry = setTimeout(connect, RETRY_MS);
      const why = await status(address);
      if (source === opened) say(why in SAID ? why : "away");
    });
  };
  return connect;
}

// What the server says to a plain request; an event stream does not tell why it was refused.
async function status(address) {
  try {
    return (await fetch(address)).status;
  } catch {
    return "away";
  }
}

function say(word) {
  const told = document.getElementById("connection");
  told.dataset.is = word;
  told.textContent = SAID[word];
}

// At once where nothing has happened for a while, else after a rest.
function soon(changed) {
  if (waiting !== null) return;
  waiting = setTimeout(() => { waiting = null; refresh(changed); }, Math.max(0, last + Math.max(REST_MS, 4 * took) - performance.now()));
}

async function refresh(changed) {
  if (busy) {
    again = true;
    return;
  }
  busy = true;
  const began = performance.now();
  try {
    const answer = await fetch(document.getElementById("experiment")?.dataset.address || location.href, { headers: { Accept: "text/html" } });
    if (answer.ok) {
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      let differs = false;
      for (const region of document.querySelectorAll("[data-live]")) differs = renew(region, fresh) || differs;
      announce(fresh);
      if (differs) changed({ soon: false });
    }
  } catch {
    // The events' connection tells that the server is away, and asks again.
  } finally {
    last = performance.now();
    took = last - began;
    busy = false;
    if (again || document.querySelector("[data-pending]")) {
      again = false;
      soon(changed);
    }
  }
}

// What the reader has done in the old part stays: what is typed, what is checked, what is open, where the focus is. What
// is being pressed stays for that moment.
function renew(region, fresh) {
  const next = fresh.getElementById(region.id);
  if (!next || same(region, next)) return false;
  const { liveWhen } = region.dataset;
  if (liveWhen !== undefined && liveWhen === next.dataset.liveWhen) return false;
  if ([...region.querySelectorAll("[method=post] :is(input:not([type=hidden]), textarea)")].some(typedIn)) return false;
  if (region.querySelector(":active")) {
    again = true;
    return false;
  }
  const known = new Set([...region.querySelectorAll("[data-key]")].map((row) => row.dataset.key));
  for (const row of next.querySelectorAll("[data-key]")) row.classList.toggle("fresh", !known.has(row.dataset.key));
  for (const box of region.querySelectorAll("input:checked")) {
    const other = [...next.querySelectorAll("input")].find((each) => each.name === box.name && each.value === box.value);
    if (other) other.checked = true;
  }
  const opened = new Map([...region.querySelectorAll("details")].map((details, place) => [ownerOf(details, place), details.open]));
  [...next.querySelectorAll("details")].forEach((details, place) => { details.open ||= opened.get(ownerOf(details, place)) ?? false; });
  const scrolled = region.querySelector(".scroll")?.scrollLeft ?? 0;
  const focused = region.contains(document.activeElement) ? placeOf(region, document.activeElement) : null;
  const made = document.importNode(next, true);
  region.replaceWith(made);
  made.dispatchEvent(new Event("renewed", { bubbles: true }));
  const scroller = made.querySelector(".scroll");
  if (scroller) scroller.scrollLeft = scrolled;
  if (focused) (at(made, focused) ?? scroller)?.focus({ preventScroll: true });
  return true;
}

// What tells one that opens from others: the row that it is in, else its place.
function ownerOf(details, place) {
  return details.closest("[data-key]")?.dataset.key ?? place;
}

// Whether the reader has changed a field: its form says in `was.NAME` what was there.
function typedIn(field) {
  return field.value !== (field.form.elements[`was.${field.name}`]?.value ?? field.defaultValue);
}

// Whether both say the same, but for how long something has been running.
function same(one, other) {
  return still(one) === still(other);
}

function still(element) {
  const copy = element.cloneNode(true);
  for (const each of copy.querySelectorAll("[data-since], [data-ticks]")) each.replaceChildren();
  for (const each of copy.querySelectorAll("[data-ticks]")) delete each.dataset.ticks;
  for (const each of copy.querySelectorAll(".fresh")) {
    each.classList.remove("fresh");
    if (!each.className) each.removeAttribute("class");
  }
  return copy.outerHTML;
}

// Where an element is: the key of its row, and the steps down from there; without a row, from the region.
function placeOf(region, element) {
  const row = element.closest("[data-key]");
  const steps = [];
  for (let each = element; each !== (row ?? region); each = each.parentElement) {
    steps.unshift([...each.parentElement.children].indexOf(each));
  }
  return { key: row?.dataset.key, steps };
}

function at(region, { key, steps }) {
  const rows = [...region.querySelectorAll("[data-key]")];
  const root = key === undefined ? region : rows.find((row) => row.dataset.key === key);
  return steps.reduce((element, step) => element?.children[step], root);
}

// One sentence for those who listen to the page; it speaks when the best changes, not at every trial.
function announce(fresh) {
  const [old, next] = [document.querySelector("[data-said]"), fresh.querySelector("[data-said]")];
  if (old && next && old.dataset.said !== next.dataset.said) {
    old.dataset.said = next.dataset.said;
    old.textContent = next.textContent;
  }
}

function tick() {
  for (const each of document.querySelectorAll("[data-since]")) {
    each.textContent = clock((Date.now() - Date.parse(each.dataset.since)) / 1000);
  }
  for (const each of document.querySelectorAll("[data-ticks]")) {
    each.dataset.ticks = Number(each.dataset.ticks) + 1;
    each.textContent = clock(Number(each.dataset.ticks));
  }
}

function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (whole < 60) return `${whole} s`;
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}
