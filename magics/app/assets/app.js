// Makes the page's forms nicer: preview, drag and drop, progress, an answer without a new page.
// The page works without this file. It only reads answers of its own server, whose HTML is
// sanitised there.
"use strict";

document.documentElement.classList.add("js");

for (const form of document.querySelectorAll("form[data-form]")) {
  const images = [...form.querySelectorAll("input[data-image]")].map(pictureField);
  for (const input of form.querySelectorAll("input[type=file]")) {
    input.addEventListener("change", () => checkSize(input));
  }
  // An answer belongs to what was sent: it does not stay beside something else.
  for (const type of ["input", "change"]) {
    form.addEventListener(type, () => clearAnswer(form));
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form);
  });
  form.addEventListener("reset", () => images.forEach((f) => f.show(null)));
}

function clearAnswer(form) {
  const result = form.closest(".form").querySelector("[data-result]");
  result.classList.remove("fresh");
  result.replaceChildren();
}

function checkSize(input) {
  const file = input.files[0];
  const limit = Number(input.dataset.maxBytes);
  const tooLarge = file && limit && file.size > limit;
  input.setCustomValidity(tooLarge ? `This file is larger than ${sizeText(limit)}.` : "");
  if (tooLarge) input.reportValidity();
}

function sizeText(bytes) {
  const units = [["GB", 2 ** 30], ["MB", 2 ** 20], ["KB", 2 ** 10]];
  const [unit, size] = units.find(([, s]) => bytes >= s) || ["bytes", 1];
  return `${Math.round((bytes / size) * 10) / 10} ${unit}`;
}

function pictureField(input) {
  const zone = input.closest("[data-drop]");
  const drop = zone.querySelector(".drop");
  const preview = zone.querySelector("[data-preview]");
  const invite = zone.querySelector("[data-invite]");
  invite.textContent = matchMedia("(pointer: coarse)").matches
    ? "Take or choose a picture"
    : "Drop a picture here, or click to choose one";
  const first = invite.textContent;
  let url = null;

  function show(file) {
    if (url) URL.revokeObjectURL(url);
    url = file ? URL.createObjectURL(file) : null;
    preview.replaceChildren();
    preview.hidden = !file;
    drop.classList.toggle("full", Boolean(file));
    invite.textContent = file ? "Choose another picture" : first;
    if (!file) return;
    const img = new Image();
    img.alt = "The chosen picture";
    img.addEventListener("error", () => {
      // Some formats (TIFF) are taken by the server and not shown by browsers.
      preview.textContent = file.name;
    });
    img.src = url;
    preview.append(img);
  }

  input.addEventListener("change", () => show(input.files[0] || null));
  for (const type of ["dragenter", "dragover"]) {
    drop.addEventListener(type, (e) => {
      e.preventDefault();
      drop.classList.add("over");
    });
  }
  for (const type of ["dragleave", "drop"]) {
    drop.addEventListener(type, () => drop.classList.remove("over"));
  }
  drop.addEventListener("drop", (e) => {
    e.preventDefault();
    if (!e.dataTransfer.files.length) return;
    input.files = e.dataTransfer.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  });
  return { show };
}

function send(form) {
  if (form.dataset.busy) return;
  const section = form.closest(".form");
  const button = form.querySelector("button[type=submit]");
  const progress = form.querySelector("[data-progress]");
  const text = form.querySelector("[data-progress-text]");
  const result = section.querySelector("[data-result]");
  const hasFile = [...form.querySelectorAll("input[type=file]")].some((i) => i.files.length);

  // XMLHttpRequest, because fetch does not tell how much of an upload has left.
  const request = new XMLHttpRequest();
  request.open("POST", form.action.split("#")[0]);
  request.setRequestHeader("Accept", "application/json");
  request.upload.addEventListener("progress", (e) => {
    if (e.lengthComputable && e.loaded < e.total) {
      text.textContent = `Sending, ${Math.floor((100 * e.loaded) / e.total)} %`;
    }
  });
  request.upload.addEventListener("load", () => (text.textContent = "Working on it…"));
  request.addEventListener("load", () => {
    let answer = null;
    try {
      answer = JSON.parse(request.responseText);
    } catch {
      // Not ours: a proxy's page, for example. Said below.
    }
    if (answer && typeof answer.html === "string") finish(answer.html);
    else finish(problem(`The app answered in an unexpected way (${request.status}).`, "Reload the page and try again."));
  });
  request.addEventListener("error", () =>
    finish(problem("The app cannot be reached.", "Check your connection, then send the form again. If it stays away, the app may have been stopped.")),
  );

  form.dataset.busy = "1";
  button.setAttribute("aria-disabled", "true");
  result.setAttribute("aria-busy", "true");
  text.textContent = hasFile ? "Sending…" : "Working on it…";
  progress.hidden = false;
  request.send(new FormData(form));

  function finish(html) {
    delete form.dataset.busy;
    button.removeAttribute("aria-disabled");
    progress.hidden = true;
    result.classList.remove("fresh");
    result.innerHTML = html;
    result.removeAttribute("aria-busy");
    requestAnimationFrame(() => result.classList.add("fresh"));
    result.scrollIntoView({ block: "nearest", behavior: "smooth" });
  }
}

function problem(message, hint) {
  const box = document.createElement("div");
  box.className = "problem";
  for (const [cls, line] of [["problem-title", message], ["problem-hint", hint]]) {
    const p = document.createElement("p");
    p.className = cls;
    p.textContent = line;
    box.append(p);
  }
  return box.outerHTML;
}
