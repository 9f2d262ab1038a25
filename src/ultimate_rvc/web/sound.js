// Players of results: `players.py` writes them, events bubble or are captured here, so nothing is set up for each.
(() => {
  const STEP_SECONDS = 5;
  const at = (node) => node instanceof Element && node.closest("[data-player]");
  const audios = (player) => [...player.querySelectorAll("audio")];
  const current = (player) => audios(player)[Number(player.dataset.side ?? 0)];
  const words = (player) => JSON.parse(player.dataset.words);

  function clock(seconds) {
    const whole = Math.max(0, Math.round(seconds || 0));
    const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
    const tail = String(rest).padStart(2, "0");
    return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
  }

  function seconds(player) {
    const known = current(player).duration;
    return Number.isFinite(known) && known > 0 ? known : Number(player.dataset.seconds);
  }

  function show(player) {
    const audio = current(player), length = seconds(player), told = words(player);
    const wave = player.querySelector(".wave"), play = player.querySelector(".play");
    player.style.setProperty("--played", length ? Math.min(audio.currentTime / length, 1) : 0);
    player.toggleAttribute("data-playing", !audio.paused);
    play.setAttribute("aria-label", audio.paused ? told.play : told.pause);
    if (!wave) return; // a button in a list
    const place = `${clock(audio.currentTime)} / ${clock(length)}`;
    wave.setAttribute("aria-valuemax", Math.round(length));
    wave.setAttribute("aria-valuenow", Math.round(audio.currentTime));
    wave.setAttribute("aria-valuetext", place);
    player.querySelector(".time").textContent = place;
  }

  function toggle(player) {
    const audio = current(player);
    if (audio.paused) audio.play().catch(() => {}); // what goes wrong is told by the event `error`
    else audio.pause();
  }

  function seek(player, second) {
    current(player).currentTime = Math.min(Math.max(second, 0), Math.max(seconds(player) - 0.01, 0));
    show(player);
  }

  // The other sound goes on where this one is; this one ends once the other is heard.
  function turn(player, side) {
    const before = current(player), after = audios(player)[side];
    if (before === after) return;
    player.dataset.side = side;
    player.querySelectorAll("[data-side]").forEach((button) =>
      button.setAttribute("aria-pressed", String(Number(button.dataset.side) === side)));
    player.querySelectorAll("svg g").forEach((wave, number) => wave.toggleAttribute("hidden", number !== side));
    after.currentTime = before.currentTime;
    const link = player.querySelector(".download");
    link.href = after.src;
    link.download = decodeURIComponent(after.src.split("/").pop());
    if (!before.paused) after.play().then(() => before.pause(), () => before.pause());
    show(player);
  }

  const place = (player, event) => {
    const box = player.querySelector(".wave").getBoundingClientRect();
    seek(player, (seconds(player) * (event.clientX - box.left)) / box.width);
  };

  document.addEventListener("click", (event) => {
    const player = at(event.target);
    if (!player) return;
    const side = event.target.closest("[data-side]:not([data-player])");
    if (side) turn(player, Number(side.dataset.side));
    else if (event.target.closest(".play")) toggle(player);
  });
  document.addEventListener("pointerdown", (event) => {
    const player = at(event.target);
    if (player && event.target.closest(".wave")) place(player, event);
  });
  document.addEventListener("pointermove", (event) => {
    const player = event.buttons === 1 && at(event.target);
    if (player && event.target.closest(".wave")) place(player, event);
  });
  document.addEventListener("keydown", (event) => {
    const player = at(event.target);
    if (!player || !event.target.matches(".wave, .play")) return;
    const now = current(player).currentTime, end = seconds(player);
    const places = {
      ArrowRight: now + STEP_SECONDS, ArrowUp: now + STEP_SECONDS, ArrowLeft: now - STEP_SECONDS,
      ArrowDown: now - STEP_SECONDS, Home: 0, End: end,
    };
    if (event.key in places) seek(player, places[event.key]);
    else if (event.key === " " && event.target.matches(".wave")) toggle(player);
    else return;
    event.preventDefault();
  });
  // Events of media do not bubble, but they can be captured.
  for (const name of ["play", "pause", "timeupdate", "seeked", "durationchange", "ended"]) {
    document.addEventListener(name, (event) => {
      const player = at(event.target);
      if (player && event.target === current(player)) show(player);
    }, true);
  }
  // One sound at a time: who begins says so, players and mixers alike.
  document.addEventListener("play", (event) => {
    document.dispatchEvent(new CustomEvent("urvc-plays", { detail: at(event.target) }));
  }, true);
  document.addEventListener("urvc-plays", (event) => {
    document.querySelectorAll("[data-player]").forEach((other) => {
      if (other !== event.detail) audios(other).forEach((audio) => audio.pause());
    });
  });
  document.addEventListener("error", (event) => {
    const player = at(event.target);
    if (player && event.target.matches("audio")) player.querySelector(".problem").textContent = words(player).unplayable;
  }, true);
  window.urvcClock = clock;
})();
