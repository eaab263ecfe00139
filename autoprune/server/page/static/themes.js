// The theme: the system's unless one is chosen, which this browser remembers.
const KEY = "autoprune-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

export function theme() {
  return document.documentElement.dataset.theme || (system.matches ? "dark" : "light");
}

export function themeSwitch(changed) {
  const select = document.getElementById("theme");
  select.value = document.documentElement.dataset.theme || "";
  select.addEventListener("change", () => {
    if (select.value) {
      localStorage.setItem(KEY, select.value);
      document.documentElement.dataset.theme = select.value;
    } else {
      localStorage.removeItem(KEY);
      delete document.documentElement.dataset.theme;
    }
    changed();
  });
  system.addEventListener("change", changed);
}
