// What pages do better with a script. Without one they do all the same.
"use strict";

// Times: of the viewer's zone, with the exact value on hover; in the language of the page, as the viewer's country writes it.
const language = document.documentElement.lang;
const locale = (navigator.languages || []).find((l) => l.split("-")[0] === language) || language;

function localTimes(within) {
  for (const time of within.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    time.title = at.toLocaleString(locale, { dateStyle: "full", timeStyle: "long" });
    if ("local" in time.dataset) time.textContent = at.toLocaleString(locale, { dateStyle: "medium", timeStyle: "short" });
  }
}

// Copying: a button beside what it copies, which says that it did; where the browser does not let it, it shows what there is to copy.
function copyButtons(within) {
  if (!navigator.clipboard) return;
  for (const button of within.querySelectorAll("button[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const from = document.getElementById(button.dataset.copy);
      try {
        await navigator.clipboard.writeText("value" in from ? from.value : from.textContent);
      } catch {
        from.hidden = false;
        getSelection().selectAllChildren(from);
        return;
      }
      button.classList.add("done");
      setTimeout(() => button.classList.remove("done"), 2000);
    });
  }
}

// Showing what is typed as a password: a button beside it, pressed while it shows. It is masked again before it is sent, so that no
// browser keeps it among what was typed elsewhere.
function revealButtons(within) {
  for (const button of within.querySelectorAll("button[data-reveal]")) {
    const field = document.getElementById(button.dataset.reveal);
    const show = (shown) => {
      field.type = shown ? "text" : "password";
      button.setAttribute("aria-pressed", shown);
    };
    button.hidden = false;
    button.addEventListener("click", () => {
      show(field.type === "password");
      field.focus();
    });
    field.form.addEventListener("submit", () => show(false));
    window.addEventListener("pagehide", () => show(false));
  }
}

// Whoever does not see what was found is told: how many there are, or that there is nothing.
function say(found) {
  const said = document.getElementById("said"), what = found.querySelector("[data-said], h2, h3");
  if (said) said.textContent = what ? what.textContent : "";
}

// Searching as one types: a form with data-live has the part of that id of its own page asked for anew.
function liveForms() {
  for (const form of document.querySelectorAll("form[data-live]")) {
    let timer, asked = 0;
    const ask = async () => {
      const mine = ++asked;
      const url = new URL(form.action);
      url.search = new URLSearchParams(new FormData(form)).toString();
      let answer;
      try {
        answer = await fetch(url, { headers: { Accept: "text/html" } });
      } catch {
        return; // sending the form still does it
      }
      if (mine !== asked) return;
      if (!answer.ok || answer.redirected) {
        form.requestSubmit();
        return;
      }
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const found = page.getElementById(form.dataset.live), shown = document.getElementById(form.dataset.live);
      if (mine !== asked || !found || !shown) return;
      shown.replaceWith(found);
      say(found);
      history.replaceState(null, "", url);
      enhance(found);
    };
    form.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(ask, 200);
    });
  }
}

function enhance(within) {
  localTimes(within);
  copyButtons(within);
  revealButtons(within);
}

enhance(document);
liveForms();
