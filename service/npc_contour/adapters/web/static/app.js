// What every page does: theme, rows as links, tabs, confirmation, messages, and the drop zone of the rule tester.
"use strict";

const csrf = document.querySelector('meta[name="csrf"]')?.content ?? "";

document.addEventListener("htmx:configRequest", (event) => {
  if (csrf) event.detail.headers["X-CSRF-Token"] = csrf;
});

// The place on a page (#...) never reaches the service: a browser keeps it across the way to the login, and so must we.
if (location.hash) {
  for (const input of document.querySelectorAll('form[action="/login"] input[name="after"]')) {
    if (!input.value.includes("#")) input.value += location.hash;
  }
  for (const link of document.querySelectorAll('a[href^="/login/oidc?next="]')) {
    if (!link.href.includes("%23")) link.href += encodeURIComponent(location.hash);
  }
}

// The service writes times of its own zone; whoever reads them may sit in another.
const pad = (value) => String(value).padStart(2, "0");
function localTimes() {
  const now = new Date();
  const format = new Intl.DateTimeFormat("en", { timeZoneName: "longOffset" });
  const zoneOf = (at) => format.formatToParts(at).find((part) => part.type === "timeZoneName").value.replace("GMT", "UTC");
  const name = Intl.DateTimeFormat().resolvedOptions().timeZone;
  for (const time of document.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    const day = `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
    const clock = `${pad(at.getHours())}:${pad(at.getMinutes())}`;
    const text = at.toDateString() === now.toDateString() ? `${clock}:${pad(at.getSeconds())}` : `${day} ${clock}`;
    if (time.textContent !== text) time.textContent = text;
    time.title = `${day} ${clock}:${pad(at.getSeconds())} ${name} (${zoneOf(at)})`;
  }
  const zone = document.getElementById("zone");
  if (zone) zone.textContent = `${name} (${zoneOf(now)})`;
}
localTimes();
document.addEventListener("htmx:afterSwap", localTimes);

function toast(text, tone = "quiet") {
  const line = document.createElement("div");
  line.className = `toast ${tone}`;
  line.textContent = text;
  document.getElementById("toasts").append(line);
  setTimeout(() => line.remove(), 7000);
}

// Not a submit button: Enter in the reason's field means yes, and the form's first submit button is what Enter presses.
document.getElementById("ask-no").addEventListener("click", () => document.getElementById("ask").close("no"));

// Confirmation in our own dialog: it says what will happen, and takes a reason where one is kept.
let question = 0;
function ask(title, text, verb, withReason, needsReason = false) {
  const dialog = document.getElementById("ask");
  const reason = document.getElementById("ask-reason");
  document.getElementById("ask-title").textContent = title;
  document.getElementById("ask-text").textContent = text;
  document.getElementById("ask-yes").textContent = verb;
  document.getElementById("ask-why").hidden = !withReason;
  reason.value = "";
  reason.required = needsReason;
  reason.placeholder = needsReason ? "required" : "optional";
  dialog.returnValue = "no";
  dialog.showModal();
  const mine = ++question;
  return new Promise((answer) => {
    // A browser tells late that the dialog has closed: by then it may be open again, for the next question.
    dialog.addEventListener("close", function closed() {
      if (mine === question && dialog.open) return;
      dialog.removeEventListener("close", closed);
      answer(mine === question && dialog.returnValue === "yes" ? { reason: reason.value.trim() } : null);
    });
  });
}

document.addEventListener("htmx:confirm", async (event) => {
  const question = event.detail.question;
  if (!question) return;
  event.preventDefault();
  const [title, text = ""] = question.split("|");
  if (await ask(title, text, event.target.dataset.verb ?? "Do it", false)) event.detail.issueRequest(true);
});

// Actions on a case go to REST, as a program's would: one way to act, one audit.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-action]");
  if (!button) return;
  const given = await ask(button.dataset.title, button.dataset.text, button.dataset.verb, true, button.dataset.reason === "required");
  if (!given) return;
  const answer = await fetch(button.dataset.action, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...(csrf ? { "X-CSRF-Token": csrf } : {}) },
    body: JSON.stringify({ ...JSON.parse(button.dataset.body ?? "{}"), reason: given.reason }),
  });
  const said = await answer.json().catch(() => ({}));
  toast(said.done ?? said.detail ?? `${answer.status}`, answer.ok ? "good" : "bad");
  document.body.dispatchEvent(new Event("changed"));
  if (answer.ok && "reload" in button.dataset) location.reload();
});

// A case that is held for its findings is released once each of them has been opened: the review notes which.
function openedFindings() {
  const list = document.getElementById("findings");
  if (!list) return;
  const opened = new Set(JSON.parse(localStorage.getItem(`opened ${list.dataset.case} ${list.dataset.person}`) ?? "[]"));
  let left = 0;
  for (const way of list.querySelectorAll("[data-finding]")) {
    const seen = opened.has(Number(way.dataset.finding));
    way.querySelector(".opened").hidden = !seen;
    left += way.hasAttribute("data-holds") && !seen;
  }
  const line = document.getElementById("findings-left");
  if (line) line.textContent = left ? `Held for what is marked with a pause. Open each with Look before the case can be released: ${left} left.` : line.dataset.done;
  for (const button of document.querySelectorAll("[data-release]")) button.disabled = left > 0;
}
openedFindings();
document.addEventListener("htmx:afterSettle", openedFindings);
window.addEventListener("pageshow", openedFindings);
window.addEventListener("storage", openedFindings);

// After the logout nothing more is asked, and what was asked just before is no reason to come back here.
let leaving = false;
document.addEventListener("htmx:beforeRequest", (event) => {
  if (leaving) event.preventDefault();
  leaving ||= event.detail.pathInfo.requestPath === "/logout";
});
document.addEventListener("htmx:sendError", () => (leaving = false));

document.addEventListener("htmx:responseError", (event) => {
  const request = event.detail.xhr;
  if (request.status === 401) {
    if (leaving) return;
    location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search + location.hash)}`);
    return;
  }
  let text = `${request.status} ${request.statusText}`;
  try {
    text = JSON.parse(request.responseText).detail ?? text;
  } catch {
    // Not JSON: the status is all there is to say.
  }
  toast(String(text), "bad");
});
document.addEventListener("htmx:sendError", () => toast("The service does not answer.", "bad"));

