// Logs that grow: while the trial runs, what it writes is fetched from where its last line begins, and the view follows
// it. That line may yet be written over, so it has an element of its own, at the end.
const REST_MS = 700;
const MOST = 2_000_000;

export function followLogs() {
  followIn(document);
  document.addEventListener("renewed", (event) => followIn(event.target));
}

function followIn(part) {
  for (const log of part.querySelectorAll("[data-log]")) {
    log.scrollTop = log.scrollHeight;
    follow(log);
  }
}

async function follow(log) {
  let runs = true;
  while (runs && log.isConnected) {
    runs = document.querySelector("[data-running]") !== null;
    const more = await read(log);
    if (!more) await new Promise((done) => setTimeout(done, REST_MS));
    runs ||= more;
  }
}

// Whether there was more.
async function read(log) {
  try {
    const answer = await fetch(`${log.dataset.log}&start=${log.dataset.resume}`);
    if (!answer.ok) return false;
    const { text, line, resume, end, over } = await answer.json();
    log.classList.toggle("over", over);
    if (end <= Number(log.dataset.end)) return false;
    const follows = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
    log.dataset.end = end;
    log.dataset.resume = resume;
    const last = log.querySelector("span") ?? log.appendChild(document.createElement("span"));
    last.before(text);
    last.textContent = line;
    while (log.textContent.length > MOST && log.childNodes.length > 2) log.firstChild.remove();
    if (follows) log.scrollTop = log.scrollHeight;
    return true;
  } catch {
    return false;
  }
}
