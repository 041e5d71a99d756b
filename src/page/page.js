"use strict";
(() => {
  const status = document.getElementById("said");
  let clearTimer;
  const announce = (text) => {
    // Cleared first, so that screen readers announce a repeated text again.
    status.textContent = "";
    requestAnimationFrame(() => { status.textContent = text; });
    clearTimeout(clearTimer);
    clearTimer = setTimeout(() => { status.textContent = ""; }, 2500);
  };

  const copy = async (source) => {
    // Browsers offer the clipboard only in secure contexts; elsewhere execCommand is used.
    if (navigator.clipboard) {
      await navigator.clipboard.writeText(source.textContent);
      return true;
    }
    getSelection().selectAllChildren(source);
    return document.execCommand("copy");
  };

  for (const button of document.querySelectorAll("button[data-copy]")) {
    const source = document.getElementById(button.dataset.copy);
    const label = button.firstElementChild;
    let timer;
    button.hidden = false;
    button.addEventListener("click", async () => {
      const done = await copy(source).catch(() => false);
      if (!done) getSelection().selectAllChildren(source);
      label.textContent = done ? "Copied" : "Selected";
      button.classList.toggle("done", done);
      announce(done ? "Copied" : "Selected: press Ctrl or Command and C to copy");
      clearTimeout(timer);
      timer = setTimeout(() => {
        label.textContent = "Copy";
        button.classList.remove("done");
      }, 2500);
    });
  }

  const list = document.getElementById("clients");
  const tabs = [...list.querySelectorAll("a")];
  const panel = (tab) => document.getElementById(tab.hash.slice(1));

  const select = (chosen) => {
    for (const tab of tabs) {
      const here = tab === chosen;
      tab.setAttribute("aria-selected", String(here));
      tab.tabIndex = here ? 0 : -1;
      panel(tab).hidden = !here;
    }
  };
  const show = (tab) => {
    select(tab);
    history.replaceState(null, "", tab.hash);
  };
  const named = () => tabs.find((tab) => tab.hash === location.hash);

  list.setAttribute("role", "tablist");
  for (const tab of tabs) {
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", panel(tab).id);
    panel(tab).setAttribute("role", "tabpanel");
    panel(tab).setAttribute("aria-labelledby", tab.id);
    tab.addEventListener("click", (event) => {
      event.preventDefault();
      show(tab);
    });
  }
  list.addEventListener("keydown", (event) => {
    const here = tabs.indexOf(document.activeElement);
    const last = tabs.length - 1;
    const next = {
      ArrowRight: here === last ? 0 : here + 1,
      ArrowLeft: here === 0 ? last : here - 1,
      Home: 0,
      End: last,
    }[event.key];
    if (here < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === " ") {
      event.preventDefault();
      show(tabs[here]);
    } else if (next !== undefined) {
      event.preventDefault();
      show(tabs[next]);
      tabs[next].focus();
    }
  });
  addEventListener("hashchange", () => { if (named()) select(named()); });
  document.documentElement.classList.add("tabbed");
  select(named() || tabs[0]);
})();
