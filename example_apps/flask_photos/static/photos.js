// Follows the calls under way: asks each one's status url until it ends, then shows the picture.
// Without this script the page reloads itself and shows the same.
"use strict";

const PAUSE_MS = 500;
const ENDED_BADLY = {
  FAILURE: "could not be made",
  DENIED: "was refused: the one who asked may not do it any more",
  EXPIRED: "waited too long and was given up",
  REVOKED: "was cancelled",
};
const pause = (ms) => new Promise((resume) => setTimeout(resume, ms));

async function statusOf(call) {
  const answer = await fetch(call.status, { headers: { Accept: "application/json" }, cache: "no-store" });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return answer.json();
}

function words(call, status) {
  const progress = status.progress;
  if (status.state === "STARTED") return `${(progress && progress.message) || "Working"}: ${call.what}`;
  if (status.state === "RETRY") return `${call.what}: trying again soon`;
  return "Waiting for a worker …";
}

// The calls of one card were sent together and end in about their order, so one is asked at a time.
async function follow(card) {
  const calls = JSON.parse(card.dataset.calls);
  const total = Number(card.dataset.total);
  const bar = card.querySelector("progress");
  const text = card.querySelector("[data-text]");
  let done = total - calls.length;
  for (const call of calls) {
    for (;;) {
      const status = await statusOf(call);
      if (status.state === "SUCCESS") break;
      if (ENDED_BADLY[status.state]) {
        card.classList.add("failed");
        text.textContent = `${call.what} ${ENDED_BADLY[status.state]}.`;
        return;
      }
      const part = status.progress && status.progress.total ? status.progress.done / status.progress.total : 0;
      bar.value = (done + part) / Math.max(total, 1);
      text.textContent = words(call, status);
      await pause(PAUSE_MS);
    }
    done += 1;
    bar.value = done / Math.max(total, 1);
  }
  finish(card);
}

function finish(card) {
  if (card.dataset.then === "remove") {
    (card.closest("li") || card).remove();
    return;
  }
  const picture = card.querySelector("img");
  picture.addEventListener("load", () => card.querySelector(".progress").remove(), { once: true });
  if (picture.dataset.srcset) picture.srcset = picture.dataset.srcset;
  picture.src = picture.dataset.src;
  picture.hidden = false;
}

for (const card of document.querySelectorAll("[data-calls]")) {
  follow(card).catch(() => {
    card.querySelector("[data-text]").textContent = "No news from the server. Load the page again.";
  });
}

// Choosing files: say how many, and take what is dropped.
const input = document.querySelector(".upload input[type=file]");
const drop = document.querySelector(".drop");
if (input && drop) {
  const chosen = document.getElementById("chosen");
  input.addEventListener("change", () => {
    const names = Array.from(input.files, (file) => file.name);
    chosen.textContent = names.length > 3 ? `${names.length} photographs chosen` : names.join(", ");
  });
  for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    input.files = event.dataTransfer.files;
    input.dispatchEvent(new Event("change"));
  });
}
