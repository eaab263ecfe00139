// Figures: their JSON comes from the server, Plotly's script once the first of them comes into view.
import { theme } from "./themes.js";

const OPTIONS = { responsive: true, displaylogo: false, displayModeBar: false };
const REST_MS = 3000;
const shown = new Set();
let plotly = null;
let stale = null;
let took = 0;

export function drawFigures() {
  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) {
        shown.add(target);
        if (target.dataset.drawn !== theme() || target.dataset.stale) draw(target);
      } else {
        shown.delete(target);
      }
    }
  }, { rootMargin: "200px" });
  for (const figure of document.querySelectorAll("[data-figure]")) seen.observe(figure);
}

// All figures are out of date. Those in view are drawn anew, the others once they are; not more often than needed.
export function redrawFigures({ soon = true } = {}) {
  for (const figure of document.querySelectorAll("[data-figure]")) figure.dataset.stale = "yes";
  if (soon) {
    for (const figure of shown) draw(figure);
  } else if (stale === null) {
    stale = setTimeout(() => {
      stale = null;
      for (const figure of shown) if (figure.dataset.stale) draw(figure);
    }, Math.max(REST_MS, 10 * took));
  }
}

async function draw(figure) {
  const plot = figure.querySelector(".plot");
  const wanted = theme();
  const began = performance.now();
  delete figure.dataset.stale;
  figure.dataset.drawn = wanted;
  try {
    const [library, answer] = await Promise.all([load(), fetch(address(figure, wanted))]);
    if (!answer.ok) throw new Error(answer.statusText);
    const { data, layout } = await answer.json();
    if (figure.dataset.drawn !== wanted) return;
    if (!plot.classList.contains("js-plotly-plot")) plot.replaceChildren();
    delete layout.width;
    figure.querySelector(".note").textContent = layout.meta.note;
    await library.react(plot, data, layout, OPTIONS);
    figure.dataset.ready = wanted;
    took = performance.now() - began;
  } catch {
    const told = document.createElement("p");
    told.className = "hint";
    told.textContent = "The figure could not be drawn.";
    if (!plot.classList.contains("js-plotly-plot")) plot.replaceChildren(told);
  }
}

function address(figure, wanted) {
  const given = figure.dataset.figure;
  return `${given}${given.includes("?") ? "&" : "?"}theme=${wanted}`;
}

function load() {
  plotly ??= new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = "/static/plotly.min.js";
    script.onload = () => done(window.Plotly);
    script.onerror = () => failed(new Error("Plotly's script did not come"));
    document.head.append(script);
  });
  return plotly;
}
