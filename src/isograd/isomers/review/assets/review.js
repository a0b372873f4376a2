"use strict";
// Keys press what is on the page; without this script everything still works with Tab and Enter.

const find = (id) => document.getElementById(id);
const typing = (element) => element.closest("input, textarea, select") !== null;
let left = false;

function press(id) {
  const element = find(id);
  if (element === null || element.disabled || left) return;
  // A second press before the next page is here would decide on a set that nobody has seen.
  if (id !== "reject" && id !== "keys") left = true;
  element.click();
}

const keys = {
  j: () => press("next"),
  ArrowRight: () => press("next"),
  k: () => press("previous"),
  ArrowLeft: () => press("previous"),
  a: () => press("accept"),
  r: () => press("reject"),
  e: () => press("edit"),
  u: () => press("undo"),
  o: () => press("original"),
  "?": () => press("keys"),
  g: () => find("goto")?.select(),
};
["all", "undecided", "accepted", "rejected", "findings"].forEach((name, index) => {
  keys[index + 1] = () => document.querySelector(`[data-tab="${name}"]`)?.click();
});

document.addEventListener("keydown", (event) => {
  const form = find("editing");
  if (event.isComposing || event.altKey) return;
  if (form !== null && event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    form.requestSubmit(find("save"));
    return;
  }
  if (event.ctrlKey || event.metaKey) return;
  if (event.key === "Escape") {
    if (form !== null) leave();
    else if (typing(event.target)) event.target.blur();
    return;
  }
  if (typing(event.target) || form !== null) return;
  const open = document.querySelector("[popover]:popover-open");
  if (open !== null && !(event.key === "?" && open.id === "help")) return;
  // Arrows scroll a box that has the focus and is wider than it shows.
  if (event.key.startsWith("Arrow")) {
    const box = event.target.closest(".scroll");
    if (box !== null && box.scrollWidth > box.clientWidth) return;
  }
  const act = keys[event.key];
  if (act === undefined) return;
  event.preventDefault();
  if (!event.repeat) act();
});

// A page that the browser kept may be shown again.
addEventListener("pageshow", () => { left = false; });

document.addEventListener("submit", (event) => {
  if (event.target.dataset.sent === "yes") event.preventDefault();
  event.target.dataset.sent = "yes";
});

function leave() {
  if (find("editing").dataset.dirty !== "yes" || !find("unsaved").hidden) {
    find("editing").dataset.dirty = "no";
    find("cancel").click();
  } else {
    find("unsaved").hidden = false;
  }
}

find("editing")?.addEventListener("input", (event) => {
  event.currentTarget.dataset.dirty = "yes";
  find("unsaved").hidden = true;
});
find("cancel")?.addEventListener("click", () => { find("editing").dataset.dirty = "no"; });
addEventListener("beforeunload", (event) => {
  const form = find("editing");
  if (form !== null && form.dataset.dirty === "yes" && form.dataset.sent !== "yes") event.preventDefault();
});

// The node of a step lights up with its row, and with it what it is derived from.
for (const row of document.querySelectorAll("tr[data-node]")) {
  const light = (on) => {
    for (const part of document.querySelectorAll(".graph [data-node], .graph [data-target]")) {
      const name = part.dataset.node ?? part.dataset.target;
      part.classList.toggle("lit", on && name === row.dataset.node);
    }
  };
  row.addEventListener("mouseenter", () => light(true));
  row.addEventListener("mouseleave", () => light(false));
}

async function follow() {
  const answer = await fetch("/progress");
  if (!answer.ok) return;
  const told = await answer.json();
  const line = find("progress");
  line.hidden = !told.busy;
  line.textContent = told.read < told.total
    ? `reading ${told.read} of ${told.total}` : `verified ${told.judged} of ${told.total}`;
  for (const [name, count] of Object.entries(told.counts)) {
    document.querySelector(`[data-tab="${name}"] .count`).textContent = count;
  }
  if (told.busy) setTimeout(follow, 1000);
}
if (document.body.dataset.busy === "yes") setTimeout(follow, 500);