document.addEventListener("click", (event) => {
  const toggle = event.target.closest("[data-theme-toggle]");
  if (toggle) {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
    document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
    localStorage.setItem("theme", document.documentElement.dataset.theme);
    return;
  }
  const tab = event.target.closest(".tab[data-group]");
  if (tab) {
    document.getElementById("group").value = tab.dataset.group;
    document.getElementById("filters").requestSubmit();
    return;
  }
  const row = event.target.closest("tr[data-href]");
  if (row && !event.target.closest("a,button") && !getSelection().toString()) location.assign(row.dataset.href);
});

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input,select,textarea");
  if (event.key === "/" && !typing) {
    const search = document.querySelector('input[type="search"]');
    if (search) {
      event.preventDefault();
      search.focus();
      search.select();
    }
  }
  const rows = [...document.querySelectorAll("tr[data-href] a.strong")];
  if (!typing && rows.length && (event.key === "j" || event.key === "k")) {
    const at = rows.indexOf(document.activeElement);
    rows[Math.max(0, Math.min(rows.length - 1, at + (event.key === "j" ? 1 : -1)))].focus();
  }
});

// Rule tester: the first part of each file, which holds its header; pixels never leave the browser.
const drop = document.getElementById("drop");
if (drop) {
  const HEAD = 32 * 1024;
  const progress = document.getElementById("drop-progress");

  async function filesOf(entry) {
    if (entry.isFile) return [await new Promise((done, fail) => entry.file(done, fail))];
    const reader = entry.createReader();
    const found = [];
    for (;;) {
      const some = await new Promise((done, fail) => reader.readEntries(done, fail));
      if (!some.length) break;
      found.push(...some);
    }
    return (await Promise.all(found.map(filesOf))).flat();
  }

  async function ask(files) {
    if (!files.length) return;
    const form = new FormData();
    form.append("called", document.getElementById("called").value);
    for (const file of files.slice(0, 3000)) form.append("files", file.slice(0, HEAD), file.name);
    progress.hidden = false;
    progress.removeAttribute("value");
    const answer = await fetch("/rules", { method: "POST", body: form, headers: csrf ? { "X-CSRF-Token": csrf } : {} });
    progress.hidden = true;
    const place = document.getElementById("answer");
    if (answer.ok) {
      place.innerHTML = await answer.text();
      place.scrollIntoView({ behavior: "smooth", block: "start" });
    } else {
      toast(`The rules could not be asked: ${answer.status}`, "bad");
    }
  }

  for (const name of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
    });
  }
  drop.addEventListener("drop", async (event) => {
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    await ask((await Promise.all(entries.map(filesOf))).flat());
  });
  for (const id of ["drop-files", "drop-folder"]) {
    document.getElementById(id).addEventListener("change", (event) => ask([...event.target.files]));
  }
}
