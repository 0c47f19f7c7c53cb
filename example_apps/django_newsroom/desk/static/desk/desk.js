// Follows an import until its figures are there, then shows the page anew. Without scripts the page reloads itself.
"use strict";

const PAUSE_MS = 500;
const box = document.querySelector("[data-status]");

async function follow() {
  const bar = box.querySelector("progress");
  const words = box.querySelector("output");
  for (;;) {
    const answer = await fetch(box.dataset.status, { headers: { Accept: "application/json" } });
    if (!answer.ok) {
      words.textContent = `The status cannot be read (HTTP ${answer.status}). Load the page again.`;
      return;
    }
    const status = await answer.json();
    if (status.figures) {
      location.reload();
      return;
    }
    bar.value = status.rows.there;
    words.textContent = status.trouble
      ? `The import ${status.trouble}, after ${status.attempts} attempts.`
      : `${status.rows.there} of ${status.rows.expected} rows`;
    if (status.trouble) return;
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

if (box) follow().catch(() => setTimeout(() => location.reload(), 5000));
