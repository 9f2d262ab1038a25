// What holds for the whole page: an address for each tab and job, one click that counts once, seconds that tick.
(() => {
  const ONCE_MS = 1000, TICK_MS = 500, FIRST_TAB = "cover";
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const buttonOf = (name) => document.getElementById(`tab-${name}-button`);
  const nameOf = (button) => button.id.slice("tab-".length, -"-button".length);

  // The address is `#jobs/12`: a tab, and what is open in it.
  const wanted = () => location.hash.slice(1).split("/");
  const isOpen = (button) => button.getAttribute("aria-selected") === "true";

  function go() {
    const [name, inside] = wanted();
    const button = buttonOf(name || FIRST_TAB);
    if (!button) return;
    if (!isOpen(button)) button.click();
    document.title = `${button.textContent.trim()} · Ultimate RVC`;
    if (name === "jobs" && inside) openJob(inside);
  }

  function openJob(id) {
    const card = document.querySelector(`[data-job="${CSS.escape(id)}"]`);
    if (!card) setTimeout(() => wanted()[1] === id && openJob(id), TICK_MS); // the list is still on its way
    else if (card.getAttribute("aria-current") !== "true") card.querySelector("[data-open]").click();
  }

  window.urvcGo = (place) => {
    if (location.hash.slice(1) === place) return;
    history.pushState(null, "", `#${place}`);
    go();
  };
  addEventListener("popstate", go);
  document.addEventListener("click", (event) => {
    const button = event.isTrusted && event.target.closest('#rail > .tab-wrapper button[role="tab"]');
    if (button && wanted()[0] !== nameOf(button)) urvcGo(nameOf(button));
  });
  const arrival = new MutationObserver(() => {
    if (!buttonOf(FIRST_TAB)) return;
    arrival.disconnect();
    go();
  });
  arrival.observe(document.documentElement, { childList: true, subtree: true });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.once");
    if (!button) return;
    const now = performance.now();
    if (now - (button.pressed ?? -ONCE_MS) < ONCE_MS) {
      event.stopImmediatePropagation();
      event.preventDefault();
      return;
    }
    button.pressed = now;
    const panel = button.closest(".action-bar")?.querySelector(".job-panel");
    setTimeout(() => panel?.scrollIntoView({ block: "nearest", behavior: calm.matches ? "auto" : "smooth" }), TICK_MS);
  }, true);

  setInterval(() => {
    for (const place of document.querySelectorAll("[data-elapsed]")) {
      place.seen ??= performance.now();
      place.textContent = urvcClock(Number(place.dataset.elapsed) + (performance.now() - place.seen) / 1000);
    }
  }, TICK_MS);
})();
