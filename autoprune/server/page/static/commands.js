// What became of a command is said once: it leaves the address, so that a reload or a bookmark does not say it again.
// The parts of the page that follow the experiment are still asked for with it, until it is answered and after.
export function forgetCommand() {
  const shown = document.getElementById("command");
  const address = new URL(location.href);
  if (!shown || !address.searchParams.has("command")) return;
  document.getElementById("experiment").dataset.address ||= address.href;
  address.searchParams.delete("command");
  history.replaceState(history.state, "", address);
}
