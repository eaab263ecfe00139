// Before anything is drawn: the theme that was chosen here before. Without one, the system decides.
(() => {
  const chosen = localStorage.getItem("autoprune-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  document.documentElement.classList.add("scripted");
})();
